"""A journal at its bench: an outbox in memory, a spool in a folder, a sink that remembers, a tail."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from mta.journal.journal import Journal
from mta.model.entries import Entry, framed, order_of
from mta.model.errors import StoreAway
from mta.model.event_settings import JournalSettings
from mta.model.events import Event, EventType
from mta.ports.journal import RULES_LANE, JournalState, Page, StreamEnd
from mta.spool_files.spool import FileSpool

GOOD = msgspec.msgpack.encode(Event(EventType.DELIVERY, 5))


def entry(entry_id: str, *events: bytes) -> Entry:
    return Entry(entry_id, framed(events or (GOOD,)))


def delivery(text: str) -> bytes:
    return msgspec.msgpack.encode(Event(EventType.DELIVERY, 5, text=text))


class Outbox:
    def __init__(self, lanes: int = 2) -> None:
        self.lanes = lanes
        self.streams: dict[int, list[Entry]] = {lane: [] for lane in (*range(lanes), RULES_LANE)}
        self.owner: dict[int, str] = {}
        self.positions: dict[int, str] = {}
        self.copied_by: dict[str, str] = {}
        self.away = False
        self.waits: list[float] = []
        self.wanted = asyncio.Event()
        self.told: list[JournalState] = []
        self.epochs: dict[int, int] = {}
        self.born = "1"
        self.trimmed: dict[int, int] = {}  # entries of each lane that were there and are no more
        self.ends: dict[int, str] = {}  # the newest entry of a lane, where it was trimmed

    async def lease(self, lane: int, journal: str, seconds: float) -> bool:
        return self.owner.setdefault(lane, journal) == journal

    async def release(self, lane: int, journal: str) -> None:
        self.owner.pop(lane)

    async def position(self, lane: int) -> str:
        return self.positions.get(lane, "0-0")

    async def end(self, lane: int, position: str) -> StreamEnd:
        if self.away:
            raise StoreAway("away")
        stream = self.streams[lane]
        last = max([*(one.id for one in stream), self.ends.get(lane, "0-0")], key=order_of)
        before = sum(order_of(one.id) <= order_of(position) for one in stream)
        return StreamEnd(self.epochs.get(lane, 1), last, self.trimmed.get(lane, 0) + before, self.born)

    async def raise_epoch(self, lane: int, epoch: int) -> int:
        self.epochs[lane] = epoch + 1
        return epoch + 1

    async def has(self, lane: int, entry_id: str) -> bool:
        return any(one.id == entry_id for one in self.streams[lane])

    async def read(self, lane: int, after: str, room: int) -> Page:
        if self.away:
            raise StoreAway("away")
        found: list[Entry] = []
        for one in self.streams[lane]:
            if one.id > after:
                if room <= 0:
                    return Page(found, True)
                found.append(one)
                room -= len(one.framed)
        return Page(found, False)

    async def wait(self, positions: Mapping[int, str], seconds: float) -> bool:
        self.waits.append(seconds)
        self.wanted = asyncio.Event()
        await self.wanted.wait()
        return True

    async def done(self, lane: int, journal: str, position: str) -> bool:
        if self.owner.get(lane) != journal:
            return False
        self.positions[lane] = position
        if lane == RULES_LANE:
            return True
        left = [one for one in self.streams[lane] if one.id > position]
        self.trimmed[lane] = self.trimmed.get(lane, 0) + len(self.streams[lane]) - len(left)
        if left != self.streams[lane]:
            self.ends[lane] = self.streams[lane][-1].id
        self.streams[lane] = left
        return True

    async def drop(self, lane: int, journal: str, keep: int) -> int:
        dropped = len(self.streams[lane]) - keep
        self.streams[lane] = self.streams[lane][dropped:]
        return dropped

    async def backlog(self, lane: int) -> int:
        return len(self.streams[lane])

    async def copied(self, node: str) -> str:
        return self.copied_by.get(node, "0-0")

    async def note_copied(self, node: str, position: str) -> None:
        self.copied_by[node] = position

    async def tell(self, state: JournalState) -> None:
        self.told.append(state)


class Sink:
    """`full`: it cannot be written; `failing`: it cannot be synced. Lines that were not synced are forgotten then."""

    def __init__(self) -> None:
        self.got: list[tuple[str, Event]] = []
        self.synced = 0
        self.full = self.failing = self.closed = False
        self.reopened = 0
        self._added: list[tuple[str, Event]] = []

    def add(self, events: Any) -> None:
        self._added += events

    def write(self) -> None:
        added, self._added = self._added, []
        if self.full:
            raise OSError(28, "No space left on device")
        self.got += added

    def sync(self) -> None:
        if self.failing:
            del self.got[self.synced :]
            raise OSError(5, "Input/output error")
        self.synced = len(self.got)

    def reopen(self) -> None:
        self.reopened += 1

    def close(self) -> None:
        self.closed = True

    @property
    def ids(self) -> list[str]:
        return [event_id for event_id, _ in self.got]


class Tail:
    def __init__(self, watched: bool = False) -> None:
        self.on = watched
        self.events: list[tuple[str, Event]] = []

    async def watched(self) -> bool:
        return self.on

    async def feed(self, events: Any) -> None:
        self.events += events


class Bench:
    """One journal; its clock goes by `rounds` only."""

    def __init__(self, folder: Path, outbox: Outbox, name: str = "j1", watched: bool = False, **settings: Any) -> None:
        self.now = 100.0
        self.sink, self.tail = Sink(), Tail(watched)
        chosen = JournalSettings(**settings)
        self.spool = FileSpool(str(folder / name), chosen.spool_max)
        self.journal = Journal(
            outbox, self.spool, {"log": self.sink}, self.tail, name, name, chosen, clock=lambda: self.now
        )

    async def rounds(self, count: int = 4) -> None:
        for _ in range(count):
            self.now += 1.1
            await self.journal.round()

    @property
    def ids(self) -> list[str]:
        return self.sink.ids
