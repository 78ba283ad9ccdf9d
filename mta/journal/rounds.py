"""One round of the journal: read all lanes, make their entries durable, hand them on, trim the lanes behind them."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from mta.journal.decoding import own_entry
from mta.journal.fan_out import FanOut
from mta.journal.leases import HeldLane, Leases
from mta.model.entries import link_entry, order_of
from mta.model.errors import StoreError, severity
from mta.ports.event_sinks import Item
from mta.ports.journal import RULES_LANE, Outbox, Page, Tail
from mta.ports.spool import Sourced, Spool
from mta.timing.clock import wall_ms

# Bytes of events a round, over all lanes: as lines they take several times that, and larger rounds are no faster.
_ROOM = 1024 * 1024
_SINKS = 0.1  # seconds for which the lanes wait to be trimmed until the sinks have an event, too

_P = ParamSpec("_P")
_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class Rounds:
    """Carries out rounds; files are written by a thread."""

    def __init__(self, outbox: Outbox, leases: Leases, spool: Spool, fan_out: FanOut, tail: Tail) -> None:
        self._outbox = outbox
        self._leases = leases
        self._spool = spool
        self._fan_out = fan_out
        self._tail = tail
        self._thread = ThreadPoolExecutor(1, "journal")
        self._full = False
        self.more = False  # the last round left something in the lanes

    async def once(self) -> int:
        """How many entries were made durable. Raises StoreError, OSError: nothing is lost."""
        if self._spool.is_full():
            await self.on_thread(self._fan_out.make_room)
        if self._is_full():
            self.more = False
            return 0
        lanes, began = self._leases.lanes, wall_ms()
        room = _ROOM // max(1, sum(lane.number != RULES_LANE for lane in lanes))
        pages = await asyncio.gather(*(self._outbox.read(lane.number, lane.position, room) for lane in lanes))
        ready = [
            (lane, page)
            for lane, page in zip(lanes, pages, strict=True)
            if page.entries and self._leases.may_read(lane)
        ]
        self.more = bool(ready) and any(page.more for page in pages)
        entries: list[Sourced] = []
        for lane, page in ready:
            if order_of(self._spool.last(lane.source)) != order_of(lane.position):
                entries.append((lane.source, link_entry(lane.position)))
            entries += [(lane.source, entry) for entry in page.entries]
        await self._pass_on(entries, ready)
        read = [lane for lane, page in zip(lanes, pages, strict=True) if not page.entries] + [
            lane for lane, page in ready if not page.more
        ]
        self._fan_out.note_known({lane.source: began for lane in read})
        return len(entries)

    async def write_own(self, events: Sequence[Item]) -> None:
        """Events of the journal's own; durable on return. Raises StoreError, OSError."""
        await self._pass_on([own_entry(*item) for item in events], ())

    async def copy(self, entries: Sequence[Sourced]) -> None:
        """Entries that another node's journal has counted and shown; durable on return. Raises OSError."""
        start = await self.on_thread(self._fan_out.append, entries)
        await self.on_thread(self._fan_out.hand_on, start, entries)

    async def on_thread(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: call(*args, **kwargs))

    async def close(self) -> None:
        await self.on_thread(self._fan_out.close)
        self._thread.shutdown()

    def _is_full(self) -> bool:
        full = self._spool.is_full()
        if full and not self._full:
            size = self._spool.size
            _log.error("the spool is full (journal.spool_max): it has %d bytes; events stay in the store", size)
        self._full = full
        return full

    async def _pass_on(self, entries: Sequence[Sourced], ready: Sequence[tuple[HeldLane, Page]]) -> None:
        handing: asyncio.Future[None] | None = None
        shown: list[Item] = []
        if entries:
            start = await self.on_thread(self._fan_out.append, entries)
            for lane, page in ready:
                # Whether or not it can be noted now: it is not read again.
                lane.moved(page.entries[-1].id, len(page.entries))
            # Asked after the events were read: a watcher who came before they were appended gets every one of them.
            watched = await self._is_watched()
            call = self.on_thread(self._fan_out.hand_on, start, entries, shown if watched else None)
            handing = asyncio.ensure_future(call)
            await asyncio.wait((handing,), timeout=_SINKS)
        try:
            new = [lane for lane in self._leases.lanes if lane.noted != lane.position and not lane.doubtful]
            await asyncio.gather(*(self._leases.note(lane) for lane in new))
        finally:
            if handing is not None:
                await handing
        await self._show(shown)

    async def _is_watched(self) -> bool:
        try:
            return await self._tail.watched()
        except StoreError as error:
            _log.log(severity(error), "watchers missed events: %s", error)
            return False

    async def _show(self, events: Sequence[Item]) -> None:
        if events:
            try:
                await self._tail.feed(events)
            except StoreError as error:
                _log.log(severity(error), "watchers missed events: %s", error)
