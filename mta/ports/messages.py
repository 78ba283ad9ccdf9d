"""One message as its sender asks about it, and the end of deliveries that wait; raises StoreAway, StoreError."""

import enum
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from mta.model.actor import Actor
from mta.model.endings import Common, Final
from mta.model.ids import DeliveryId, MessageId
from mta.model.mail import QueueKey, Record
from mta.model.outcomes import Class


class DeliveryStatus(NamedTuple):
    """The state of one delivery; times are Unix milliseconds."""

    id: DeliveryId
    state: Class  # QUEUED: due, scheduled, deferred or claimed
    record: Record | None = None  # of a delivery that lives
    final: Final | None = None  # of a delivery that has ended
    due_at: int = 0  # when it is attempted next; 0 = it is claimed, or is not queued
    asked_at: int = 0  # when a cancellation was asked of the worker that claims it, 0 = never
    uncertain: bool | None = None  # True: it may have been delivered although its state says otherwise
    pool: str = ""  # of a delivery that lives; "" = not known
    common: Common | None = None  # of a delivery that has ended, as far as it is known


class Messages(Protocol):
    """Showing and canceling, as the API sees it."""

    async def show(self, message: MessageId, only: int = 0) -> list[DeliveryStatus]:
        """Every delivery that lives, or ended within `status.retention`, by its number, or the one to recipient number
        `only`; [] = nothing is known."""
        ...

    async def cancel(self, message: MessageId, actor: Actor, wait: float, only: int = 0) -> list[DeliveryStatus]:
        """End as canceled all deliveries that wait, or the one to recipient number `only`; ask the workers to end those
        that they hold, and wait for them at most `wait` seconds. Then as `show`, of these deliveries: one whose worker
        has not answered yet has `asked_at`, and from then + S + 0.5 s on its final dot is not sent. May be repeated.
        Intercepted deliveries stay so, without an undo."""
        ...


class Place(enum.Enum):
    """The key set that a delivery with a record is in."""

    DUE = "due"
    CLAIMED = "claimed"
    HELD = "held"
    PARKED = "parked"
    SPARED = "spared"  # an undo copy: the delivery itself was intercepted


class FoundDelivery(NamedTuple):
    """One delivery as the store has it, and its place. These are read one after the other: a delivery that lives and
    has no place moved between the two reads."""

    id: DeliveryId
    raw: bytes = b""  # its record as it is kept, b"" = none
    record: Record | None = None  # None also where it cannot be read
    ended: Class | None = None  # None = it lives
    uncertain: bool = False  # it may have reached the recipient although no reply says so
    final: Final | None = None
    common: Common | None = None  # the common part of its Final
    place: Place | None = None
    queue: QueueKey = QueueKey("", "")  # "" = not known
    source: str = ""  # the session that claims it, the pause that holds it, or the rule that intercepted it
    stage: str = ""  # with SPARED: where the rule met it
    due_at: int = 0
    asked_at: int = 0  # since when whoever claims it is to cancel it
    share: str = ""  # of its queue; before its place is known, of its record

    @property
    def moved(self) -> bool:
        """Whether it must be looked for again."""
        return self.ended is None and self.place is None and self.record is not None

    @property
    def recipients(self) -> int:
        """Of its message, as far as is known."""
        known = self.final or self.record
        return max(known.recipients if known is not None else 1, int.from_bytes(self.id[16:], "big"))


class PlannedEnd(NamedTuple):
    """How one delivery ends where it waits; `event` and `final` are encoded. With CLAIMED its worker is asked to end
    it, with SPARED its undo copy is dropped: neither has an event."""

    id: DeliveryId
    place: Place
    queue: QueueKey
    raw: bytes  # the record that was read: with another the delivery is left alone
    source: str = ""
    stage: str = ""
    tags: tuple[str, ...] = ()  # as they are counted
    event: bytes = b""
    final: bytes = b""
    uncertain: bool = False
    left_rule: str = ""  # `deferred_by` of its record
    share: str = ""  # of its queue


class EndAnswer(enum.Enum):
    """The answer of the store about one delivery."""

    ENDED = "ended"
    WORKER_ASKED = "worker asked"
    COPY_DROPPED = "copy dropped"
    MOVED = "moved"  # it is not where it was found, or has another record: look again


class WaitingEnds(Protocol):
    """Ending deliveries that wait."""

    async def end(
        self, lane: int, ended: Class, now: int, ends: Sequence[PlannedEnd], author: str = ""
    ) -> list[EndAnswer]:
        """End the deliveries (any number) that are still where they were found, as CANCELED or EXPIRED; answers in
        order. `now` (Unix ms) is since when workers are asked, and `author` in whose name. May be repeated: a delivery
        that has ended answers MOVED."""
        ...


class MessageStore(WaitingEnds, Protocol):
    """One message in its lane."""

    async def find(self, message: MessageId, last: int, only: int = 0) -> list[FoundDelivery]:
        """Its deliveries as far as they are known, by number; up to number `last` where nothing says how many it has.
        With `only` the delivery of that number alone."""
        ...

    async def tell_workers(self, canceled: MessageId | DeliveryId, author: str) -> None:
        """All processes learn with their next confirmation that the message, or the delivery, is canceled. May be
        repeated."""
        ...
