"""Event streams as the journal reads them, its figures, and the stream that feeds watchers."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from mta.model.entries import Entry
from mta.model.events import Event
from mta.ports.journal import RULES_LANE, JournalState, Page, StreamEnd, name_of
from mta.redis_store import keys
from mta.redis_store.link import Link
from mta.timing.clock import wall_ms

_FIRST_ENTRIES, _MOST_ENTRIES = 64, 1000  # of a stream, asked for in the first command of a page and in each other
_TAIL_LENGTH = 10_000  # lines
_TAIL_TICK = 0.1  # seconds between two looks
_WATCHED = 60  # seconds for which one word of a watcher counts
_SKEW_MS = 5000  # between the clocks of this process and of the store, at most
_TAIL_PIECE = 500  # lines made and sent at once
_RULE_EVENTS = 20_000  # entries of the rule table's lane that are kept for other nodes
_FORGOTTEN = 60_000  # ms after which a journal that tells nothing is not shown

_state_decoder = msgspec.json.Decoder(tuple[int, int, dict[str, float]])


class StoredOutbox:
    """Fulfils ports.journal.Outbox and ports.journal.Journals."""

    def __init__(self, link: Link, lanes: int) -> None:
        self.lanes = lanes
        self._link = link
        self._largest: dict[int, int] = {}  # entry of the last page of a lane, bytes

    async def lease(self, lane: int, journal: str, seconds: float) -> bool:
        return (await self._lease(lane, journal, max(1, int(seconds * 1000))))[0]

    async def release(self, lane: int, journal: str) -> None:
        await self._lease(lane, journal, 0)

    async def _lease(self, lane: int, journal: str, ms: int) -> tuple[bool, bytes]:
        step_keys = [keys.JOURNAL_OWNER, keys.JOURNAL_POSITION]
        granted, position = await self._link.call(b"lease", step_keys, [name_of(lane), journal, ms])
        return bool(granted), position

    async def position(self, lane: int) -> str:
        found = await self._link.quick("HGET", keys.JOURNAL_POSITION, name_of(lane))
        return found.decode() if found else "0-0"

    async def end(self, lane: int, position: str) -> StreamEnd:
        # Counted from the end that is nearer: the rule table's stream keeps many counted entries, the others have many
        # entries that are not counted yet.
        from_behind = int(lane == RULES_LANE)
        step_keys = [_anchor(lane), _stream(lane)]
        epoch, last, added, born = await self._link.call(b"stream_end", step_keys, [position, from_behind])
        return StreamEnd(int(epoch), last.decode(), int(added), born.decode())

    async def raise_epoch(self, lane: int, epoch: int) -> int:
        return int(await self._link.call(b"raise_epoch", [_anchor(lane)], [epoch]))

    async def has(self, lane: int, entry: str) -> bool:
        return bool(await self._link.command("XRANGE", _stream(lane), entry, entry))

    async def read(self, lane: int, after: str, room: int) -> Page:
        """The server takes a number of entries and not of bytes, and an entry has a hundred bytes or a hundred
        thousand. So few entries are read first, by the size of those of the last page, and their size decides about
        the rest."""
        stream, found, sizes = _stream(lane), list[Entry](), list[int]()
        ask = max(1, min(_FIRST_ENTRIES, room // self._largest.get(lane, room // 4)))
        while True:
            rows = await self._link.quick("XRANGE", stream, f"({after}", "+", "COUNT", ask)
            for entry, fields in rows:
                sizes.append(len(entry) + len(fields[1]))
                found.append(Entry(entry.decode(), *fields[1::2]))
            size = sum(sizes)
            if len(rows) < ask or size >= room:
                if sizes:
                    self._largest[lane] = max(sizes)
                return Page(found, len(rows) == ask)
            after = found[-1].id
            ask = max(1, min(_MOST_ENTRIES, (room - size) * len(found) // size))

    async def wait(self, positions: Mapping[int, str], seconds: float) -> bool:
        streams = {_stream(lane): after for lane, after in positions.items()}
        groups = self._link.together(list(streams))
        waits = [asyncio.ensure_future(self._block(group, streams, seconds)) for group in groups]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        return any(one.result() for one in done)

    async def _block(self, streams: Sequence[bytes], positions: Mapping[bytes, str], seconds: float) -> bool:
        after = [positions[stream] for stream in streams]
        ms = max(1, int(min(seconds, self._link.patience) * 1000))
        return bool(await self._link.command("XREAD", "COUNT", 1, "BLOCK", ms, "STREAMS", *streams, *after))

    async def done(self, lane: int, journal: str, position: str) -> bool:
        step_keys = [keys.JOURNAL_OWNER, keys.JOURNAL_POSITION]
        if not await self._link.call(b"journaled", step_keys, [name_of(lane), journal, position]):
            return False
        if lane == RULES_LANE:
            await self._trim_rules(position)
        else:
            ms, _, seq = position.partition("-")
            await self._link.quick("XTRIM", _stream(lane), "MINID", f"{ms}-{int(seq) + 1}")
        return True

    async def _trim_rules(self, position: str) -> None:
        """Keeps the newest counted entries, which other nodes copy, and every entry that was not counted."""
        if not await self._link.quick("XRANGE", keys.RULES_EVENTS, f"({position}", "+", "COUNT", 1):
            await self._link.quick("XTRIM", keys.RULES_EVENTS, "MAXLEN", "~", _RULE_EVENTS)

    async def drop(self, lane: int, journal: str, keep: int) -> int:
        return int(await self._link.command("XTRIM", _stream(lane), "MAXLEN", keep))

    async def backlog(self, lane: int) -> int:
        return int(await self._link.command("XLEN", _stream(lane)))

    async def copied(self, node: str) -> str:
        found = await self._link.command("HGET", keys.JOURNAL_POSITION, f"rules.{node}")
        return found.decode() if found else "0-0"

    async def note_copied(self, node: str, position: str) -> None:
        await self._link.command("HSET", keys.JOURNAL_POSITION, f"rules.{node}", position)

    async def tell(self, state: JournalState) -> None:
        told = msgspec.json.encode((state.pid, state.told_at, state.metrics))
        await self._link.command("HSET", keys.JOURNAL_STATES, state.node, told)

    async def journals(self) -> list[JournalState]:
        raw = await self._link.command("HGETALL", keys.JOURNAL_STATES)
        told = {node: _state_decoder.decode(text) for node, text in zip(raw[::2], raw[1::2], strict=True)}
        now = wall_ms()
        return [JournalState(node.decode(), *state) for node, state in told.items() if abs(now - state[1]) < _FORGOTTEN]


def _anchor(lane: int) -> bytes:
    return keys.RULES_HEAD if lane == RULES_LANE else keys.lane_key(lane, b"lane")


def _stream(lane: int) -> bytes:
    return keys.RULES_EVENTS if lane == RULES_LANE else keys.lane_key(lane, b"events")


class StoredTail:
    """Fulfils ports.journal.Tail and ports.access.LiveEvents."""

    def __init__(
        self, link: Link, lines: Callable[[Sequence[tuple[str, Event]]], bytes], wall: Callable[[], int] = wall_ms
    ) -> None:
        """`lines` makes the lines of the log, each with its line end."""
        self._link = link
        self._lines = lines
        self._wall = wall

    async def watched(self) -> bool:
        return bool(await self._link.quick("EXISTS", keys.TAIL_WATCHED))

    async def feed(self, events: Sequence[tuple[str, Event]]) -> None:
        for from_ in range(0, len(events), _TAIL_PIECE):
            lines = self._lines(events[from_ : from_ + _TAIL_PIECE]).splitlines()
            fields = [word for line in lines for word in (b"l", line)]
            await self._link.quick("XADD", keys.TAIL, "MAXLEN", "~", _TAIL_LENGTH, "*", *fields)

    async def watch(self) -> None:
        """The key has the time since which somebody watches without a pause."""
        if not await self._link.command("SET", keys.TAIL_WATCHED, self._wall(), "NX", "EX", _WATCHED):
            await self._link.command("EXPIRE", keys.TAIL_WATCHED, _WATCHED)

    async def lacks(self, tail_id: str) -> bool:
        entry = tail_id.partition(".")[0]
        since = await self._link.command("GET", keys.TAIL_WATCHED)
        if since is None or int(since) > int(entry.partition("-")[0]):
            return True
        return not await self._link.command("XRANGE", keys.TAIL, entry, entry)

    async def follow(self, after: str, most: int, seconds: float) -> list[tuple[str, bytes]]:
        """A tail id is `<entry id>.<index>`."""
        deadline = time.monotonic() + seconds
        entry, _, index = (await self.newest() if after == "$" else after).partition(".")
        while True:
            rows = await self._link.command("XRANGE", keys.TAIL, entry, "+", "COUNT", most)
            found = _after(rows, entry, int(index or 0))
            if found or time.monotonic() >= deadline:
                return found
            await asyncio.sleep(_TAIL_TICK)

    async def newest(self) -> str:
        """The tail id from which on nothing is known yet."""
        rows = await self._link.command("XREVRANGE", keys.TAIL, "+", "-", "COUNT", 1)
        if not rows:
            return f"{self._wall() - _SKEW_MS}-0.0"
        return f"{rows[0][0].decode()}.{len(rows[0][1]) // 2}"


def _after(rows: list[Any], entry: str, seen: int) -> list[tuple[str, bytes]]:
    """Lines of `rows` beyond the `seen` first ones of `entry`."""
    found = []
    for id_, fields in rows:
        name = id_.decode()
        for at, line in enumerate(fields[1::2], 1):
            if name != entry or at > seen:
                found.append((f"{name}.{at}", line))
    return found
