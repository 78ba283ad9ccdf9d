"""Two seeds of `make faults`, one for each database."""

import pathlib

from tests.faults.history import HistoryFaults
from tests.support.needs import needs
from tests.support.postgres import Postgres


def test_history_equals_receipts_while_journal_and_api_are_killed(tmp_path: pathlib.Path) -> None:
    HistoryFaults(tmp_path, seed=1, seconds=5.0).run()


@needs("postgres")
def test_history_of_two_nodes_equals_receipts_while_journals_apis_and_the_database_are_killed(
    tmp_path: pathlib.Path,
) -> None:
    postgres = Postgres()
    try:
        HistoryFaults(tmp_path, seed=2, postgres=postgres.start(), seconds=5.0).run()
    finally:
        postgres.remove()
