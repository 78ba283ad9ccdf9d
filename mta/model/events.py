"""The record of one state change, as it waits in the outbox and becomes a line of the delivery log; and its makers."""

import enum
from typing import Annotated

import msgspec

from mta.model.ids import DeliveryId
from mta.model.mail import NewMessage, QueueKey, Recipient, Record
from mta.model.outcomes import Forced, Origin, Outcome, Reply


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


_NO_REPLY = Reply(0)


def delivery_event(
    kind: EventType,
    time: int,
    node: str,
    delivery: DeliveryId,
    queue: QueueKey,
    record: Record,
    outcome: Outcome,
    attempt: int,
    *,
    enhanced: str | None = None,
    reason: str = "",
    next_attempt: int = 0,
    uncertain: bool = False,
) -> Event:
    """The event of a delivery that has a record. `enhanced` and `reason` replace what the outcome says."""
    # By place: names take three times as long, and there is one such event for each delivery.
    reply = outcome.reply
    return Event(
        kind,
        time,
        delivery,
        node,
        record.tags,
        queue.pool,
        outcome.mta,
        record.sender,
        record.recipient,
        queue.domain,
        attempt,
        outcome.mx,
        outcome.remote_ip,
        outcome.tls,
        reply.code,
        reply.enhanced if enhanced is None else enhanced,
        reply.text,
        outcome.origin,
        "",  # category
        reason or outcome.reason,
        outcome.forced,
        record.size,
        record.accepted_at,
        next_attempt,
        outcome.duration_ms if outcome.mta else None,
        record.client,
        record.properties,
        record.tenant,
        uncertain,
    )


def recipient_event(
    kind: EventType,
    time: int,
    node: str,
    delivery: DeliveryId,
    message: NewMessage,
    recipient: Recipient,
    outcome: Outcome | None = None,
    queued_at: int = 0,
    next_attempt: int = 0,
) -> Event:
    """The event of one recipient of a message that comes in: there is no record yet. An event without an outcome has no
    decision."""
    reply, origin, reason, forced = _NO_REPLY, None, "", None
    if outcome is not None:
        reply, origin, reason, forced = outcome.reply, outcome.origin, outcome.reason, outcome.forced
    return Event(
        kind,
        time,
        delivery,
        node,
        message.tags,
        message.pool,
        "",  # mta
        message.sender,
        recipient.address,
        recipient.domain,
        0,  # attempt
        "",  # mx
        "",  # remote_ip
        "",  # tls
        reply.code,
        reply.enhanced,
        reply.text,
        origin,
        "",  # category
        reason,
        forced,
        len(message.content),
        queued_at,
        next_attempt,
        None,  # duration_ms
        message.client,
        message.properties,
        message.tenant,
    )
