"""`python -m tests.faults --seeds N`: runs of mail and faults.

History on files with one node and on PostgreSQL with two, and mail that is handed in with idempotency keys. With
`--results FOLDER` the runs become a dated page there.
"""

import argparse
import pathlib
import sys
import tempfile
import time
from typing import Any

from tests.faults import report
from tests.faults.history import HistoryFaults
from tests.faults.injection import InjectionFaults
from tests.support.postgres import Postgres


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument(
        "--kind", choices=tuple(report.STORIES), action="append", help="only this kind; may be repeated"
    )
    parser.add_argument("--results", type=pathlib.Path, help="where the files of the result go")
    given = parser.parse_args()
    kinds = given.kind or list(report.STORIES)
    rows = [_row(kind, seed) for seed in range(given.first, given.first + given.seeds) for kind in kinds]
    failed = sum(bool(row["why"]) for row in rows)
    print(f"{failed} of {len(rows)} failed")
    if given.results:
        print(report.write(given.results, rows))
    return 1 if failed else 0


def _row(kind: str, seed: int) -> dict[str, Any]:
    begun = time.monotonic()
    row: dict[str, Any] = {"kind": kind, "seed": seed, "why": ""}
    postgres = Postgres().start() if kind == "postgresql" else None
    with tempfile.TemporaryDirectory(prefix="floodgate-faults-") as folder:
        path = pathlib.Path(folder)
        faults = InjectionFaults(path, seed) if kind == "keys" else HistoryFaults(path, seed, postgres)
        try:
            faults.run()
        except Exception as error:  # a node that does not start has failed, too
            row["why"] = f"{type(error).__name__}: {error}"
        finally:
            if postgres is not None:
                postgres.remove()
    row |= faults.figures() | {"killed": dict(faults.killed), "s": round(time.monotonic() - begun, 1)}
    print(f"{kind} {'FAILED' if row['why'] else 'ok    '} {row}", flush=True)
    return row


if __name__ == "__main__":
    sys.exit(main())
