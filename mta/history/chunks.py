"""Events by their numbers: batches name the chunks, and a chunk is read once for all of its events that are wanted."""

import threading
import time
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, Final, NamedTuple

from sqlalchemy import Row, select

from mta.history.database import Database
from mta.history.encoding import Parts, entries_of, read_parts
from mta.history.tables import ABOUT, BATCHES, REVISION
from mta.model.entry_events import decoded, event_id
from mta.model.events import Event
from mta.ports.history_writer import MOST_EVENTS, PLACE_BITS

_MOST_BATCHES: Final = 4096  # remembered
_MOST_CHUNKS: Final = 128
_AT_ONCE: Final = 500  # values in one IN
_PLACE: Final = MOST_EVENTS - 1
_LOOK: Final = 1.0  # seconds between two looks for erasures

StoredEvent = tuple[str, str, int, bytes]  # source, entry id, index in it, the event as it is stored


class Batch(NamedTuple):
    """A round that was written."""

    number: int
    round: int
    written_at: int  # Unix ms
    events: int
    parts: Parts

    def by_chunk(self, places: list[int]) -> Iterator[tuple[int, int, list[int]]]:
        """(day, first place of the chunk, those of these places that it has) of each chunk that has some."""
        places.sort()
        at = 0
        for (day, first), following in pairwise([*self.chunks(), (0, MOST_EVENTS)]):
            at = bisect_left(places, first, at)
            end = bisect_left(places, following[1], at)
            if end > at:
                yield day, first, places[at:end]
                at = end
                if at == len(places):
                    return

    def chunks(self) -> list[tuple[int, int]]:
        """(day, first place) of all, in the order of their events."""
        return sorted(((day, first) for day, _, firsts in self.parts for first in firsts), key=lambda chunk: chunk[1])

    def least_new(self, day: int) -> int:
        """The least time in the message ids that were new on that day, Unix ms; 0 = none was."""
        return next((least for known, least, _ in self.parts if known == day), 0)


class Chunks:
    """Remembers batches and chunks: neither ever changes, save by an erasure."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batches: OrderedDict[int, Batch] = OrderedDict()  # by round
        self._chunks: OrderedDict[tuple[int, int], list[StoredEvent]] = OrderedDict()  # (round, first place)
        self._lock = threading.Lock()
        self._revision: str | None = None
        self._looked_at = -_LOOK

    def forget_erased(self) -> None:
        """Remember no chunk that an erasure has changed; it looks once a second."""
        now = time.monotonic()
        if now - self._looked_at < _LOOK:
            return
        self._looked_at = now
        with self._database.control() as control:
            revision = control.execute(select(ABOUT.c.value).where(ABOUT.c.name == REVISION)).scalar()
        if revision != self._revision:
            self._revision = revision
            with self._lock:
                self._chunks.clear()

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
        return {n: _event(stored) for n, stored in self._stored_of(numbers)}

    def bare_events(self, numbers: Iterable[int]) -> dict[int, Event]:
        """The same without their ids, which cost a fifth."""
        return {n: decoded(source, entry_id, raw) for n, (source, entry_id, _, raw) in self._stored_of(numbers)}

    def _stored_of(self, numbers: Iterable[int]) -> Iterator[tuple[int, StoredEvent]]:
        places: dict[int, list[int]] = {}
        for n in set(numbers):
            round_ = n >> PLACE_BITS
            try:
                places[round_].append(n & _PLACE)
            except KeyError:
                places[round_] = [n & _PLACE]
        batches = self.batches(places)
        wanted: dict[int, dict[tuple[int, int], list[int]]] = {}  # day -> (round, first) -> numbers
        for round_, batch in batches.items():
            for day, first, some in batch.by_chunk(places[round_]):
                wanted.setdefault(day, {})[round_, first] = some
        for day, chunks in wanted.items():
            for (round_, first), stored in self._read(day, chunks).items():
                base, many = round_ << PLACE_BITS, len(stored)
                for place in chunks[round_, first]:
                    if place - first < many:
                        yield base | place, stored[place - first]

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
