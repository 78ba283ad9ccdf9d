"""Reading a node's history in tests, and comparing it with the other accounts of the same mail."""

import asyncio
import json
import pathlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from mta.history.files import SqliteFiles
from mta.history.postgres import PostgresTables
from mta.history.reader import HistoryReader
from mta.log_file.lines import log_lines
from mta.model.status import DeliveryRow
from mta.ports.history import BEGINNING, Cursor, History, KeptEvent, RowFilter

_T = TypeVar("_T")


class HistoryView:
    """Blocking calls of a reader."""

    def __init__(self, reader: History) -> None:
        self.reader = reader

    def ask(self, call: Callable[[History], Awaitable[_T]]) -> _T:
        async def asked() -> _T:
            return await call(self.reader)

        return asyncio.run(asked())

    def rows(self, page: int = 1000, **wanted: Any) -> list[DeliveryRow]:
        """All pages."""
        found: list[DeliveryRow] = []
        cursor = ""
        while True:
            rows, cursor, _ = self.ask(lambda history, at=cursor: history.rows(RowFilter(**wanted), page, at))  # type: ignore[misc]
            found += rows
            if not cursor:
                return found

    def events(self, most: int = 1000) -> list[KeptEvent]:
        """All of them."""
        found: list[KeptEvent] = []
        at: Cursor = BEGINNING
        while True:
            page = self.ask(lambda history, at=at: history.events(at, most))  # type: ignore[misc]
            found += page.events
            at = page.next
            if page.at_end:
                return found


@contextmanager
def history_of(place: pathlib.Path | str) -> Iterator[HistoryView]:
    """The history in the data folder of a node, which need not run, or in a database by its URL."""
    reader = HistoryReader(PostgresTables(place) if isinstance(place, str) else SqliteFiles(str(place / "history")))
    try:
        yield HistoryView(reader)
    finally:
        asyncio.run(reader.close())


def as_lines(events: Iterable[KeptEvent]) -> list[dict[str, Any]]:
    """Events as the objects of the delivery log."""
    return [json.loads(line) for line in log_lines([(one.event_id, one.event) for one in events]).splitlines()]
