"""The leases of a journal: the lanes that are its own now, and how far it has read each of them."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from mta.model.entries import order_of
from mta.model.errors import StoreError
from mta.ports.journal import RULES_LANE, Outbox, StreamEnd, name_of, source_of

LEASE, RENEW = 15.0, 5.0  # seconds
TAKE_AGAIN = 1.0  # seconds between two tries to take another lane
_MARGIN = 1.0  # seconds before the end of a lease in which nothing is begun

_log = logging.getLogger(__name__)


class HeldLane:
    """A lane that this journal has leased."""

    __slots__ = ("added", "born", "doubtful", "epoch", "noted", "number", "position", "renewed", "until")

    def __init__(self, number: int, position: str, noted: str, began: float, end: StreamEnd) -> None:
        self.number = number
        self.epoch = end.epoch  # of the lane's stream
        self.born = end.born
        self.added = -1  # entries up to `position` that the stream ever had, -1 = not known yet
        self.doubtful = True  # whether the stream still has what was read is to be asked
        self.position = position  # the last entry that is in the spool
        self.noted = noted  # the position that the outbox knows
        self.renewed = began
        self.until = began + LEASE

    @property
    def source(self) -> str:
        """The name of its entries in the spool, and the beginning of their events' ids."""
        return source_of(self.number, self.epoch)

    def moved(self, position: str, entries: int) -> None:
        """`entries` more are in the spool, the last of which is `position`."""
        self.position = position
        if self.added >= 0:
            self.added += entries


class Leases:
    """Takes free lanes, a quarter of all at a time, and renews its own; calls raise StoreError."""

    def __init__(
        self,
        outbox: Outbox,
        name: str,
        last: Callable[[str], str],
        catch_up: Callable[[str, StreamEnd], Awaitable[None]],
        must_wait: Callable[[], Awaitable[bool]] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`name` is this journal's, unique among all processes. `last` tells a source's newest entry in the spool.
        `catch_up` copies what others have counted of RULES_LANE up to an entry. `must_wait` tells whether the lanes
        are left to another journal now."""
        self._must_wait = must_wait
        self._outbox = outbox
        self._name = name
        self._last = last
        self._catch_up = catch_up
        self._every = (*range(outbox.lanes), RULES_LANE)
        self._clock = clock
        self._lanes: dict[int, HeldLane] = {}
        self._quarter = max(1, outbox.lanes // 4)
        self._candidate = 0
        self._next_take = 0.0

    @property
    def lanes(self) -> list[HeldLane]:
        return list(self._lanes.values())

    def next_look(self) -> float:
        """When another lane may be taken, by the clock; infinite where all are held."""
        return float("inf") if len(self._lanes) == len(self._every) else self._next_take

    def held(self, number: int) -> HeldLane | None:
        return self._lanes.get(number)

    def may_read(self, lane: HeldLane) -> bool:
        """The lease lasts long enough to begin something."""
        return self._clock() < lane.until - _MARGIN

    async def keep(self) -> None:
        """Renew the leases that are due, and take more lanes where some are free."""
        if self._must_wait is not None and await self._must_wait():
            if self._lanes:
                _log.info("the lanes are left to the journal of the node that holds the history")
                await self.release()
            self._next_take = self._clock() + TAKE_AGAIN
            return
        now = self._clock()
        await asyncio.gather(*(self._renew(lane) for lane in self.lanes if now - lane.renewed >= RENEW))
        if now >= self.next_look():
            # A journal that has many lanes is slower to take more, so that journals started together share them.
            self._next_take = now + TAKE_AGAIN
            if await self._take_some():
                self._next_take = now + 0.05 * -(-len(self._lanes) // self._quarter)

    def doubt(self) -> None:
        """The store was away: it may be another server that answers now."""
        for lane in self.lanes:
            lane.doubtful = True

    async def note(self, lane: HeldLane) -> None:
        """Tell the outbox how far the lane is in the spool; it forgets what lies before."""
        position = lane.position
        if await self._outbox.done(lane.number, self._name, position):
            lane.noted = position
        else:
            self.lose(lane)

    async def drop(self, lane: HeldLane, keep: int) -> int:
        """Trim the lane's stream to the newest `keep` entries; how many were dropped."""
        return await self._outbox.drop(lane.number, self._name, keep)

    def lose(self, lane: HeldLane) -> None:
        if self._lanes.pop(lane.number, None) is not None:
            _log.warning("lane %s has another journal now", name_of(lane.number))

    async def release(self) -> None:
        """Give all lanes to others. Raises nothing: after the first error the leases run out by themselves, because
        each further try would wait as long as the first."""
        with suppress(StoreError):
            for lane in self.lanes:
                await self._outbox.release(lane.number, self._name)
        self._lanes.clear()

    def forget(self) -> None:
        """Ask the store for nothing more: the supervisor frees the lanes."""
        self._lanes.clear()

    async def _renew(self, lane: HeldLane) -> None:
        began = self._clock()
        if await self._outbox.lease(lane.number, self._name, LEASE):
            lane.renewed, lane.until, lane.doubtful = began, began + LEASE, True
        else:
            self.lose(lane)

    async def _take_some(self) -> bool:
        """Ask for lanes in turn until some are granted or all were asked for; whether any was."""
        every, at = self._every, self._candidate
        left = [number for number in (*every[at:], *every[:at]) if number not in self._lanes]
        while left:
            asked, left = left[: self._quarter], left[self._quarter :]
            self._candidate = (every.index(asked[-1]) + 1) % len(every)
            if any(await asyncio.gather(*(self._take(number) for number in asked))):
                return True
        return False

    async def _take(self, number: int) -> bool:
        began = self._clock()
        if not await self._outbox.lease(number, self._name, LEASE):
            return False
        noted = await self._outbox.position(number)
        end = await self._outbox.end(number, noted)
        if number == RULES_LANE:
            await self._catch_up(noted, end)
        spooled = self._last(source_of(number, end.epoch))
        position = noted
        if order_of(spooled) > order_of(noted) and await self._stands(number, spooled, end.last):
            position = spooled
        self._lanes[number] = HeldLane(number, position, noted, began, end)
        return True

    async def _stands(self, number: int, spooled: str, last: str) -> bool:
        """Whether reading goes on behind the newest entry in this spool. A journal that was killed before it could note
        its position left more there; those entries still stand in the stream, or the stream ends before them."""
        return order_of(spooled) > order_of(last) or await self._outbox.has(number, spooled)
