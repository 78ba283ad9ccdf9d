"""`python -m tests.destinations`: every kind against Floodgate and Postfix, as dated files in tests/results."""

import argparse
import sys
import tempfile
from pathlib import Path

from bench.peers.programs import Missing
from tests.destinations import page, run_floodgate, run_postfix
from tests.destinations.kinds import KINDS, Kind
from tests.destinations.run_floodgate import Ended

_RESULTS = Path(__file__).resolve().parents[1] / "results"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.destinations", description="Deliver to every kind of nasty destination (one minute)."
    )
    parser.add_argument("--results", type=Path, default=_RESULTS, help="the directory of the dated files")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="floodgate-destinations-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # Postfix's daemons pass through for accounts of their own
        floodgate = run_floodgate.run(KINDS, folder)
        try:
            version, postfix = run_postfix.version(), run_postfix.run(KINDS, folder)
        except Missing as reason:
            version, postfix = f"without Postfix ({reason})", None
    wrong = run_floodgate.disagreements(KINDS, floodgate) + [
        f"{kind.name}: Postfix ends with {postfix[kind.name]}, not {kind.postfix or kind.ends}"
        for kind in KINDS
        if postfix and not _as_told(kind, postfix[kind.name])
    ]
    print(*wrong, sep="\n")
    written = page.write(given.results, KINDS, floodgate, postfix, version)
    print(f"{len(KINDS)} kinds, {len(wrong)} otherwise than told; {written}")
    return 1 if wrong else 0


def _as_told(kind: Kind, found: Ended) -> bool:
    return found.ends == (kind.postfix or kind.ends)


if __name__ == "__main__":
    sys.exit(main())
