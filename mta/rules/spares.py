"""Spares: what forced errors intercepted is kept for a while so that it can be undone, and let go in time."""

import asyncio
import logging
from typing import Final

from mta.model.errors import StoreError, severity
from mta.ports.rules import SweepStore

log = logging.getLogger(__name__)

WATERMARK: Final = 0.8  # of the store's memory, above which the oldest is let go early: mail that lives comes first
_BATCH: Final = 100
_PAUSE: Final = 0.004  # after each batch, so that other mail keeps its pace
_TICK: Final = 1.0
_NOTHING_TICK: Final = 5.0  # where nothing is kept
_BATCHES_A_LOOK: Final = 50  # between two looks at the memory


class Spares:
    """Drops what has had its time. Any number of processes may."""

    def __init__(self, store: SweepStore) -> None:
        self._store = store
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        while not self._stopping.is_set():
            tick = _TICK
            try:
                tick = _TICK if await self.drop() else _NOTHING_TICK
            except StoreError as error:
                log.log(severity(error), "what is kept for an undo waits to be let go: %s", error)
            try:
                async with asyncio.timeout(tick):
                    await self._stopping.wait()
            except TimeoutError:
                pass

    async def drop(self) -> bool:
        """Let go of all that has had its time, and while memory is short of the oldest rules' first. Whether there was
        anything."""
        found = [(rule, lane) for lane in range(self._store.lanes) for rule in await self._store.spared(lane)]
        for rule, lane in sorted(found):  # ids of rules sort by the time of their creation
            while await self._drop(lane, rule, early=False):
                pass
        for rule, lane in sorted(found):
            while not self._stopping.is_set() and await self._store.memory_share() > WATERMARK:
                if not await self._drop_early(lane, rule):
                    break
        return bool(found)

    async def _drop_early(self, lane: int, rule: str) -> bool:
        """False: the rule has nothing left there."""
        for _ in range(_BATCHES_A_LOOK):
            if not await self._drop(lane, rule, early=True):
                return False
        return True

    async def _drop(self, lane: int, rule: str, early: bool) -> bool:
        """One batch; whether there may be more."""
        if self._stopping.is_set() or await self._store.drop_spared(lane, rule, _BATCH, early) < _BATCH:
            return False
        await asyncio.sleep(_PAUSE)
        return True
