"""Events of the rule table's lane, newest first: the record of orders after the store has dropped it."""

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Connection, select

from mta.history.chunks import Chunks
from mta.history.database import Database
from mta.history.encoding import number, places_of
from mta.history.layout import Kind
from mta.history.tables import DAYS, DayTables
from mta.model.entries import order_of
from mta.model.events import OrderedEvent
from mta.ports.audit import NotedEvent
from mta.ports.history_writer import DAY_MS

_ROUNDS: Final = 64  # read at once


class Orders:
    """Blocking calls, from any thread."""

    def __init__(self, database: Database, chunks: Chunks) -> None:
        self._database = database
        self._chunks = chunks

    def read(self, below: str, most: int) -> list[NotedEvent]:
        """See ports.audit.OldOrders."""
        found: list[NotedEvent] = []
        for some in self._newest_first(below):
            found += some
            if len(found) >= most:
                break
        return found

    def _newest_first(self, below: str) -> Iterator[list[NotedEvent]]:
        """Whole entries before `below`."""
        query = select(DAYS.c.day).order_by(DAYS.c.day.desc())
        if below:
            query = query.where(DAYS.c.day <= order_of(below)[0] // DAY_MS)
        with self._database.control() as control:
            days = list(control.execute(query).scalars())
        for day in days:
            with self._database.day(day) as opened:
                if opened is not None:
                    for numbers in _numbers(*opened):
                        yield self._noted(numbers, below)

    def _noted(self, numbers: list[int], below: str) -> list[NotedEvent]:
        end = order_of(below) if below else (1 << 62, 0)
        found = []
        for event_id, event in self._chunks.events(numbers).values():
            entry = event_id.split(".")[2]  # rules.<epoch>.<entry>.<index>
            if order_of(entry) < end and isinstance(event, OrderedEvent):
                found.append(NotedEvent(entry, event_id, event))
        found.sort(key=lambda noted: (*order_of(noted.entry), int(noted.event_id.rpartition(".")[2])), reverse=True)
        return found


def _numbers(connection: Connection, tables: DayTables) -> Iterator[list[int]]:
    """Of the events of one day, whole rounds from the newest on: an entry is in one round."""
    postings, before = tables.postings, 1 << 62
    while True:
        query = (
            select(postings.c.round, postings.c.places)
            .where(postings.c.kind == Kind.ORDER, postings.c.value == "", postings.c.round < before)
            .order_by(postings.c.round.desc())
            .limit(_ROUNDS)
        )
        rounds = connection.execute(query).all()
        if not rounds:
            return
        before = rounds[-1].round
        yield [number(round_, place) for round_, places in rounds for place in places_of(places)]
