"""Events by their numbers: batches name the chunks, and a chunk is read once for all of its events that are wanted."""

import threading
import time
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, Row, select

from mta.history.database import Database
from mta.history.encoding import Parts, entries_of, read_parts
from mta.history.tables import ABOUT, BATCHES, REVISION, DayTables
from mta.model.entry_events import decode_event, decoded, event_id
from mta.model.events import Event, EventType
from mta.ports.history import Cursor, KeptEvent
from mta.ports.history_writer import MOST_EVENTS, PLACE_BITS

_MOST_BATCHES: Final = 4096  # remembered
_MOST_CHUNKS: Final = 128
_AT_ONCE: Final = 500  # values in one IN
_PLACE: Final = MOST_EVENTS - 1
_LOOK: Final = 1.0  # seconds between two looks for erasures
_TOGETHER: Final = 8  # chunks that a reader of events reads at once
_HEADER: Final = 3  # bytes of an event before its type: an array of more than 15 items


def type_bytes(types: Iterable[EventType]) -> tuple[bytes, ...]:
    """The bytes that stand behind the header of an event of one of these types."""
    return tuple(bytes((0xA0 | len(kind.value),)) + kind.value.encode() for kind in types)


class StoredChunk:
    """Events as they are stored, and the entries that they come from."""

    __slots__ = ("_entries", "_firsts", "raw")

    def __init__(self, data: bytes) -> None:
        self.raw: list[bytes] = []
        self._entries: list[tuple[str, str]] = []  # source, id
        self._firsts: list[int] = []  # of each entry
        for source, entry in entries_of(data):
            self._entries.append((source, entry.id))
            self._firsts.append(len(self.raw))
            self.raw += entry.events

    def event(self, at: int) -> Event:
        source, entry_id = self._entries[bisect_right(self._firsts, at) - 1]
        return decoded(source, entry_id, self.raw[at])

    def id(self, at: int) -> str:
        """Of the event."""
        entry = bisect_right(self._firsts, at) - 1
        return event_id(*self._entries[entry], at - self._firsts[entry])

    def span(
        self, batch: int, place: int, begin: int, most: int, without: tuple[bytes, ...]
    ) -> tuple[list[KeptEvent], int]:
        """At most `most` events from the one at `begin` on, and the place behind them. Events whose bytes begin as one
        of `without` says are passed over. The first event here has `place` in the batch of that number."""
        found: list[KeptEvent] = []
        raw, decode = self.raw, decode_event
        start = max(0, bisect_right(self._firsts, begin) - 1)  # a page of a large chunk passes no entry over
        firsts = self._firsts[start:]
        for (source, entry), first, end in zip(self._entries[start:], firsts, [*firsts[1:], len(raw)], strict=True):
            before = f"{source}.{entry}."
            for at in range(max(first, begin), end):
                bytes_ = raw[at]
                if without and bytes_.startswith(without, _HEADER):
                    continue
                if len(found) == most:
                    return found, at
                try:
                    event: Event = decode(bytes_)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    event = decoded(source, entry, bytes_)
                name = f"{before}{at - first}" if source else entry
                found.append(KeptEvent(Cursor(batch, place + at), name, event))
        return found, len(raw)

    def plain_events(self, wanted: Iterable[int]) -> list[Event]:
        """These events; raises msgspec.DecodeError or UnicodeDecodeError when one of them cannot be read."""
        raw, decode = self.raw, decode_event
        return [decode(raw[at]) for at in wanted]


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
        """The earliest time in the ids of that day's messages that are new in this round, Unix ms; 0 = none is new."""
        return next((least for known, least, _ in self.parts if known == day), 0)


