"""The database of a history as readers use it."""

from contextlib import AbstractContextManager
from typing import Protocol

from sqlalchemy import Connection

from mta.history.tables import DayTables


class Database(Protocol):
    """Calls come from several threads."""

    where: str  # for people, without a password

    def control(self) -> AbstractContextManager[Connection]:
        """Raises HistoryAway: history has not begun."""
        ...

    def day(self, day: int) -> AbstractContextManager[tuple[Connection, DayTables] | None]:
        """None: there is no such day, or none any more."""
        ...

    def close(self) -> None: ...
