"""How much mail each pool has, by state, and how old it is: read queue by queue, at a bounded rate."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from mta.model.shares import place_of
from mta.ports.books import PoolDepth
from mta.redis_store import keys
from mta.redis_store.link import Link
from mta.redis_store.queue_books import QueueBooks
from mta.timing.clock import wall_ms

_PAGE: Final = 100  # queues in one step
_SAMPLE: Final = 5  # deliveries at each end of a lane's queue among which the oldest is looked for
_IDS_AT_ONCE: Final = 5000
_REST: Final = 4.0  # it rests for so many times the seconds that a step took


class PoolDepths:
    """The part of ports.books.Books that sums the queues of a pool."""

    def __init__(self, link: Link, lanes: int, queues: QueueBooks, clock: Callable[[], float] = time.monotonic) -> None:
        self._link = link
        self._lanes = range(lanes)
        self._queues = queues
        self._clock = clock

    async def depths(self) -> dict[str, PoolDepth]:
        found: dict[str, PoolDepth] = {}
        for queue, counts in (await self._queues.claimed_and_held()).items():
            _add(found, queue.pool, PoolDepth(0, 0, counts.claimed, counts.held, counts.oldest))
        for lane in self._lanes:
            prefix = keys.lane_prefix(lane)
            for pool in await self._link.command("SMEMBERS", prefix + b"pools"):
                shares = await self._link.command("SMEMBERS", keys.shares_key(prefix, pool))
                for share in ("", *(name.decode() for name in shares)):
                    await self._read(prefix, place_of(pool.decode(), share).encode(), pool.decode(), found)
        return found

    async def _read(self, prefix: bytes, place: bytes, pool: str, found: dict[str, PoolDepth]) -> None:
        """All queues of one agenda. Queues that come and go meanwhile may be counted twice or not at all."""
        agenda, at = keys.agenda_key(prefix, place), 0
        while True:
            start = self._clock()
            domains = await self._link.command("ZRANGE", agenda, at, at + _PAGE - 1)
            if not domains:
                return
            step_keys = [prefix + b"lane", prefix + b"rec"]
            step_keys += [keys.due_key(prefix, place, domain) for domain in domains]
            rows = await self._link.call(b"queue_counts", step_keys, [wall_ms(), _SAMPLE, _IDS_AT_ONCE])
            for many, ready, _, oldest, _, _ in rows:
                _add(found, pool, PoolDepth(ready, many - ready, oldest=oldest))
            at += len(rows)
            await asyncio.sleep((self._clock() - start) * _REST)


def _add(found: dict[str, PoolDepth], pool: str, more: PoolDepth) -> None:
    found[pool] = found.get(pool, PoolDepth()).plus(more)
