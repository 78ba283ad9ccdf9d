"""`python -m tests.races --seeds N`: both races with N seeds each, as dated files in tests/results."""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.races import campaign_race, cancel_race, cancel_verdict, report, verdict

_RESULTS = Path(__file__).resolve().parents[1] / "results"
_MESSAGES = {"campaigns": 2000, "cancellations": 5000}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.races", description="Race orders against deliveries.")
    parser.add_argument("--seeds", type=int, default=20, help="how many of each race")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--race", choices=(*_MESSAGES, "both"), default="both")
    parser.add_argument("--results", type=Path, default=_RESULTS, help="the directory of the dated files")
    given = parser.parse_args(argv)
    seeds = range(given.first, given.first + given.seeds)
    races = [name for name in _MESSAGES if given.race in (name, "both")]
    rows = {name: [_one(name, seed) for seed in seeds] for name in races}
    page = report.write(given.results, rows, _MESSAGES)
    failed = sum(not row["ok"] for some in rows.values() for row in some)
    print(f"{failed} of {sum(map(len, rows.values()))} failed; {page}")
    return 1 if failed else 0


def _one(race: str, seed: int) -> dict[str, Any]:
    """The row of one seed; one that could not be finished has failed."""
    begun = time.monotonic()
    run = _campaigns if race == "campaigns" else _cancellations
    with tempfile.TemporaryDirectory(prefix="floodgate-race-") as folder:
        try:
            row = asyncio.run(run(seed, _MESSAGES[race], Path(folder)))
        except Exception as error:
            why = getattr(error, "exceptions", [error])
            row = {"seed": seed, "why": [f"{type(one).__name__}: {one}" for one in why]}
    row |= {"ok": not row["why"], "seconds": round(time.monotonic() - begun, 1)}
    print(f"{race} {'ok    ' if row['ok'] else 'FAILED'} {row}", flush=True)
    return row


async def _campaigns(seed: int, messages: int, folder: Path) -> dict[str, Any]:
    evidence = await campaign_race.run_seed(seed, messages, folder)
    return report.campaign_row(evidence, verdict.failures(evidence))


async def _cancellations(seed: int, messages: int, folder: Path) -> dict[str, Any]:
    evidence = await cancel_race.run_seed(seed, messages, folder)
    return report.cancel_row(seed, evidence, cancel_verdict.failures(evidence))


if __name__ == "__main__":
    sys.exit(main())
