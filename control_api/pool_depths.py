"""The depth of each pool as metrics tell it: measured beside the requests, and not again for a while."""

import asyncio
import functools
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final, NamedTuple

from mta.model.errors import StoreError
from mta.ports.books import PoolDepth

MOST: Final = 20  # pools that have a name in metrics
OTHERS: Final = "(others)"  # the name of no pool
PERIOD: Final = 10.0  # seconds between the end of a measurement and the next
FIRST: Final = 1.0  # seconds that a request waits for the first one

_log = logging.getLogger(__name__)


class Measured(NamedTuple):
    """One measurement."""

    depths: Mapping[str, PoolDepth]  # by pool
    age: float  # seconds since it began


class MeasuredDepths:
    """The last measurement. It is made while somebody asks; the more time it takes, the longer it is used."""

    def __init__(
        self, read: Callable[[], Awaitable[Mapping[str, PoolDepth]]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`read` raises StoreError."""
        self._read = read
        self._clock = clock
        self._depths: Mapping[str, PoolDepth] | None = None
        self._began = 0.0
        self._due = 0.0
        self._task: asyncio.Task[None] | None = None

    async def latest(self) -> Measured | None:
        """None: there is none yet."""
        if self._task is None and self._clock() >= self._due:
            self._task = asyncio.get_running_loop().create_task(self._measure(), name="depths of pools")
        if self._depths is None and self._task is not None:
            await asyncio.wait({self._task}, timeout=FIRST)
        return None if self._depths is None else Measured(self._depths, max(0.0, self._clock() - self._began))

    async def _measure(self) -> None:
        began = self._clock()
        try:
            self._depths, self._began = await self._read(), began
        except StoreError as error:
            _log.debug("the depth of the pools could not be measured: %s", error)
        finally:
            end = self._clock()
            self._due = end + max(PERIOD, end - began)
            self._task = None

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


def named(depths: Mapping[str, PoolDepth], configured: Collection[str]) -> dict[str, PoolDepth]:
    """The depths of `MOST` pools by name, those of `configured` first, then the deepest; and the sum of the rest."""

    def rank(pool: str) -> tuple[bool, int, str]:
        return pool not in configured, -sum(depths[pool][:4]), pool

    order = sorted(depths, key=rank)
    found = {pool: depths[pool] for pool in order[:MOST]}
    rest = [depths[pool] for pool in order[MOST:]]
    if rest:
        found[OTHERS] = functools.reduce(PoolDepth.plus, rest)
    return found