class Chunks:
    """Remembers batches and chunks: neither ever changes, save by an erasure."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batches: OrderedDict[int, Batch] = OrderedDict()  # by round
        self._chunks: OrderedDict[tuple[int, int], StoredChunk] = OrderedDict()  # (round, first place)
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

    def rounds_of(self, numbers: Iterable[int]) -> dict[int, int]:
        """Number of a batch -> its round; those that are not there are left out."""
        wanted, found = sorted(numbers), dict[int, int]()
        for at in range(0, len(wanted), _AT_ONCE):
            query = select(BATCHES.c.number, BATCHES.c.round).where(BATCHES.c.number.in_(wanted[at : at + _AT_ONCE]))
            with self._database.control() as connection:
                found |= {row.number: row.round for row in connection.execute(query)}
        return found

    def following(self, number: int, most: int) -> list[Batch]:
        """The batches from that number on."""
        query = select(BATCHES).where(BATCHES.c.number >= number).order_by(BATCHES.c.number).limit(most)
        with self._database.control() as connection:
            return [_batch(row) for row in connection.execute(query)]

    def events(self, numbers: Iterable[int]) -> dict[int, tuple[str, Event]]:
        """Number -> (event id, event); one that is not there any more is left out."""
        return {
            first + at: (chunk.id(at), chunk.event(at))
            for first, chunk, some in self._stored_of(numbers)
            for at in some
        }

    def bare_events(self, numbers: Iterable[int]) -> dict[int, Event]:
        """The same without their ids, and faster."""
        found: dict[int, Event] = {}
        for first, chunk, some in self._stored_of(numbers):
            try:
                found.update(zip([first + at for at in some], chunk.plain_events(some), strict=True))
            except (msgspec.DecodeError, UnicodeDecodeError):
                found |= {first + at: chunk.event(at) for at in some}
        return found

    def _stored_of(self, numbers: Iterable[int]) -> Iterator[tuple[int, StoredChunk, list[int]]]:
        """(Number of its first event, chunk, wanted events as counted from that one)."""
        places: dict[int, list[int]] = {}
        for n in set(numbers):
            round_ = n >> PLACE_BITS
            try:
                places[round_].append(n & _PLACE)
            except KeyError:
                places[round_] = [n & _PLACE]
        batches = self.batches(places)
        wanted: dict[int, dict[tuple[int, int], list[int]]] = {}  # day -> (round, first) -> places
        for round_, batch in batches.items():
            for day, first, some in batch.by_chunk(places[round_]):
                wanted.setdefault(day, {})[round_, first] = some
        for day, chunks in wanted.items():
            for (round_, first), stored in self._read(day, chunks).items():
                some = [place - first for place in chunks[round_, first]]  # they rise
                while some and some[-1] >= len(stored.raw):
                    some.pop()
                yield round_ << PLACE_BITS | first, stored, some

    def of_batch(
        self, batch: Batch, places: Sequence[tuple[int, int]]
    ) -> Iterator[tuple[int, int, StoredChunk | None]]:
        """(First place, place behind it, chunk) of each of these chunks (day, first place), which follow each other up
        to the end of the batch; some are read at once. None: its day was dropped."""
        ends = [*(first for _, first in places[1:]), batch.events]
        for begin in range(0, len(places), _TOGETHER):
            some = places[begin : begin + _TOGETHER]
            found: dict[tuple[int, int], StoredChunk] = {}
            for day in {day for day, _ in some}:
                found |= self._read(day, [(batch.round, first) for of, first in some if of == day])
            for (_, first), end in zip(some, ends[begin:], strict=False):
                yield first, end, found.get((batch.round, first))

    def _read(self, day: int, wanted: Collection[tuple[int, int]]) -> dict[tuple[int, int], StoredChunk]:
        with self._lock:
            found = {key: self._chunks[key] for key in wanted if key in self._chunks}
        missing = sorted(key for key in wanted if key not in found)
        if missing:
            with self._database.day(day) as opened:
                if opened is not None:
                    found |= _read_chunks(*opened, missing)
        with self._lock:
            self._chunks |= found
            while len(self._chunks) > _MOST_CHUNKS:
                self._chunks.popitem(last=False)
        return found


def _read_chunks(
    connection: Connection, tables: DayTables, wanted: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], StoredChunk]:
    """By round and first place."""
    found = {}
    for at in range(0, len(wanted), _AT_ONCE):
        keys = ",".join([f"({round_:d},{first:d})" for round_, first in wanted[at : at + _AT_ONCE]])
        query = (  # SQLite searches an index for each pair only in a join
            f"WITH wanted (r, f) AS (VALUES {keys}) SELECT round, first, data"
            f" FROM wanted CROSS JOIN {tables.chunks.name} WHERE round = r AND first = f"
        )
        for round_, first, data in connection.exec_driver_sql(query):
            found[round_, first] = StoredChunk(data)
    return found


def _batch(row: Row[Any]) -> Batch:
    return Batch(row.number, row.round, row.written_at, row.events, read_parts(row.parts))
