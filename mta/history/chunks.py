"""Events by their numbers: batches name the chunks, and a chunk is read once for all of its events that are wanted."""

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import Row, select

from mta.history.database import Database
from mta.history.encoding import Parts, entries_of, number, read_parts, round_and_place
from mta.history.tables import BATCHES
from mta.model.entry_events import decoded, event_id
from mta.model.events import Event

_MOST_BATCHES: Final = 4096  # remembered
_MOST_CHUNKS: Final = 128
_AT_ONCE: Final = 500  # values in one IN

StoredEvent = tuple[str, str, int, bytes]  # source, entry id, index in it, the event as it is stored


class Batch(NamedTuple):
    """A round that was written."""

    number: int
    round: int
    written_at: int  # Unix ms
    events: int
    parts: Parts

    def chunk_of(self, place: int) -> tuple[int, int] | None:
        """(day, first place) of the chunk that has the event."""
        found = None
        for day, _, firsts in self.parts:
            at = bisect_right(firsts, place) - 1
            if at >= 0 and (found is None or firsts[at] > found[1]):
                found = day, firsts[at]
        return found

    def chunks(self) -> list[tuple[int, int]]:
        """(day, first place) of all, in the order of their events."""
        return sorted(((day, first) for day, _, firsts in self.parts for first in firsts), key=lambda chunk: chunk[1])

    def least_new(self, day: int) -> int:
        """The least time in the message ids that were new on that day, Unix ms; 0 = none was."""
        return next((least for known, least, _ in self.parts if known == day), 0)


class Chunks:
    """Remembers batches and chunks: neither ever changes, save by an erasure, which says so with `forget`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batches: OrderedDict[int, Batch] = OrderedDict()  # by round
        self._chunks: OrderedDict[tuple[int, int], list[StoredEvent]] = OrderedDict()  # (round, first place)
        self._lock = threading.Lock()

    def batches(self, rounds: Iterable[int]) -> dict[int, Batch]:
        """By round; those that are not written are left out."""
        wanted = set(rounds)
        with self._lock:
            found = {round_: self._batches[round_] for round_ in wanted if round_ in self._batches}
        missing = sorted(wanted - found.keys())
        for at in range(0, len(missing), _AT_ONCE):
            query = select(BATCHES).where(BATCHES.c.round.in_(missing[at : at + _AT_ONCE]))
            with self._database.control() as connection:
                found |= {batch.round: batch for batch in map(_batch, connection.execute(query))}
        with self._lock:
            for batch in found.values():
                self._batches[batch.round] = batch
            while len(self._batches) > _MOST_BATCHES:
                self._batches.popitem(last=False)
        return found

    def following(self, number: int, most: int) -> list[Batch]:
        """The batches from that number on."""
        query = select(BATCHES).where(BATCHES.c.number >= number).order_by(BATCHES.c.number).limit(most)
        with self._database.control() as connection:
            return [_batch(row) for row in connection.execute(query)]

    def events(self, numbers: Iterable[int]) -> dict[int, tuple[str, Event]]:
        """Number -> (event id, event); one that is not there any more is left out."""
        places: dict[int, list[int]] = {}
        for n in set(numbers):
            round_, place = round_and_place(n)
            places.setdefault(round_, []).append(place)
        batches = self.batches(places)
        wanted: dict[int, dict[tuple[int, int], list[int]]] = {}  # day -> (round, first) -> numbers
        for round_, batch in batches.items():
            for place in places[round_]:
                chunk = batch.chunk_of(place)
                if chunk is not None:
                    day, first = chunk
                    wanted.setdefault(day, {}).setdefault((round_, first), []).append(place)
        found: dict[int, tuple[str, Event]] = {}
        for day, chunks in wanted.items():
            for (round_, first), stored in self._read(day, chunks).items():
                for place in chunks[round_, first]:
                    if place - first < len(stored):
                        found[number(round_, place)] = _event(stored[place - first])
        return found

    def chunk(self, day: int, round_: int, first: int) -> list[tuple[str, Event]]:
        """All events of a chunk."""
        return [_event(stored) for stored in self._read(day, {(round_, first): []}).get((round_, first), ())]

    def _read(self, day: int, wanted: Mapping[tuple[int, int], list[int]]) -> dict[tuple[int, int], list[StoredEvent]]:
        with self._lock:
            found = {key: self._chunks[key] for key in wanted if key in self._chunks}
        missing: dict[int, list[int]] = {}
        for round_, first in wanted.keys() - found.keys():
            missing.setdefault(round_, []).append(first)
        if missing:
            with self._database.day(day) as opened:
                if opened is not None:
                    connection, tables = opened
                    chunks = tables.chunks
                    for round_, firsts in missing.items():
                        query = select(chunks.c.first, chunks.c.data).where(
                            chunks.c.round == round_, chunks.c.first.in_(firsts)
                        )
                        for first, data in connection.execute(query):
                            found[round_, first] = _stored(data)
        with self._lock:
            self._chunks |= found
            while len(self._chunks) > _MOST_CHUNKS:
                self._chunks.popitem(last=False)
        return found


def _batch(row: Row[Any]) -> Batch:
    return Batch(row.number, row.round, row.written_at, row.events, read_parts(row.parts))


def _stored(data: bytes) -> list[StoredEvent]:
    return [
        (source, entry.id, index, raw) for source, entry in entries_of(data) for index, raw in enumerate(entry.events)
    ]


def _event(stored: StoredEvent) -> tuple[str, Event]:
    source, entry_id, index, raw = stored
    return event_id(source, entry_id, index), decoded(source, entry_id, raw)
