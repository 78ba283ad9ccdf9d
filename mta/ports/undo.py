"""The undo of forced errors: the copies that it needs, and the order; raises StoreAway, StoreError."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from mta.model.actor import Actor
from mta.model.ids import DeliveryId
from mta.model.mail import QueueKey, Record
from mta.model.outcomes import Stage
from mta.model.rules import Rule
from mta.ports.orders import Effect


class UndoCopy(NamedTuple):
    """An intercepted delivery whose record and content are still kept."""

    id: DeliveryId
    queue: QueueKey
    stage: Stage
    uncertain: bool  # as it was counted
    until: int  # Unix ms at which the copy is dropped
    record: Record
    reclaims: int
    share: str = ""  # of the queue


class Reinstatement(NamedTuple):
    """How an intercepted delivery returns to its queue; `event` is its encoded Reinstated event."""

    copy: UndoCopy
    record: Record
    due_at: int
    event: bytes


class UndoCopyStore(Protocol):
    """The copies, by lane and rule."""

    lanes: int

    async def rules(self, lane: int) -> list[str]:
        """Ids of the rules that have copies there."""
        ...

    async def copies(self, lane: int, rule: str, most: int) -> list[UndoCopy]:
        """Copies of deliveries that the rule intercepted there, the oldest first."""
        ...

    async def kept(self, lane: int, rule: str, some: Sequence[UndoCopy]) -> set[DeliveryId]:
        """Those of `some` (at most 100, seen earlier) that are still kept."""
        ...

    async def count(self, rule: str, now_ms: int) -> int:
        """How many deliveries of the rule can be undone at `now_ms`, in all lanes."""
        ...

    async def until(self, rule: str, now_ms: int) -> int:
        """Until when (Unix ms) all that can be undone at `now_ms` can be undone; 0 = nothing can."""
        ...

    async def reinstate(self, lane: int, rule: str, some: Sequence[Reinstatement]) -> int:
        """Return to their queues those whose copies are still kept (at most 100); how many were. May be repeated: each
        returns once."""
        ...

    async def drop(self, lane: int, rule: str, most: int, early: bool = False) -> int:
        """Drop at most `most` copies whose time is over, or, `early`, the oldest; how many were dropped."""
        ...


class UndoProgress(NamedTuple):
    """How far an undo is."""

    effect: Effect | None  # of disabling the rule; None: it was removed before
    reinstated: int  # by this undo, so far
    left: int
    done: bool


class Undo(Protocol):
    """The order to undo what a forced error ended, as the API sees it."""

    async def undo(self, rule_id: str, rule: Rule | None, actor: Actor, wait: float) -> UndoProgress | None:
        """Disable the rule (None: it was removed), then return what it intercepted to its queues; waits at most `wait`
        seconds for all of that, and goes on beyond it. May be repeated. None: there is neither the rule nor a copy of
        anything that it intercepted."""
        ...
