"""The supervisor's watch over the memory of idempotency keys: it logs once that it is nearly used up."""

import logging
import time
from collections.abc import Callable
from typing import Final

from mta.ports.store_load import StoreLoad

log = logging.getLogger(__name__)

_EVERY: Final = 5.0  # seconds
_WARN_AT: Final = 0.8
_OVER_AT: Final = 0.7  # so that a figure that swings makes no line each time


class KeyWatch:
    """One line in the log when the keys take four fifths of their memory, one when it is full, one when it is over."""

    def __init__(self, store: StoreLoad, limit: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        """`limit` gives bytes; `clock` is in seconds."""
        self._store = store
        self._limit = limit
        self._clock = clock
        self._looked = float("-inf")
        self._told = 0.0  # the share that was told last, 0.0 = none

    async def look(self) -> None:
        """Raises StoreError."""
        if self._clock() - self._looked < _EVERY:
            return
        self._looked = self._clock()
        limit = self._limit()
        kept = await self._store.key_bytes()
        share = kept / limit
        if share >= 1.0 > self._told:
            log.error("idempotency keys take all of messages.idempotency_memory: mail with a new key is refused")
            self._told = 1.0
        elif share >= _WARN_AT and not self._told:
            log.warning(
                "idempotency keys take %d of the %d MiB of messages.idempotency_memory; raise it, or shorten "
                "messages.idempotency_window",
                kept >> 20,
                limit >> 20,
            )
            self._told = _WARN_AT
        elif share < _OVER_AT and self._told:
            log.warning("idempotency keys take %.0f %% of messages.idempotency_memory again", 100 * share)
            self._told = 0.0
