"""`python -m tests.faults --seeds N`: runs of mail and faults.

History on files with one node and on PostgreSQL with two, and mail that is handed in with idempotency keys.
"""

import argparse
import pathlib
import sys
import tempfile

from tests.faults.history import HistoryFaults
from tests.faults.injection import InjectionFaults
from tests.support.postgres import Postgres


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    given = parser.parse_args()
    failed = 0
    for seed in range(given.first, given.first + given.seeds):
        with tempfile.TemporaryDirectory(prefix="floodgate-faults-") as folder:
            try:
                injection = InjectionFaults(pathlib.Path(folder), seed)
                injection.run()
                print(f"seed {seed}, keys: each counted once; killed: {dict(injection.killed)}", flush=True)
            except AssertionError as error:
                failed += 1
                print(f"seed {seed}, keys: FAILED: {error}", flush=True)
        for database in ("sqlite", "postgresql"):
            postgres = Postgres().start() if database == "postgresql" else None
            try:
                with tempfile.TemporaryDirectory(prefix="floodgate-faults-") as folder:
                    faults = HistoryFaults(pathlib.Path(folder), seed, postgres)
                    faults.run()
                print(f"seed {seed}, {database}: history equals receipts; killed: {dict(faults.killed)}", flush=True)
            except AssertionError as error:
                failed += 1
                print(f"seed {seed}, {database}: FAILED: {error}", flush=True)
            finally:
                if postgres is not None:
                    postgres.remove()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
