"""Suppressions that have expired are taken out of the store. They meet nobody in any case."""

import logging
from typing import Final

from mta.model.errors import StoreError, severity
from mta.ports.suppressions import ExpiredSuppressions
from mta.timing.alarm import Alarm
from mta.timing.clock import wall_ms

log = logging.getLogger(__name__)

_EVERY: Final = 60.0  # seconds


class SuppressionCleaner:
    """Any number of processes may."""

    def __init__(self, store: ExpiredSuppressions) -> None:
        self._store = store
        self._stopping = False
        self._alarm = Alarm()

    def stop(self) -> None:
        self._stopping = True
        self._alarm.ring()

    async def run(self) -> None:
        while not self._stopping:
            await self._alarm.sleep(_EVERY)
            try:
                if not self._stopping:
                    await self._store.drop_expired(wall_ms())
            except StoreError as error:
                log.log(severity(error), "suppressions that have expired are not removed yet: %s", error)
