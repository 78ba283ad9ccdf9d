"""`python -m tests.mutations [words]`: damages each line of the table in a copy of the tree; a test must notice.

Only mutations whose names contain all `words` are tried. Exits 1 if one survives, or is not found exactly once.
As many are tried side by side as there are processors, each in a copy of its own.
"""

import compileall
import os
import pathlib
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from py_compile import PycInvalidationMode

from tests.mutations.mutation import Mutation
from tests.mutations.table import MUTATIONS
from tests.support.sources import ROOT

_COPIED = ("mta", "control_api", "bench", "config", "tests", "pyproject.toml")
_LIMIT = 120.0  # seconds for one test
_ENDING = 30.0  # seconds that an interrupted one has to stop what it started
_PATIENCE = "20"  # seconds that a test waits for a condition: here most of them wait for what does not come
_JOBS = os.cpu_count() or 1


def main(words: list[str]) -> int:
    chosen = [mutation for mutation in MUTATIONS if all(word in mutation.name for word in words)]
    tests = sorted({mutation.test for mutation in chosen})
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        free: queue.SimpleQueue[pathlib.Path] = queue.SimpleQueue()
        for number in range(_JOBS):
            free.put(_copied(pathlib.Path(folder) / str(number)))
        tree = free.get()
        if not _passes(tree, ["-n", str(_JOBS), "--dist", "loadfile", *tests], _LIMIT * len(tests), show=True):
            print("these tests must pass while nothing is damaged")
            return 1
        free.put(tree)

        def tried(mutation: Mutation) -> str:
            tree = free.get()
            try:
                return _try(tree, mutation)
            finally:
                free.put(tree)

        with ThreadPoolExecutor(_JOBS) as trying:
            verdicts = list(trying.map(tried, chosen))
    bad = [verdict for verdict in verdicts if verdict != "caught"]
    print(f"{len(verdicts) - len(bad)} of {len(verdicts)} mutations were caught")
    return 1 if bad else 0


def _copied(tree: pathlib.Path) -> pathlib.Path:
    """A copy of what is tested, with bytecode that holds only for the very text that it was made of."""
    for name in _COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, tree / name)
    compileall.compile_dir(tree, quiet=1, workers=_JOBS, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
    return tree


def _try(tree: pathlib.Path, mutation: Mutation) -> str:
    path = tree / mutation.file
    whole = path.read_text("utf-8")
    began = time.monotonic()
    if whole.count(mutation.old) != 1:
        verdict = f"NOT FOUND once, but {whole.count(mutation.old)} times"
    else:
        path.write_text(whole.replace(mutation.old, mutation.new), "utf-8")
        verdict = "SURVIVED" if _passes(tree, [mutation.test], _LIMIT) else "caught"
        path.write_text(whole, "utf-8")
    print(f"{verdict:9} {time.monotonic() - began:5.1f} s  {mutation.name}", flush=True)
    return verdict


def _passes(tree: pathlib.Path, tests: Iterable[str], limit: float, show: bool = False) -> bool:
    """Whether pytest ran these tests and all passed within `limit` seconds. Raises where it could not run them."""
    words = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    test = subprocess.Popen(
        words,
        cwd=tree,
        # No new bytecode: a line may be damaged and mended within the second that tells old bytecode from new.
        env={**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "PATIENCE": _PATIENCE},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said, _ = test.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        _interrupt(test)
        return False
    if test.returncode not in (0, 1):
        raise RuntimeError(f"pytest could not run {list(tests)}:\n{said}")
    if test.returncode and show:
        print(said)
    return test.returncode == 0


def _interrupt(test: subprocess.Popen[str]) -> None:
    """As by Ctrl-C: the tests stop the processes that they started."""
    test.send_signal(signal.SIGINT)
    try:
        test.communicate(timeout=_ENDING)
    except subprocess.TimeoutExpired:
        test.kill()
        test.communicate()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
