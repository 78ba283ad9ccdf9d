"""Waiting mail as a sweep walks over it and moves it; raises StoreAway, StoreError."""

import enum
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

from mta.model.endings import Shared
from mta.model.ids import DeliveryId
from mta.model.mail import QueueKey, QueueShare, Record
from mta.model.rule_events import RuleEvent
from mta.model.rules import Rule
from mta.model.sweeps import SweepState


class PlannedMove(NamedTuple):
    """How a sweep moves one waiting delivery; `event` is its encoded event."""

    id: DeliveryId
    queue: QueueKey
    rule: str  # the rule that wins, "" = none: with RELEASE
    tags: tuple[str, ...]  # as they are counted
    event: bytes
    uncertain: bool
    left_rule: str = ""  # `deferred_by` of its record
    record: Record | None = None  # with HOLD and RELEASE: the new one
    reclaims: int = 0  # with a new record: how often its claim was lost
    final: bytes = b""  # with INTERCEPT: encoded Final
    spare_ms: int = 0  # with INTERCEPT: how long an undo copy is kept, 0 = there is none
    raw: bytes = b""  # the record that was read: with another the delivery is left alone
    shared: Shared | None = None  # with INTERCEPT: the common part that its Final names by a digest
    share: str = ""  # of the queue


class WaitingDelivery(NamedTuple):
    """A delivery that a sweep sees."""

    id: DeliveryId
    queue: QueueKey
    due_at: int
    record: Record
    reclaims: int
    raw: bytes = b""  # the record as the store has it
    share: str = ""  # of the queue


class SweepMove(enum.Enum):
    """Where one step of a sweep moves waiting deliveries."""

    INTERCEPT = "intercept"
    HOLD = "hold"  # by the pause `rule`; keeps its due time
    RELEASE = "release"  # from a pause, back to its queue at its due time


# The event of a sweep that has just ended, with the statement of the rule, or of its set.
Account = Callable[[Rule, SweepState], Awaitable[RuleEvent]]


class Allowance(NamedTuple):
    """How much a round of a staged release may let go in one lane."""

    round_id: str
    share: int


class MoveAnswer(enum.Enum):
    """The answer of the store to a move."""

    OK = "ok"
    OLD_RULES = "old_rules"  # decided by a rule table below the lane's barrier: nothing was moved


class SweepStore(Protocol):
    """Queues and paused mail, and how far each sweep is; raises StoreAway, StoreError."""

    lanes: int

    async def pools(self) -> list[str]: ...

    async def queues(self, lane: int, pool: str) -> list[QueueShare]:
        """Every share of the pool's queues that has deliveries not claimed."""
        ...

    async def pauses(self, lane: int) -> list[str]:
        """Ids of the pauses that hold something there, also of those that were lifted."""
        ...

    async def scan(
        self, lane: int, queue: QueueKey, cursor: int, most: int, share: str = ""
    ) -> tuple[int, list[WaitingDelivery]]:
        """The next cursor (0 = from the start, and the end) and a piece of the share of the queue. A delivery that
        was there during the whole walk is seen at least once."""
        ...

    async def scan_held(self, lane: int, pause: str, cursor: int, most: int) -> tuple[int, list[WaitingDelivery]]:
        """The same for deliveries that a pause holds."""
        ...

    async def holders(self, lane: int) -> list[str]:
        """Sessions that may have claimed something there."""
        ...

    async def scan_claimed(self, lane: int, session: str, cursor: int, most: int) -> tuple[int, list[WaitingDelivery]]:
        """As `scan`, for deliveries that a session has claimed; `due_at` is 0. To count them: a sweep leaves them to
        their worker."""
        ...

    async def first_held(self, lane: int, pause: str, most: int) -> list[WaitingDelivery]:
        """Deliveries that the pause holds, in the order in which they are due."""
        ...

    async def move(
        self,
        lane: int,
        source: str,
        move: SweepMove,
        generation: int,
        matches: Sequence[PlannedMove],
        allowance: Allowance | None = None,
    ) -> tuple[MoveAnswer, int]:
        """Move the deliveries (at most 100, each once) that are still at their source: the pause `source`, or "" =
        their queues. The first of them, where an allowance is less. How many were moved."""
        ...

    async def sweeps(self) -> dict[str, SweepState]:
        """All of them, by the id of the order."""
        ...

    async def sweeps_of(self, orders: Sequence[str]) -> dict[str, SweepState]:
        """Those of the orders with these ids that have begun."""
        ...

    async def sweep(self, order: str) -> SweepState | None:
        """Of the order with this id; None: no sweep of it has begun."""
        ...

    async def save_sweep(self, state: SweepState, lease: float, completed: bytes = b"", rule: str = "") -> bool:
        """Take or keep the sweep for `lease` seconds as `state.owner`. False: another owner has it, or its rule was
        removed; of a set `rule` is one of those that are swept. `completed` is the encoded event of a sweep that is
        done; it is appended once for each generation of the order."""
        ...
