"""What forced errors intercepted and is kept for an undo, as the one who undoes sees it."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from mta.model.ids import DeliveryId
from mta.model.mail import QueueKey, Record
from mta.model.outcomes import Stage


class Spared(NamedTuple):
    """An intercepted delivery whose record and content are still there."""

    id: DeliveryId
    queue: QueueKey
    stage: Stage
    uncertain: bool  # as it was counted
    until: int  # Unix ms at which it is let go
    record: Record
    reclaims: int


class Back(NamedTuple):
    """How it goes back to its queue; `event` is its encoded Reinstated event."""

    spared: Spared
    record: Record
    due_at: int
    event: bytes


class SpareStore(Protocol):
    """Raises StoreAway, StoreError."""

    lanes: int

    async def spared(self, lane: int, rule: str, most: int) -> list[Spared]:
        """What the rule intercepted there, the oldest first."""
        ...

    async def count(self, rule: str, now_ms: int) -> int:
        """How many deliveries of the rule can be undone at `now_ms`, in all lanes."""
        ...

    async def reinstate(self, lane: int, rule: str, back: Sequence[Back]) -> int:
        """Put back what is still spared (at most 100); how many were. May be repeated: each goes back once."""
        ...
