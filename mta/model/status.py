"""The status of a delivery in one word, and what a record of history says of it."""

import enum
from typing import Final, NamedTuple

import msgspec

from mta.model.events import Event, EventType
from mta.model.ids import DeliveryId
from mta.model.outcomes import Origin


class Status(enum.StrEnum):
    """The state of a delivery in one word, in the order in which the headline of a message takes it: the first that
    one of its recipients has."""

    ENQUEUED = "ENQUEUED"
    HELD = "HELD"
    DELAYED = "DELAYED"
    CANCELED = "CANCELED"
    UNDELIVERABLE = "UNDELIVERABLE"
    FILTERED = "FILTERED"
    THROTTLED = "THROTTLED"
    SIMULATED = "SIMULATED"
    SENT = "SENT"
    DELIVERED = "DELIVERED"


# A delivery moves to a status of the same rank or of a greater one, save by an undo (Reinstated) and by late knowledge
# (LateOutcome). Statuses of rank 0 alternate; those of rank 3 are ends, of which a delivery has one.
RANKS: Final = {
    Status.ENQUEUED: 0,
    Status.DELAYED: 0,
    Status.HELD: 0,
    Status.SENT: 1,
    Status.DELIVERED: 2,
    Status.UNDELIVERABLE: 3,
    Status.CANCELED: 3,
    Status.FILTERED: 3,
    Status.THROTTLED: 3,
    Status.SIMULATED: 3,
}


class Reason(enum.StrEnum):
    """The reason of a status."""

    BOUNCED = "BOUNCED"
    EXPIRED = "EXPIRED"
    INTERCEPTED = "INTERCEPTED"
    PARKED = "PARKED"
    UNROUTABLE = "UNROUTABLE"
    UNSUBSCRIBE = "unsubscribe"
    COMPLAINT = "complaint"
    HARD_BOUNCE = "hard_bounce"
    MANUAL = "manual"


SUPPRESSED: Final = (Reason.UNSUBSCRIBE, Reason.COMPLAINT, Reason.HARD_BOUNCE, Reason.MANUAL)  # reasons of FILTERED


class Standing(NamedTuple):
    """A status with its reason."""

    status: Status
    reason: Reason | None = None


_NOWHERE: Final = ("5.1.", "5.4.")  # RFC 3463 3.2, 3.5: addressing and routing

_OF_TYPE: Final = {
    EventType.RECEPTION: Standing(Status.ENQUEUED),
    EventType.DELIVERY: Standing(Status.DELIVERED),
    EventType.LATE_OUTCOME: Standing(Status.DELIVERED),
    EventType.TRANSIENT_FAILURE: Standing(Status.ENQUEUED),
    EventType.BOUNCE: Standing(Status.UNDELIVERABLE, Reason.BOUNCED),
    EventType.INTERCEPTED: Standing(Status.UNDELIVERABLE, Reason.INTERCEPTED),
    EventType.EXPIRATION: Standing(Status.UNDELIVERABLE, Reason.EXPIRED),
    EventType.CANCELLATION: Standing(Status.CANCELED),
    EventType.FILTERED: Standing(Status.FILTERED, Reason.MANUAL),
    EventType.THROTTLED: Standing(Status.THROTTLED),
    EventType.SIMULATED: Standing(Status.SIMULATED),
    EventType.HOLD: Standing(Status.HELD),
    EventType.RELEASE: Standing(Status.ENQUEUED),
    EventType.REINSTATED: Standing(Status.ENQUEUED),
    EventType.MOVED: Standing(Status.ENQUEUED),
    EventType.PARKED: Standing(Status.HELD, Reason.PARKED),
}
# To look a member up at its class takes ten times as long.
_DELIVERY: Final = EventType.DELIVERY
_LATE: Final = EventType.LATE_OUTCOME
_UNROUTABLE: Final = Standing(Status.UNDELIVERABLE, Reason.UNROUTABLE)
_SENT: Final = Standing(Status.SENT)
_DELIVERED: Final = Standing(Status.DELIVERED)
_DELAYED: Final = Standing(Status.DELAYED)
_LAST_RANK: Final = max(RANKS.values())
_FILTERED: Final = {reason.value: Standing(Status.FILTERED, reason) for reason in SUPPRESSED}
_UNKNOWN: Final = Standing(Status.ENQUEUED)


def rank_of(event: Event) -> int:
    """The event with the greatest rank says how a delivery stands; 0: it changes nothing. Where a late outcome and
    another change have the same number, the books have followed the other one."""
    kind = event.type
    if kind is _LATE:
        return 2 * event.seq if 200 <= event.code < 300 else 0
    return 2 * event.seq + 1 if event.seq and kind in _OF_TYPE else 0


def standing_of(event: Event) -> Standing:
    """How the delivery stands after an event with a rank. After another one nobody knows; a worker had it then."""
    kind = event.type
    if kind is _DELIVERY:
        return _SENT if event.relayed else _DELIVERED
    if kind is EventType.BOUNCE and event.origin is Origin.LOCAL and event.enhanced.startswith(_NOWHERE):
        return _UNROUTABLE
    if kind is _LATE and event.relayed:
        return _SENT
    if kind not in _OF_TYPE or (kind is EventType.LATE_OUTCOME and not rank_of(event)):
        return _UNKNOWN
    if kind in (EventType.DELIVERY, EventType.LATE_OUTCOME) and event.relayed:
        return _SENT
    if kind is EventType.RECEPTION and event.next_attempt > event.time:
        return _DELAYED
    if kind is EventType.FILTERED and event.reason in _FILTERED:
        return _FILTERED[event.reason]
    return _OF_TYPE[kind]


def moves_back(before: Event, after: Event) -> bool:
    """Whether a delivery that stood as `before` says, and stands as `after` says now, has moved as none ever does."""
    if after.type in (EventType.REINSTATED, EventType.LATE_OUTCOME):
        return False
    was = RANKS[standing_of(before).status]
    return was == _LAST_RANK or RANKS[standing_of(after).status] < was


class DeliveryRow(msgspec.Struct, frozen=True, gc=False):
    """The record of one delivery as history has it: the facts of the newest event that changed it. Times are Unix
    milliseconds, 0 = not yet."""

    id: DeliveryId
    last: Event
    opened_at: int = 0  # by a reader, for the first time
    clicked_at: int = 0

    @property
    def standing(self) -> Standing:
        return standing_of(self.last)

    @property
    def accepted_at(self) -> int:
        last = self.last
        return last.queued_at or (last.time if last.type is EventType.RECEPTION else int.from_bytes(self.id[:6], "big"))

    @property
    def sent_at(self) -> int:
        return self.last.time if self.standing.status is Status.SENT else 0

    @property
    def delivered_at(self) -> int:
        return self.last.time if self.standing.status is Status.DELIVERED else 0

    @property
    def canceled_at(self) -> int:
        return self.last.time if self.standing.status is Status.CANCELED else 0

    @property
    def ended_at(self) -> int:
        return self.last.time if self.standing.status in ENDED else 0

    @property
    def updated_at(self) -> int:
        return self.last.time


ENDED: Final = frozenset((
    Status.CANCELED, Status.UNDELIVERABLE, Status.SENT, Status.DELIVERED, Status.FILTERED, Status.THROTTLED,
    Status.SIMULATED,
))  # fmt: skip
