"""The record of one state change, as it waits in the outbox and becomes a line of the delivery log."""

import enum
from typing import Annotated, Any

import msgspec

from mta.model.ids import DeliveryId
from mta.model.mail import QueueKey, Record
from mta.model.outcomes import Forced, Origin


class EventType(enum.StrEnum):
    """CONTRACT's names of the log's lines."""

    RECEPTION = "Reception"
    DELIVERY = "Delivery"
    LATE_OUTCOME = "LateOutcome"
    TRANSIENT_FAILURE = "TransientFailure"
    BOUNCE = "Bounce"
    INTERCEPTED = "Intercepted"
    EXPIRATION = "Expiration"
    CANCELLATION = "Cancellation"
    HOLD = "Hold"
    RELEASE = "Release"
    REINSTATED = "Reinstated"
    ESCAPED = "Escaped"
    REJECTION = "Rejection"
    PARKED = "Parked"
    RULE = "Rule"
    GAP = "Gap"


class Event(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Fields as in the delivery log; None or empty = unknown, and absent there. Times are Unix milliseconds."""

    type: EventType
    time: int
    id: Annotated[DeliveryId, msgspec.Meta(min_length=18, max_length=18)] | None = None
    node: str = ""
    tags: tuple[str, ...] = ()
    pool: str = ""
    mta: str = ""
    sender: str | None = None
    recipient: str = ""
    domain: str = ""
    attempt: int = 0
    mx: str = ""
    remote_ip: str = ""
    tls: str = ""
    code: int = 0
    enhanced: str = ""
    text: str = ""
    origin: Origin | None = None
    category: str = ""
    reason: str = ""
    forced: Forced | None = None
    size: int = 0
    queued_at: int = 0
    next_attempt: int = 0
    duration_ms: int | None = None
    client: str = ""
    properties: dict[str, str] | None = None
    tenant: str = ""
    uncertain: bool = False  # an attempt may have reached the recipient although no reply says so


def event_about(
    kind: EventType, time: int, delivery: DeliveryId, node: str, queue: QueueKey, record: Record, **more: Any
) -> Event:
    """The event with all that the record says of the delivery; `more` are other fields of Event, by name."""
    return Event(
        kind,
        time,
        delivery,
        node,
        record.tags,
        queue.pool,
        sender=record.sender,
        recipient=record.recipient,
        domain=queue.domain,
        attempt=record.attempts,
        size=record.size,
        queued_at=record.accepted_at,
        client=record.client,
        properties=record.properties,
        tenant=record.tenant,
        **more,
    )
