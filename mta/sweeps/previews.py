"""The count of previews: a walk over everything that waits, which moves nothing."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import msgspec

from mta.model.errors import StoreError, severity
from mta.model.previews import Preview, PreviewState
from mta.ports.previews import PreviewStore
from mta.ports.rules import Rules
from mta.ports.sweeps import SweepStore, WaitingDelivery
from mta.sweeps.pace import Pace
from mta.sweeps.preview_tally import PreviewTally
from mta.sweeps.sites_of_mail import NO_SITES, SitesOfMail
from mta.timing.alarm import Alarm
from mta.timing.clock import boottime, wall_ms

log = logging.getLogger(__name__)

_LEASE: Final = 10.0  # seconds after which another process takes the count of a dead one over
_TICK: Final = 1.0
_RETRY: Final = 0.5
_SAVE_EVERY: Final = 0.25
_PAGE: Final = 200  # deliveries

_Scan = Callable[[int, int], Awaitable[tuple[int, list[WaitingDelivery]]]]


class _Count:
    """One preview, as this process counts it."""

    def __init__(self, preview: Preview, tally: PreviewTally, now: int) -> None:
        self.preview = preview
        self.tally = tally
        self.began_at = preview.began_at or now


class PreviewCounter:
    """Counts for all nodes; one process owns a preview at a time. One walk serves all previews that wait when it
    begins. A process that takes a preview over begins its walk anew."""

    def __init__(
        self,
        previews: PreviewStore,
        store: SweepStore,
        rules: Rules,
        pace: Pace,
        owner: Callable[[], str],
        sites: SitesOfMail = NO_SITES,
        now: Callable[[], float] = boottime,
        wall: Callable[[], int] = wall_ms,
    ) -> None:
        """`owner` names this process; `rules` is its guard, made for no node."""
        self._previews = previews
        self._store = store
        self._rules = rules
        self._pace = pace
        self._owner = owner
        self._sites = sites
        self._now = now
        self._wall = wall
        self._counts: list[_Count] = []
        self._places = self._walked = 0  # queues, pauses and sessions, as far as known
        self._saved_at = 0.0
        self._stopping = False
        self._alarm = Alarm()
        previews.on_asked(self._alarm.ring)

    def stop(self) -> None:
        """`run` returns soon; another process counts anew."""
        self._stopping = True
        self._alarm.ring()

    async def run(self) -> None:
        while not self._stopping:
            try:
                if await self._take():
                    await self._walk()
                    continue
            except StoreError as error:
                log.log(severity(error), "a preview waits: %s", error)
                await self._alarm.sleep(_RETRY)
            await self._alarm.sleep(_TICK)

    async def _take(self) -> bool:
        """Own every preview that waits and has no living owner; whether there is any."""
        self._counts = []
        for preview_id in await self._previews.waiting():
            preview = await self._previews.take(preview_id, self._owner(), _LEASE)
            if preview is not None:
                self._counts.append(_Count(preview, PreviewTally(preview.rule, self._rules.table), self._wall()))
        return bool(self._counts)

    async def _walk(self) -> None:
        self._places = self._walked = 0
        pools = [pool for pool in await self._store.pools() if self._may_match(pool)]
        lanes = [self._lane(lane, pools) for lane in range(self._store.lanes)]
        failed = [answer for answer in await asyncio.gather(*lanes, return_exceptions=True) if answer is not None]
        if failed:
            raise failed[0]
        if not self._stopping:
            await self._save(PreviewState.DONE)

    def _may_match(self, pool: str, domain: str | None = None) -> bool:
        return any(count.tally.may_match(pool, domain) for count in self._counts)

    async def _lane(self, lane: int, pools: Sequence[str]) -> None:
        """Claimed deliveries first: one that returns to its queue meanwhile is counted twice rather than not at all."""
        store = self._store
        sessions = await store.holders(lane)
        self._places += len(sessions)
        for session in sessions:
            await self._place(lane, "queued", partial(store.scan_claimed, lane, session))
        for pool in pools:
            queues = [one for one in await store.queues(lane, pool) if self._may_match(pool, one.queue.domain)]
            self._places += len(queues)
            for queue, share in queues:
                await self._place(lane, "queued", partial(store.scan, lane, queue, share=share))
        pauses = await store.pauses(lane)
        self._places += len(pauses)
        for pause in pauses:
            await self._place(lane, "held", partial(store.scan_held, lane, pause))

    async def _place(self, lane: int, state: str, scan: _Scan) -> None:
        """Count one queue, or the deliveries of one session or one pause. A piece may show a delivery again, which is
        counted again: only a queue that is rehashed during the walk does so."""
        cursor = 0
        while not self._stopping and self._counts:
            await self._pace.wait(lane, self._progress)
            async with self._pace.step():
                cursor, page = await scan(cursor, _PAGE)
            self._pace.spend(len(page))
            for count in self._counts:
                await self._sites.find(count.tally.table, page)
            now = self._wall()
            for count in self._counts:
                count.tally.count(page, state, now)
            await self._progress()
            if not cursor:
                break
        self._walked += 1

    async def _progress(self) -> None:
        now = self._now()
        if now - self._saved_at >= _SAVE_EVERY:
            self._saved_at = now
            await self._save(PreviewState.COUNTING)

    async def _save(self, state: PreviewState) -> None:
        """A preview whose time is over, or that another process has taken, is counted no further."""
        done = state is PreviewState.DONE
        share = 1.0 if done else min(0.99, self._walked / self._places if self._places else 0.0)
        for count in list(self._counts):
            tally, known = count.tally.result(), count.preview
            preview = msgspec.structs.replace(
                known,
                state=state,
                tally=tally,
                share=share,
                began_at=count.began_at,
                counted=tally.matched if done and known.counted is None else known.counted,
                done_at=self._wall() if done else 0,
            )
            if not await self._previews.save(preview, self._owner(), _LEASE):
                self._counts = [other for other in self._counts if other is not count]
