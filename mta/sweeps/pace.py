"""The pace of work on waiting mail: a rate, and precedence for the journal and for live traffic."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from mta.ports.store_load import StoreLoad
from mta.timing.clock import boottime

_ASK_EVERY: Final = 0.25
_FRESH: Final = 2.0  # seconds after which the last look at other mail counts no more
_BACKLOG_PAUSE: Final = 0.05
_LIVE: Final = 100.0  # deliveries accepted and delivered a second, from which on other mail goes first
# How much the latest look at that rate counts: single ones go up and down, and mail that was held up for a moment comes
# faster behind it, which is no rate that it could keep.
_LATEST: Final = 0.15
_KEEPS: Final = 0.9  # of its rate, at least
_FORGOTTEN: Final = 0.96  # of that rate a second later: it may have become slower by itself


class Pace:
    """Shared by the sweeper and the releaser of this process."""

    def __init__(self, load: StoreLoad, rate: float, backlog_soft: int, now: Callable[[], float] = boottime) -> None:
        """`rate`: deliveries looked at a second, 0 = as fast as it goes; past `backlog_soft` entries a lane waits."""
        self._load = load
        self._rate = rate
        self._backlog_soft = backlog_soft
        self._now = now
        self._next_at = 0.0  # the rate's next free instant
        self._asked: dict[int, float] = {}  # by lane
        self._traffic = (0.0, 0)  # when it was asked for, and the answer
        self._others = self._usual = 0.0  # deliveries of other mail a second: of late, and at its best
        self._suffers = True
        self._under_way = 0
        self._answered = asyncio.Event()  # all calls that are under way now
        self.stopping = False

    async def wait(self, lane: int, meanwhile: Callable[[], Awaitable[None]]) -> None:
        """Return when more may be done in the lane; `meanwhile` is called now and then while the journal is behind."""
        now = self._now()
        if now - self._asked.get(lane, 0.0) >= _ASK_EVERY:
            self._asked[lane] = now
            await self._look_at_traffic(now)
            while await self._load.backlog(lane) > self._backlog_soft and not self.stopping:
                await asyncio.sleep(_BACKLOG_PAUSE)
                await meanwhile()
        self._next_at = max(self._next_at, now - 0.05)
        if self._next_at - now > 0.02:
            await asyncio.sleep(self._next_at - now)

    @contextlib.asynccontextmanager
    async def step(self) -> AsyncIterator[None]:
        """Around each call to the store: any number is under way, but one alone while other mail loses of its rate."""
        while self._suffers and self._under_way:
            await self._answered.wait()
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._answered.set()
                self._answered = asyncio.Event()

    async def _look_at_traffic(self, now: float) -> None:
        asked_at, before = self._traffic
        passed = now - asked_at
        if passed < _ASK_EVERY:
            return
        traffic = await self._load.traffic()
        if self._traffic[0] != asked_at:
            return  # another lane has looked meanwhile
        self._traffic = now, traffic
        if passed > _FRESH:
            self._suffers = True  # until more is known
            self._others = self._usual = 0.0
            return
        rate = (traffic - before) / passed
        self._others += (rate - self._others) * (_LATEST if self._others else 1.0)
        self._usual = max(self._others, self._usual * _FORGOTTEN**passed)
        self._suffers = rate >= _LIVE and self._others < _KEEPS * self._usual

    def spend(self, deliveries: int) -> None:
        """Count deliveries that were looked at against the rate."""
        self._next_at += deliveries / self._rate if self._rate else 0.0
