"""What forced errors intercepted and is kept for an undo, as the one who undoes sees it."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from mta.model.actor import Actor
from mta.model.ids import DeliveryId
from mta.model.mail import QueueKey, Record
from mta.model.outcomes import Stage
from mta.model.rules import Rule
from mta.ports.rules import Effect


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

    async def kept(self, lane: int, rule: str, some: Sequence[Spared]) -> set[DeliveryId]:
        """Those of `some` (at most 100, seen earlier) that can be undone still."""
        ...

    async def count(self, rule: str, now_ms: int) -> int:
        """How many deliveries of the rule can be undone at `now_ms`, in all lanes."""
        ...

    async def until(self, rule: str, now_ms: int) -> int:
        """Until when (Unix ms) all that can be undone at `now_ms` can be undone; 0 = nothing can."""
        ...

    async def reinstate(self, lane: int, rule: str, back: Sequence[Back]) -> int:
        """Put back what is still spared (at most 100); how many were. May be repeated: each goes back once."""
        ...


class Undone(NamedTuple):
    """How far an undo is."""

    effect: Effect | None  # of disabling the rule; None: it was removed before
    reinstated: int  # by this undo, so far
    left: int
    done: bool


class Undoing(Protocol):
    """Undoing what a forced error ended, as the API sees it; raises StoreAway, StoreError."""

    async def undo(self, rule_id: str, rule: Rule | None, actor: Actor, wait: float) -> Undone | None:
        """Disable the rule (None: it was removed), then put back what it spared; waits at most `wait` seconds for all
        of that, and goes on beyond it. May be repeated. None: there is neither the rule nor anything spared by it."""
        ...
