"""History in the files of this node, opened with the first question that needs more than one statement.

Most processes of the API are asked for counters of tags alone. These are read here, so that such a process imports no
SQLAlchemy.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from mta.history.encoding import tag_counters_of, text
from mta.history.layout import control_file
from mta.history.translated import translated
from mta.model.events import EventType
from mta.model.ids import DeliveryId, MessageId
from mta.model.status import DeliveryRow
from mta.ports.audit import NotedEvent
from mta.ports.history import Behind, Coverage, Cursor, EventPage, History, HourCount, KeptEvent, RowFilter, RowPage
from mta.ports.tag_counters import TagCounters

_TIMEOUT: Final = 5.0  # seconds to wait for the journal
_COUNTERS: Final = "SELECT lane, epoch, field, many FROM tag_counters WHERE tag = ? AND tenant = ?"


class SqliteHistory:
    """Fulfils ports.history.History."""

    def __init__(self, folder: str, open_reader: Callable[[str], History]) -> None:
        """`open_reader` is called on a thread, with the folder."""
        self._folder = Path(folder)
        self._open_reader = open_reader
        self._opening = threading.Lock()
        self._reader: History | None = None

    async def coverage(self) -> Coverage:
        return await (await self._opened()).coverage()

    async def rows(self, wanted: RowFilter, limit: int, cursor: str = "") -> RowPage:
        return await (await self._opened()).rows(wanted, limit, cursor)

    async def row(self, delivery: DeliveryId) -> DeliveryRow | None:
        return await (await self._opened()).row(delivery)

    async def message(self, message: MessageId) -> list[DeliveryRow]:
        return await (await self._opened()).message(message)

    async def events_of(self, message: MessageId) -> list[KeptEvent]:
        return await (await self._opened()).events_of(message)

    async def events(self, after: Cursor, most: int, without: Collection[EventType] = ()) -> EventPage:
        return await (await self._opened()).events(after, most, without)

    async def events_at(self, places: Sequence[Cursor]) -> dict[Cursor, KeptEvent]:
        return await (await self._opened()).events_at(places)

    async def behind(self, after: Cursor) -> Behind:
        return await (await self._opened()).behind(after)

    async def newest(self) -> Cursor:
        return await (await self._opened()).newest()

    async def at(self, time: int) -> Cursor:
        return await (await self._opened()).at(time)

    async def counts(
        self, by: Sequence[str], interval: int, from_: int, until: int, tenant: str | None = None
    ) -> list[HourCount]:
        return await (await self._opened()).counts(by, interval, from_, until, tenant)

    async def sites(self, domains: Iterable[str]) -> dict[str, str]:
        return await (await self._opened()).sites(domains)

    async def tag_counters(self, tag: str, tenant: str = "") -> Sequence[TagCounters]:
        return await asyncio.to_thread(self._tag_counters, tag, tenant)

    async def rule_statement(self, rule_id: str) -> str:
        return await (await self._opened()).rule_statement(rule_id)

    async def orders(self, below: str, most: int) -> list[NotedEvent]:
        return await (await self._opened()).orders(below, most)

    async def close(self) -> None:
        if self._reader is not None:
            await self._reader.close()

    async def _opened(self) -> History:
        if self._reader is not None:
            return self._reader
        return await asyncio.to_thread(self._open)

    def _open(self) -> History:
        with self._opening:
            if self._reader is None:
                self._reader = self._open_reader(str(self._folder))
            return self._reader

    def _tag_counters(self, tag: str, tenant: str) -> list[TagCounters]:
        with translated(str(self._folder)):
            connection = sqlite3.connect(control_file(self._folder), timeout=_TIMEOUT, isolation_level=None)
            with closing(connection):
                connection.execute("PRAGMA query_only = ON")
                return tag_counters_of(tag, tenant, connection.execute(_COUNTERS, (text(tag), tenant)))
