"""The journal: it moves events from the lanes it has leased to where they are kept, and forgets them only then."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import msgspec

from mta.model.errors import StoreError, severity
from mta.model.events import Event, EventType
from mta.model.rules import Rule
from mta.model.settings import JournalSettings
from mta.model.units import format_time
from mta.ports.journal import Entry, EventSink, Outbox, RuleChange, Tail
from mta.timing.clock import wall_ms

_LEASE, _RENEW = 15.0, 5.0
_MARGIN = 1.0  # nothing is begun that close to the end of a lease
# Bytes of events a round, over all lanes: as lines they take several times that, and larger rounds are no faster.
# What a round writes is less than what the log knows of its own end (delivery_log._TAIL).
_ROOM = 1024 * 1024
_MOST_CHANGES = 100  # of the rule table, a round
# Seconds between rounds: a round costs as much as some hundred lines do. Who follows the log waits for no more.
_BUSY = 0.15
_LAST_ROUNDS = 5.0  # seconds for what is left when the journal is told to stop
_SLOW_TICK = 1.0  # rule changes, backlogs
_FIRST_PAUSE, _LAST_PAUSE = 0.1, 5.0

_decoder = msgspec.msgpack.Decoder(Event)
_log = logging.getLogger(__name__)

Item = tuple[str, Event]
_T = TypeVar("_T")


class _Lane:
    """A lane that this journal has leased."""

    __slots__ = ("noted", "number", "position", "renewed", "until")

    def __init__(self, number: int, position: str, began: float) -> None:
        self.number = number
        self.position = position  # of the last entry made durable
        self.noted = position  # what the outbox knows of it
        self.renewed = began
        self.until = began + _LEASE


class Journal:
    """One loop for all lanes of this journal: read, write on a thread, note the position, feed the watchers."""

    def __init__(
        self,
        outbox: Outbox,
        sink: EventSink,
        tail: Tail,
        name: str,
        node: str,
        settings: JournalSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`name` is this journal's, unique among all processes; `node` keeps its place in the changes of the rule table
        from one journal to the next. The sink is closed by `stop`."""
        self._outbox = outbox
        self._sink = sink
        self._tail = tail
        self._name = name
        self._node = node
        self._settings = settings
        self._clock = clock
        self._lanes: dict[int, _Lane] = {}
        self._thread = ThreadPoolExecutor(1, "journal")
        self._stopping = asyncio.Event()
        self._next_take = self._next_slow = 0.0
        self._candidate = 0
        self.behind = False  # the last round left something in the lanes
        self.task: asyncio.Task[None] | None = None
        self.dropped = self.undecodable = self.failures = 0

    @property
    def lanes(self) -> list[int]:
        """The lanes that are ours now."""
        return sorted(self._lanes)

    def start(self) -> asyncio.Task[None]:
        """The task ends by `stop` only."""
        self.task = asyncio.get_running_loop().create_task(self._run(), name="journal")
        return self.task

    async def stop(self) -> None:
        """Finish what is being written and give the lanes to others."""
        self._stopping.set()
        if self.task is not None:
            await asyncio.gather(self.task, return_exceptions=True)
        with suppress(StoreError):  # then the leases run out by themselves; each try would wait as long as the first
            for lane in list(self._lanes.values()):
                await self._outbox.release(lane.number, self._name)
        self._lanes.clear()
        await self._on_thread(self._sink.close)
        self._thread.shutdown()

    async def reopen(self) -> None:
        """The log was moved (SIGHUP)."""
        await self._on_thread(self._sink.reopen)

    async def _run(self) -> None:
        trouble = 0.0
        while not self._stopping.is_set():
            try:
                moved = await self.round()
                trouble = 0.0
                await self._sleep(0.0 if self.behind else _BUSY)
                if not moved:
                    await self._rest()
            except (StoreError, OSError) as error:
                self.failures += 1
                if not trouble:
                    _log.log(severity(error), "the journal waits; events stay in the outbox: %s", error)
                trouble = min(_LAST_PAUSE, trouble * 2 or _FIRST_PAUSE)
                await self._sleep(trouble)
        await self._finish()

    async def _sleep(self, seconds: float) -> None:
        """Or until it is told to stop."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _rest(self) -> None:
        """Until an event comes or it is told to stop. Raises StoreError, OSError."""
        while not self._stopping.is_set() and not await self._something_comes():
            await self._keep_order()

    async def _something_comes(self) -> bool:
        """False: it is time for what is done slowly, or to stop. Raises StoreError."""
        next_ = self._next_slow if len(self._lanes) == self._outbox.lanes else min(self._next_slow, self._next_take)
        seconds = max(0.0, next_ - self._clock())
        positions = {lane.number: lane.position for lane in self._lanes.values()}
        if not positions:
            await self._sleep(seconds)
            return False
        coming = asyncio.ensure_future(self._outbox.wait(positions, seconds))
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait((coming, stopping), return_when=asyncio.FIRST_COMPLETED)
        for wait in (coming, stopping):
            wait.cancel()
        await asyncio.gather(coming, stopping, return_exceptions=True)
        return not coming.cancelled() and coming.result()

    async def _finish(self) -> None:
        """Write what was settled before this journal was told to stop; what takes too long is the next journal's."""
        end = self._clock() + _LAST_ROUNDS
        try:
            while self._clock() < end and await self.round():
                pass
        except StoreError:
            self._lanes.clear()  # the supervisor frees them: to ask once more would only take as long again
        except OSError:
            pass

    async def round(self) -> int:
        """Once through everything; how many events were made durable. Raises StoreError, OSError: nothing is lost."""
        await self._keep_order()
        lanes = list(self._lanes.values())
        room = _ROOM // max(1, len(lanes))
        pages = await asyncio.gather(*(self._outbox.read(lane.number, lane.position, room) for lane in lanes))
        ready = [
            (lane, page.entries)
            for lane, page in zip(lanes, pages, strict=True)
            if page.entries and self._clock() < lane.until - _MARGIN
        ]
        self.behind = bool(ready) and any(page.more for page in pages)
        pieces = list[bytes]()
        if ready:
            pieces = await self._keep(item for lane, entries in ready for item in self._decoded(lane.number, entries))
        for lane, entries in ready:
            lane.position = entries[-1].id  # whether or not it can be noted now: it is not written again
        new = [lane for lane in lanes if lane.noted != lane.position]
        await asyncio.gather(self._show(pieces), *(self._note(lane) for lane in new))
        return sum(len(entry.events) for _, entries in ready for entry in entries)

    async def _keep_order(self) -> None:
        """Leases, and now and then what is done slowly."""
        await self._keep_leases()
        now = self._clock()
        if now >= self._next_slow:
            self._next_slow = now + _SLOW_TICK
            await self._look_around()

    async def _keep(self, events: Iterable[Item]) -> list[bytes]:
        """Durable on return; what of the log `_show` is to show."""
        return await self._on_thread(self._sink.write, events)

    async def _show(self, pieces: Sequence[bytes]) -> None:
        if not pieces:
            return
        try:
            # Asked after the events were read: who watched before they were appended gets every one of them.
            if await self._tail.watched():
                await self._tail.feed([line for piece in pieces for line in piece.splitlines()])
        except StoreError as error:
            _log.log(severity(error), "watchers missed events: %s", error)

    async def _note(self, lane: _Lane) -> None:
        position = lane.position
        if await self._outbox.done(lane.number, self._name, position):
            lane.noted = position
        else:
            self._lose(lane)

    async def _on_thread(self, call: Callable[..., _T], *args: object) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *args)

    # Lanes

    async def _keep_leases(self) -> None:
        now = self._clock()
        for lane in list(self._lanes.values()):
            if now - lane.renewed >= _RENEW:
                began = self._clock()
                if await self._outbox.lease(lane.number, self._name, _LEASE):
                    lane.renewed, lane.until = began, began + _LEASE
                else:
                    self._lose(lane)
        if now >= self._next_take and len(self._lanes) < self._outbox.lanes:
            # Who has many lanes is slower to take another, so that journals started together share them.
            self._next_take = now + _SLOW_TICK
            if await self._take_one():
                self._next_take = now + 0.05 * len(self._lanes)

    async def _take_one(self) -> bool:
        for _ in range(self._outbox.lanes):
            number = self._candidate
            self._candidate = (number + 1) % self._outbox.lanes
            if number in self._lanes:
                continue
            began = self._clock()
            if await self._outbox.lease(number, self._name, _LEASE):
                self._lanes[number] = _Lane(number, await self._outbox.position(number), began)
                return True
        return False

    def _lose(self, lane: _Lane) -> None:
        if self._lanes.pop(lane.number, None) is not None:
            _log.warning("lane %d has another journal now", lane.number)

    # Slowly

    async def _look_around(self) -> None:
        await self._keep_rule_changes()
        if self._settings.when_behind == "drop":
            for lane in list(self._lanes.values()):
                await self._drop_backlog(lane)

    async def _keep_rule_changes(self) -> None:
        position = await self._outbox.changes_position(self._node)
        changes = await self._outbox.changes(position, _MOST_CHANGES)
        if changes:
            await self._show(await self._keep([_rule_event(change) for change in changes]))
            await self._outbox.changes_done(self._node, changes[-1].change.head.generation)

    async def _drop_backlog(self, lane: _Lane) -> None:
        """The gap is written before it is made: a crash between the two announces one that is not there yet."""
        backlog, keep = await self._outbox.backlog(lane.number), self._settings.backlog_soft
        if backlog <= self._settings.backlog_hard or self._clock() >= lane.until - _MARGIN:
            return
        reason = (
            f"lane {lane.number} was {backlog} entries behind: the oldest {backlog - keep} after {lane.position} are "
            'dropped unread (journal.when_behind = "drop")'
        )
        _log.error("%s", reason)
        gap = Event(EventType.GAP, wall_ms(), reason=reason)
        await self._show(await self._keep([(f"gap.{lane.number}.{lane.position}", gap)]))
        self.dropped += await self._outbox.drop(lane.number, self._name, keep)

    # Events

    def _decoded(self, lane: int, entries: Sequence[Entry]) -> Iterator[Item]:
        """One after the other, so that only lines stand in memory: all events of a round would ask the kernel for pages
        each time."""
        decode = _decoder.decode
        for entry_id, encoded in entries:
            step = f"{lane}.{entry_id}."
            for index, raw in enumerate(encoded):
                try:
                    event = decode(raw)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    self.undecodable += 1
                    event = _unreadable(entry_id, raw, str(error))
                yield f"{step}{index}", event


