"""How busy the store is, for work that gives way to other mail; raises StoreAway, StoreError."""

from typing import Protocol


class StoreLoad(Protocol):
    async def traffic(self) -> int:
        """Deliveries accepted and delivered so far, in all lanes."""
        ...

    async def memory_share(self) -> float:
        """How much of the memory that the store may use is used, 0 to 1; of the machine's where it has no limit."""
        ...

    async def key_bytes(self) -> int:
        """Bytes of memory that idempotency keys take, at most."""
        ...

    async def backlog(self, lane: int) -> int:
        """Stream entries of the lane that the journal has not made durable yet."""
        ...
