"""What is asked of the store about mail that no worker attempts; raises StoreAway, StoreError."""

from collections.abc import Sequence
from typing import Protocol

from mta.ports.rules import Queued


class Expiry(Protocol):
    """Ending what waits past its time."""

    async def expire(self, lane: int, over: Sequence[Queued], reason: str) -> int:
        """End as expired what is still in its queue with the record that was read (any number); how many were. May be
        repeated."""
        ...