def _unreadable(entry_id: str, raw: bytes, why: str) -> Event:
    """Nothing is dropped silently: the line shows that there was an event, and its bytes."""
    shown = raw[:512].hex()
    return Event(
        EventType.GAP,
        int(entry_id.partition("-")[0]),
        reason=f"an event of {len(raw)} bytes cannot be decoded: {why}",
        properties={"raw": shown},
    )


def _rule_event(change: RuleChange) -> Item:
    head, op, rule = change.change
    event = Event(
        EventType.RULE,
        change.at,
        code=rule.code,
        enhanced=rule.extended,
        text=rule.description,
        pool=rule.selectors.pool or "",
        mta=rule.selectors.mta or "",
        domain=rule.selectors.domain or "",
        mx=rule.selectors.mx or "",
        remote_ip=rule.selectors.ip or "",
        tags=(rule.selectors.tag,) if rule.selectors.tag is not None else rule.selectors.tags_all or (),
        reason=_in_words(op.value, rule, change),
        properties={
            "rule": rule.id,
            "op": op.value,
            "generation": str(head.generation),
            "by": change.by,
            **_terms(rule),
        },
    )
    return f"rules.{head.generation}", event


def _terms(rule: Rule) -> dict[str, str]:
    """What no key of an event is there for; only what is not as usual."""
    chosen = rule.selectors
    found = {
        "tags_all": " ".join(chosen.tags_all or ()) if chosen.tag is not None else "",
        "except_tags": " ".join(chosen.except_tags or ()),
        "enabled": "" if rule.enabled else "false",
        "expires_at": format_time(rule.expires_at) if rule.expires_at else "",
    }
    return {name: value for name, value in found.items() if value}


def _in_words(op: str, rule: Rule, change: RuleChange) -> str:
    said = f"{op} by {change.by}" if change.by else op
    if change.unreadable:
        return f"{said}; the rule was made by a newer release, and nothing else of it can be read: {change.unreadable}"
    return f"{said}: {rule.reason}" if rule.reason else said
