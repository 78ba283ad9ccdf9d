"""The memory that idempotency keys may take in the store: each process looks how much they take while it makes some."""

import logging

from mta.model.errors import StoreError
from mta.ports.store_load import StoreLoad

log = logging.getLogger(__name__)


class KeyMemory:
    """A look is up to a second old, so a little more than the limit may be used."""

    def __init__(self, store: StoreLoad, limit: int) -> None:
        """`limit` is in bytes."""
        self._store = store
        self._limit = limit
        self._kept = 0
        self._asked = True  # since the last look; at first, since the store may be full already

    def has_room(self) -> bool:
        """Whether the store has room for another key."""
        self._asked = True
        return self._kept < self._limit

    async def look(self) -> None:
        """Called once a second; asks the store only where somebody asked since."""
        if not self._asked:
            return
        self._asked = False
        try:
            self._kept = await self._store.key_bytes()
        except StoreError as error:
            self._asked = True
            log.debug("how much memory idempotency keys take is not known: %s", error)
