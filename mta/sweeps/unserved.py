"""The watch over pools that no worker serves: it logs that mail waits there, and ends mail that expires there."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from mta.model.errors import StoreError
from mta.model.events import EventType
from mta.model.mail import QueueShare
from mta.model.outcomes import EXPIRED, Class
from mta.policy.served_pools import GRACE_MS, unserved, why_it_waits
from mta.policy.waiting_end import encoded_end
from mta.ports.messages import EndAnswer, Place, PlannedEnd, WaitingEnds
from mta.ports.sessions import SessionStore
from mta.ports.sweeps import SweepStore, WaitingDelivery
from mta.timing.alarm import Alarm
from mta.timing.clock import wall_ms

log = logging.getLogger(__name__)

_LOOK_EVERY: Final = 5.0  # seconds
_SHARE: Final = 20  # work is followed by a rest of so many times that: other mail and sweeps keep their pace
_PAGE: Final = 100
_PAUSE: Final = 0.005  # seconds of that behind a page, at least
_LONGEST: Final = 0.2  # and at most: a page that waited for the store was no work


class UnservedWatch:
    """Looks at all such pools. Any number of processes may: a step ends mail that is still where it was seen."""

    def __init__(
        self, store: SweepStore, sessions: SessionStore, ends: WaitingEnds, node: str, wall: Callable[[], int] = wall_ms
    ) -> None:
        """`node` is named in the events."""
        self._store = store
        self._sessions = sessions
        self._ends = ends
        self._node = node
        self._wall = wall
        self._said: set[str] = set()
        self._stopping = False
        self._rested = 0.0  # seconds of this look
        self._alarm = Alarm()

    def stop(self) -> None:
        self._stopping = True
        self._alarm.ring()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping:
            began, self._rested = loop.time(), 0.0
            try:
                await self.look()
            except StoreError as error:
                log.debug("the queues of pools that no node serves are not checked now: %s", error)
            if not self._stopping:
                worked = loop.time() - began - self._rested
                await self._alarm.sleep(max(_LOOK_EVERY, worked * _SHARE - self._rested))

    async def look(self) -> None:
        """Log once for each pool that mail waits there for nobody, and end mail that has expired."""
        pools = unserved(await self._store.pools(), await self._sessions.sessions())
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
        """The earliest due time of its mail, Unix ms; mail that has expired is ended on the way."""
        oldest: int | None = None
        for lane in range(self._store.lanes):
            for of in await self._store.queues(lane, pool):
                found = await self._walk(lane, of)
                if found is not None:
                    oldest = found if oldest is None else min(oldest, found)
        return oldest

    async def _walk(self, lane: int, of: QueueShare) -> int | None:
        cursor, oldest, queue = 0, None, of.queue
        loop = asyncio.get_running_loop()
        while not self._stopping:
            began = loop.time()
            cursor, page = await self._store.scan(lane, queue, cursor, _PAGE, of.share)
            now = self._wall()
            over = [queued for queued in page if queued.record.expires_at <= now]
            if over:
                ended = await self._expire(lane, over, now)
                log.info("%d deliveries of pool %s have expired: no node serves it", ended, queue.pool)
            ages = [queued.due_at for queued in page if queued.record.expires_at > now]
            oldest = min([*ages, *([] if oldest is None else [oldest])], default=None)
            if not cursor:
                break
            await self._rest(loop.time() - began)
        return oldest

    async def _rest(self, worked: float) -> None:
        """Behind a page that took so many seconds."""
        pause = min(max(_PAUSE, worked * _SHARE), _LONGEST)
        self._rested += pause
        await self._alarm.sleep(pause)

    async def _expire(self, lane: int, over: Sequence[WaitingDelivery], now: int) -> int:
        """How many were still in their queues."""
        ends = [self._end(waiting, now) for waiting in over]
        return (await self._ends.end(lane, Class.EXPIRED, now, ends)).count(EndAnswer.ENDED)

    def _end(self, waiting: WaitingDelivery, now: int) -> PlannedEnd:
        id_, queue, _, record, reclaims, raw, share = waiting
        uncertain = record.uncertain or reclaims > 0
        event, final = encoded_end(
            EventType.EXPIRATION,
            now,
            self._node,
            id_,
            queue,
            record,
            enhanced=EXPIRED,
            reason=why_it_waits(queue.pool),
            uncertain=uncertain,
        )
        return PlannedEnd(
            id_,
            Place.DUE,
            queue,
            raw,
            tags=record.counted_tags,
            event=event,
            final=final,
            uncertain=uncertain,
            left_rule=record.deferred_by,
            share=share,
        )
