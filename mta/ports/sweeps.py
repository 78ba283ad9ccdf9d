"""Waiting mail as a sweep walks over it and moves it; raises StoreAway, StoreError."""

import enum
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from mta.model.endings import Shared
from mta.model.ids import DeliveryId
from mta.model.mail import QueueKey, Record
from mta.model.sweeps import SweepState


class PlannedMove(NamedTuple):
    """What a sweep makes of a waiting delivery; `event` is the encoded event that says so."""

    id: DeliveryId
    queue: QueueKey
    rule: str  # the rule that wins; "" = none, with RELEASE
    tags: tuple[str, ...]
    event: bytes
    uncertain: bool
    left_rule: str = ""  # `deferred_by` of its record
    record: Record | None = None  # with HOLD and RELEASE: the new one
    reclaims: int = 0  # with a new record: how often its claim was lost
    final: bytes = b""  # with INTERCEPT: encoded Final
    spare_ms: int = 0  # with INTERCEPT: how long it is kept for an undo, 0 = not
    raw: bytes = b""  # the record that this was decided by: with another it is left alone
    shared: Shared | None = None  # with INTERCEPT: what its Final names by a digest


class WaitingDelivery(NamedTuple):
    """A delivery that a sweep sees."""

    id: DeliveryId
    queue: QueueKey
    due_at: int
    record: Record
    reclaims: int
    raw: bytes = b""  # the record as the store has it


class SweepMove(enum.Enum):
    """What a sweep's step makes of waiting deliveries."""

    INTERCEPT = "intercept"
    HOLD = "hold"  # by the pause `rule`; keeps its due time
    RELEASE = "release"  # from a pause, back to its queue at its due time


class MoveAnswer(enum.Enum):
    OK = "ok"
    OLD_RULES = "old_rules"


class SweepStore(Protocol):
    """What a sweep walks over; raises StoreAway, StoreError."""

    lanes: int

    async def pools(self) -> list[str]: ...

    async def queues(self, lane: int, pool: str) -> list[QueueKey]:
        """Every queue of the pool that has deliveries not claimed."""
        ...

    async def pauses(self, lane: int) -> list[str]:
        """Ids of the pauses that hold something there, also of those that were lifted."""
        ...

    async def scan(self, lane: int, queue: QueueKey, cursor: int, most: int) -> tuple[int, list[WaitingDelivery]]:
        """A piece of a queue and the next cursor (0 = from the start, and the end). What was in the queue for the
        whole walk is seen at least once."""
        ...

    async def scan_held(self, lane: int, pause: str, cursor: int, most: int) -> tuple[int, list[WaitingDelivery]]:
        """The same for what a pause holds."""
        ...

    async def first_held(self, lane: int, pause: str, most: int) -> list[WaitingDelivery]:
        """What the pause holds, in the order in which it is due."""
        ...

    async def move(
        self, lane: int, source: str, move: SweepMove, generation: int, matches: Sequence[PlannedMove]
    ) -> tuple[MoveAnswer, int]:
        """Move what is still at its source (at most 100, each once): the pause `source`, or "" = the queues of the
        matches; how many were."""
        ...

    async def sweeps(self) -> dict[str, SweepState]:
        """By rule id."""
        ...

    async def sweep(self, rule: str) -> SweepState | None:
        """Of the rule with this id; None: no sweep of it has begun."""
        ...

    async def save_sweep(self, state: SweepState, lease: float) -> bool:
        """Take or keep the sweep for `lease` seconds as `state.owner`; False: another owner has it."""
        ...
