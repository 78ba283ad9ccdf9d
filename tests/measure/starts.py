"""The CPU and the time of a node's start and stop: `python -m tests.measure.starts [FOLDER...]`.

Each folder is a copy of the program; `.` is this one. The copies take turns. A node has two workers and an embedded
server. The CPU is that of all its processes, from the command to `ready`, and from SIGTERM to the end.
"""

import argparse
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil


class Run(NamedTuple):
    start_cpu: float  # seconds
    stop_cpu: float  # seconds
    start: float  # seconds
    stop: float  # seconds
    pss: float  # MiB, of all processes but the server
    whole_cpu: float


def cpu(process: psutil.Process) -> float:
    """Seconds that the process, its children and their ended children have used."""
    used = 0.0
    for one in (process, *process.children(recursive=True)):
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        used += times.user + times.system + times.children_user + times.children_system
    return used


def pss(process: psutil.Process) -> float:
    sizes = {}
    for one in (process, *process.children(recursive=True)):
        if "valkey" not in one.name():
            sizes[one.pid] = one.memory_full_info().pss / 2**20
    return sum(sizes.values())


def run(build: Path, workers: int) -> Run:
    folder = Path(tempfile.mkdtemp(prefix="floodgate-start-"))
    words = [sys.executable, "-P", "-m", "mta.cli.main", "node", "--data-dir", str(folder), "--embedded"]
    words += ["--workers", str(workers), "--set", 'smtp.listen="127.0.0.1:0"', "--set", 'api.listen="127.0.0.1:0"']
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with (folder / "node.log").open("w") as log:
        node = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=log, cwd=build, env=os.environ | {"PYTHONPATH": str(build)}
        )
    assert node.stdout is not None
    line = node.stdout.readline()
    took = time.monotonic() - began
    assert line, (folder / "node.log").read_text()
    started = cpu(psutil.Process(node.pid))
    size = pss(psutil.Process(node.pid))
    ending = time.monotonic()
    node.send_signal(signal.SIGTERM)
    assert node.wait(60) == 0, (folder / "node.log").read_text()
    stop = time.monotonic() - ending
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    whole = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    shutil.rmtree(folder)
    return Run(started, whole - started, took, stop, size, whole)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("builds", nargs="*", type=Path, default=[Path()])
    parser.add_argument("--times", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    found: dict[Path, list[Run]] = {build: [] for build in given.builds}
    for number in range(given.times + 1):
        for build, runs in found.items():
            one = run(build.resolve(), given.workers)
            if number:  # the first run fills the system's cache of files
                runs.append(one)
    for build, runs in found.items():
        print(build)
        for name in Run._fields:
            values = [getattr(one, name) for one in runs]
            print(f"  {name:10} {statistics.median(values):8.2f}   {min(values):.2f} to {max(values):.2f}")


if __name__ == "__main__":
    main()
