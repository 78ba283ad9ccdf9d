"""Undo copies: the copies of intercepted deliveries are dropped when their time is over, or memory is short."""

import asyncio
import logging
from typing import Final

from mta.model.errors import StoreError, severity
from mta.ports.store_load import StoreLoad
from mta.ports.undo import UndoCopyStore
from mta.timing.alarm import Alarm

log = logging.getLogger(__name__)

WATERMARK: Final = (
    0.8  # of the store's memory: above it the oldest copies are dropped early, since mail that lives comes first
)
_BATCH: Final = 100
_PAUSE: Final = 0.004  # after each batch, so that other mail keeps its pace
_TICK: Final = 1.0
_NOTHING_TICK: Final = 5.0  # where there are no copies
_BATCHES_A_LOOK: Final = 50  # between two looks at the memory


class UndoCopyCleaner:
    """Drops copies that nobody can use any more. Any number of processes may."""

    def __init__(self, store: UndoCopyStore, load: StoreLoad) -> None:
        self._store = store
        self._load = load
        self._stopping = False
        self._alarm = Alarm()

    def stop(self) -> None:
        self._stopping = True
        self._alarm.ring()

    async def run(self) -> None:
        while not self._stopping:
            tick = _TICK
            try:
                tick = _TICK if await self.drop() else _NOTHING_TICK
            except StoreError as error:
                log.log(severity(error), "undo copies whose time is over are not dropped yet: %s", error)
            await self._alarm.sleep(tick)

    async def drop(self) -> bool:
        """Drop the copies whose time is over, then, while memory is short, others, those of the oldest rules first.
        Whether there was a copy."""
        found = [(rule, lane) for lane in range(self._store.lanes) for rule in await self._store.rules(lane)]
        for rule, lane in sorted(found):  # ids of rules sort by the time of their creation
            while await self._drop(lane, rule, early=False):
                pass
        for rule, lane in sorted(found):
            while not self._stopping and await self._load.memory_share() > WATERMARK:
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
        if self._stopping or await self._store.drop(lane, rule, _BATCH, early) < _BATCH:
            return False
        await asyncio.sleep(_PAUSE)
        return True
