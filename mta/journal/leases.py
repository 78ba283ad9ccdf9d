"""The leases of a journal: the lanes that are its own now, and how far it has read each of them."""

import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from mta.model.entries import order_of
from mta.model.errors import StoreError
from mta.ports.journal import RULES_LANE, Outbox, source_of

LEASE, RENEW = 15.0, 5.0  # seconds
TAKE_AGAIN = 1.0  # seconds between two tries to take another lane
_MARGIN = 1.0  # seconds before the end of a lease in which nothing is begun

_log = logging.getLogger(__name__)


class HeldLane:
    """A lane that this journal has leased."""

    __slots__ = ("noted", "number", "position", "renewed", "until")

    def __init__(self, number: int, position: str, noted: str, began: float) -> None:
        self.number = number
        self.position = position  # the last entry that is in the spool
        self.noted = noted  # the position that the outbox knows
        self.renewed = began
        self.until = began + LEASE

    @property
    def is_ahead(self) -> bool:
        """More is in the spool than the outbox knows. Less may be only in the lane of the rule table: what another
        journal counted, and this one has still to copy."""
        return order_of(self.position) > order_of(self.noted)


class Leases:
    """Takes free lanes one by one and renews its own; calls raise StoreError."""

    def __init__(
        self,
        outbox: Outbox,
        name: str,
        last: Callable[[int], str],
        rules_from: Callable[[], Awaitable[str]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`name` is this journal's, unique among all processes. `last` tells a lane's newest entry in the spool;
        `rules_from` behind which entry this node reads RULES_LANE."""
        self._outbox = outbox
        self._name = name
        self._last = last
        self._rules_from = rules_from
        self._every = (*range(outbox.lanes), RULES_LANE)
        self._clock = clock
        self._lanes: dict[int, HeldLane] = {}
        self._candidate = 0
        self._next_take = 0.0

    @property
    def lanes(self) -> list[HeldLane]:
        return list(self._lanes.values())

    def next_look(self) -> float:
        """When another lane may be taken, by the clock; infinite where all are held."""
        return float("inf") if len(self._lanes) == len(self._every) else self._next_take

    def has(self, number: int) -> bool:
        return number in self._lanes

    def may_read(self, lane: HeldLane) -> bool:
        """The lease lasts long enough to begin something."""
        return self._clock() < lane.until - _MARGIN

    async def keep(self) -> None:
        """Renew the leases that are due, and take one more lane where one is free."""
        now = self._clock()
        for lane in self.lanes:
            if now - lane.renewed >= RENEW:
                began = self._clock()
                if await self._outbox.lease(lane.number, self._name, LEASE):
                    lane.renewed, lane.until = began, began + LEASE
                else:
                    self.lose(lane)
        if now >= self.next_look():
            # A journal that has many lanes is slower to take another, so that journals started together share them.
            self._next_take = now + TAKE_AGAIN
            if await self._take_one():
                self._next_take = now + 0.05 * len(self._lanes)

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
            _log.warning("lane %s has another journal now", source_of(lane.number))

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

    async def _take_one(self) -> bool:
        for _ in self._every:
            number = self._every[self._candidate]
            self._candidate = (self._candidate + 1) % len(self._every)
            if number in self._lanes:
                continue
            began = self._clock()
            if await self._outbox.lease(number, self._name, LEASE):
                noted = await self._outbox.position(number)
                self._lanes[number] = HeldLane(number, await self._spooled(number, noted), noted, began)
                return True
        return False

    async def _spooled(self, number: int, noted: str) -> str:
        """The last entry of the lane that is in a spool. A journal that was killed before it could note its position
        left more in this spool; those entries still stand in the stream, unless the store lost what it had."""
        if number == RULES_LANE:
            return await self._rules_from()
        last = self._last(number)
        if order_of(last) > order_of(noted) and await self._outbox.has(number, last):
            return last
        return noted
