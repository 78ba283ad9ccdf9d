"""The record of one state change, as it waits in the outbox and becomes a line of the delivery log; and its makers."""

import enum
from typing import Annotated, ClassVar, Final

import msgspec

from mta.model.engagement import TrackedMail
from mta.model.ids import DeliveryId
from mta.model.mail import NewMessage, QueueKey, Recipient, Record
from mta.model.outcomes import Forced, Origin, Outcome, Reply


class EventType(enum.StrEnum):
    """The types of events, named as in the log (docs/log.md)."""

    RECEPTION = "Reception"
    DELIVERY = "Delivery"
    LATE_OUTCOME = "LateOutcome"
    TRANSIENT_FAILURE = "TransientFailure"
    BOUNCE = "Bounce"
    INTERCEPTED = "Intercepted"
    EXPIRATION = "Expiration"
    CANCELLATION = "Cancellation"
    FILTERED = "Filtered"
    THROTTLED = "Throttled"
    SIMULATED = "Simulated"
    HOLD = "Hold"
    RELEASE = "Release"
    REINSTATED = "Reinstated"
    ESCAPED = "Escaped"
    REJECTION = "Rejection"
    PARKED = "Parked"
    MOVED = "Moved"
    OPEN = "Open"
    CLICK = "Click"
    UNSUBSCRIBE = "Unsubscribe"
    RULE = "Rule"
    AUDIT = "Audit"
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
    route: str = ""  # of an attempt: "mx", or the relay or host that the settings name
    dialogue: tuple[str, ...] = ()  # the SMTP session of a failed attempt, without content; not in the log
    fault: str = ""  # the party at fault for a failure (model/replies.py)
    tls_failed: str = ""  # the reason for which TLS did not come about although it was wanted
    uncertain: bool = False  # an attempt may have reached the recipient although no reply says so
    seq: int = 0  # of the record, with this change; 0 = there is no record. After a boolean and last, see settle.lua
    actor: ClassVar[str] = ""  # only an OrderedEvent has one, and a topic
    topic: ClassVar[str] = ""

    @property
    def relayed(self) -> bool:
        """Whether a configured next hop took it, rather than the recipient's own MX."""
        return self.route not in ("", BY_MX)


class OrderedEvent(Event, array_like=True, frozen=True, gc=False):
    """An event that somebody ordered, or that a suppression caused; every event can be read as one."""

    actor: str = ""  # type: ignore[misc]  # the person or the part of Floodgate that gave the order, "" = nobody
    topic: str = ""  # type: ignore[misc]  # of the suppression that decided, "" = every topic


def ordered(event: Event, by: str) -> OrderedEvent:
    """The same event with the author of its order."""
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    return OrderedEvent(**fields, actor=by)


def about_topic(event: Event, topic: str) -> Event:
    """The same event with the topic of the suppression that caused it."""
    if not topic:
        return event
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    return OrderedEvent(**fields, topic=topic)


BY_MX: Final = "mx"
NOT_OFFERED: Final = "the server does not offer STARTTLS"  # as `tls_failed`; of any other reason it was offered


def engagement_event(
    kind: EventType, time: int, node: str, mail: TrackedMail, client: str, machine: str, properties: dict[str, str]
) -> Event:
    """An open of a delivery, a click in it, or an unsubscription by it; it changes no record. `machine` is the kind of
    machine that the visit came from, "" = it may be a reader."""
    return Event(
        kind,
        time,
        mail.id,
        node,
        tags=mail.tags,
        pool=mail.pool,
        recipient=mail.recipient,
        domain=mail.domain,
        tenant=mail.tenant,
        client=client,
        reason=machine,
        properties=properties or None,
    )


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
    route: str = "",
    uncertain: bool = False,
    changes: int = 1,
) -> Event:
    """The event of a delivery, `changes` after its `record`. `enhanced` and `reason` replace what the outcome says."""
    reply, known = outcome.reply, outcome.known
    category, fault = ("", "") if known is None else known[:2]
    # By place: names take three times as long, and there is one such event for each delivery.
    return Event(
        kind, time, delivery, node, record.tags, queue.pool, outcome.mta, record.sender, record.recipient, queue.domain,
        attempt, outcome.mx, outcome.remote_ip, outcome.tls, reply.code,
        reply.enhanced if enhanced is None else enhanced, reply.text, outcome.origin, category,
        reason or outcome.reason, outcome.forced, record.size, record.accepted_at, next_attempt,
        outcome.duration_ms if outcome.mta else None, record.client, record.properties, record.tenant,
        route or outcome.route, outcome.dialogue, fault, outcome.tls_failed, uncertain, record.seq + changes,
    )  # fmt: skip


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
    seq: int = 0,
) -> Event:
    """The event of one recipient of a message that comes in: there is no record yet. Without an outcome nobody had to
    decide anything. `seq` is 0 where the message is refused."""
    reply, origin, reason, forced, category, fault = _NO_REPLY, None, "", None, "", ""
    if outcome is not None:
        reply, origin, reason, forced = outcome.reply, outcome.origin, outcome.reason, outcome.forced
        if outcome.known is not None:
            category, fault = outcome.known[:2]
    return Event(
        kind, time, delivery, node, message.tags, message.pool,
        "",  # mta
        message.sender, recipient.address, recipient.domain,
        0, "", "", "",  # attempt, mx, remote_ip, tls
        reply.code, reply.enhanced, reply.text, origin, category, reason, forced, len(message.content),
        queued_at, next_attempt, None,  # duration_ms
        message.client, message.properties, message.tenant,
        "", (), fault, "", False,  # route, dialogue, tls_failed, uncertain
        seq,
    )  # fmt: skip
