"""`python -m tests.soak --minutes 20 --seed 1`: mixed faults under load, and a verdict; dated files in tests/results.

Exit status 0: clean; 1: not clean, and the nodes' folders are kept.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from tests.soak import report
from tests.soak.plan import plan_of
from tests.soak.run import soak

_RESULTS = Path(__file__).resolve().parents[1] / "results"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Mixed faults under load, for minutes.")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=1, help="determines load, orders and faults")
    parser.add_argument("--rate", type=float, default=250.0, help="messages a second")
    parser.add_argument("--order-every", type=float, default=20.0, help="seconds")
    parser.add_argument("--fault-every", type=float, default=7.0, help="seconds, on average")
    parser.add_argument("--results", type=Path, default=_RESULTS, help="the directory of the dated files")
    given = parser.parse_args(argv)
    plan = plan_of(given.seed, given.minutes * 60, given.rate, given.order_every, given.fault_every)
    folder = Path(tempfile.mkdtemp(prefix="floodgate-soak-"))
    result = asyncio.run(soak(plan, folder))
    page = report.write(given.results, [result])
    print(page.read_text())
    print(f"{'clean' if result['clean'] else 'NOT CLEAN'}; {page}")
    if result["clean"]:
        shutil.rmtree(folder)
        return 0
    print(f"the nodes' logs are in {folder}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
