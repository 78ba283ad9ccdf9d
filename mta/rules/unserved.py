"""Mail in pools that no worker serves: noticed, said, and ended when its time is over although nobody attempts it."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from mta.model.errors import StoreError
from mta.model.mail import QueueKey
from mta.model.rules import SessionState
from mta.ports.rules import RuleStore, SweepStore
from mta.ports.unserved import Expiry
from mta.timing.clock import wall_ms

log = logging.getLogger(__name__)

SERVES: Final = "serves:"  # what a worker tells of each pool that it serves begins so
GRACE_MS: Final = 5000  # a pool that is used for the first time is served within a few seconds
_LOOK_EVERY: Final = 5.0  # seconds
_SHARE: Final = 20  # a look that takes long is followed by a rest of so many times that
_PAGE: Final = 100
_PAUSE: Final = 0.005  # between pages, so that other mail keeps its pace


def unserved(pools: Iterable[str], sessions: Mapping[str, SessionState]) -> list[str]:
    """The pools that no living worker serves; none where no worker lives at all: then nothing is delivered anyway."""
    workers = [state for state in sessions.values() if not state.dead and "delivery" in state.roles]
    if not workers:
        return []
    served = {name[len(SERVES) :] for state in workers for name in state.metrics if name.startswith(SERVES)}
    return sorted(set(pools).difference(served))


def why_it_waits(pool: str) -> str:
    """For a person."""
    if pool.startswith("@"):
        return f"no node holds the IP address {pool[1:]}: start one that does, or let it expire"
    return f"no node serves pool {pool}: give it to a node in [pools], with an IP address of that node"


class UnservedWatch:
    """Looks at all such pools. Any number of processes may: a step ends what is still where it was seen."""

    def __init__(self, store: SweepStore, rules: RuleStore, expiry: Expiry, wall: Callable[[], int] = wall_ms) -> None:
        self._store = store
        self._rules = rules
        self._expiry = expiry
        self._wall = wall
        self._said: set[str] = set()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            began = loop.time()
            try:
                await self.look()
            except StoreError as error:
                log.debug("pools that nobody serves are not looked at now: %s", error)
            rest = max(_LOOK_EVERY, (loop.time() - began) * _SHARE)
            try:
                async with asyncio.timeout(rest):
                    await self._stopping.wait()
            except TimeoutError:
                pass

    async def look(self) -> None:
        """Say once of each pool that mail waits there for nobody, and end what is over."""
        pools = unserved(await self._store.pools(), await self._rules.sessions())
        waiting = set()
        for pool in pools:
            oldest = await self._oldest(pool)
            if oldest is None:
                continue
            if oldest <= self._wall() - GRACE_MS:
                waiting.add(pool)
        for pool in sorted(waiting - self._said):
            log.warning("mail waits in pool %s: %s", pool, why_it_waits(pool))
        for pool in sorted(self._said - waiting):
            log.info("no mail waits in pool %s for a node any more", pool)
        self._said = waiting

    async def _oldest(self, pool: str) -> int | None:
        """The earliest due time of its mail, Unix ms; what has expired is ended on the way."""
        oldest: int | None = None
        for lane in range(self._store.lanes):
            for queue in await self._store.queues(lane, pool):
                found = await self._walk(lane, queue)
                if found is not None:
                    oldest = found if oldest is None else min(oldest, found)
        return oldest

    async def _walk(self, lane: int, queue: QueueKey) -> int | None:
        cursor, oldest = 0, None
        while not self._stopping.is_set():
            cursor, page = await self._store.scan(lane, queue, cursor, _PAGE)
            now = self._wall()
            over = [queued for queued in page if queued.record.expires_at <= now]
            if over:
                ended = await self._expiry.expire(lane, over, why_it_waits(queue.pool))
                log.info("%d deliveries of pool %s have expired: nobody serves it", ended, queue.pool)
            ages = [queued.due_at for queued in page if queued.record.expires_at > now]
            oldest = min([*ages, *([] if oldest is None else [oldest])], default=None)
            if not cursor:
                break
            await asyncio.sleep(_PAUSE)
        return oldest
