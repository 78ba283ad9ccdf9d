"""One message as the API shows it: a record for each recipient, with a status of one word, and the headline of all."""

from collections.abc import Collection, Iterable, Sequence
from typing import Final, TypeVar

from msgspec import UNSET, UnsetType

from control_api.http.times import shown
from control_api.schemas.answers import known
from control_api.schemas.message_answers import ForcedBy, Message, Recipient, RemoteReply
from mta.model.ids import MessageId, delivery_text, message_text
from mta.model.outcomes import Class, Forced, Reply
from mta.model.replies import Fault
from mta.model.status import Reason, Status
from mta.model.text import visible
from mta.policy.served_pools import why_it_waits
from mta.ports.messages import DeliveryStatus

_Known = TypeVar("_Known")

_ENDED = {
    Class.DELIVERED: (Status.DELIVERED, None),
    Class.BOUNCED: (Status.UNDELIVERABLE, Reason.BOUNCED),
    Class.EXPIRED: (Status.UNDELIVERABLE, Reason.EXPIRED),
    Class.INTERCEPTED: (Status.UNDELIVERABLE, Reason.INTERCEPTED),
    Class.CANCELED: (Status.CANCELED, None),
    Class.THROTTLED: (Status.THROTTLED, None),
    Class.SIMULATED: (Status.SIMULATED, None),
    Class.HELD: (Status.HELD, None),
    Class.PARKED: (Status.HELD, Reason.PARKED),
}

_ARRIVED: Final = (Status.SENT, Status.DELIVERED)
_LONGEST: Final = 1024  # characters of a peer's reply as it is shown


def message_record(
    message: MessageId, standings: Sequence[DeliveryStatus], now: int, unserved: Collection[str] = ()
) -> Message:
    """The record of a message of which something is known; a field that is not known is left out. `now` is Unix ms,
    `unserved` are pools that no worker serves."""
    return headed(message, recipients_of(message, standings, now, unserved))


def recipients_of(
    message: MessageId, standings: Sequence[DeliveryStatus], now: int, unserved: Collection[str] = ()
) -> list[Recipient]:
    """The records of its deliveries."""
    if not standings:
        return []  # the id may be nobody's, and its time no date
    record = next((standing.record for standing in standings if standing.record is not None), None)
    came = shown(record.accepted_at if record is not None else int.from_bytes(message[:6], "big"))
    return [_recipient(message, standing, came, now, unserved) for standing in standings]


def headed(message: MessageId, recipients: list[Recipient]) -> Message:
    """The record of a message: a headline, and the records of its deliveries."""
    status = next(word for word in Status if any(recipient.status is word for recipient in recipients))
    alone = recipients[0] if len(recipients) == 1 else None
    canceled_at = max(recipient.canceled_at or "" for recipient in recipients)
    came = _first(recipient.accepted_at for recipient in recipients)
    return Message(
        id=message_text(message),
        status=status,
        accepted_at=(shown(int.from_bytes(message[:6], "big")) or "") if came is UNSET else came,
        tenant=_first(recipient.tenant for recipient in recipients),
        tags=_first(recipient.tags for recipient in recipients),
        sender=_first(recipient.sender for recipient in recipients),
        canceled_at=canceled_at if status is Status.CANCELED else UNSET,
        reason=UNSET if alone is None else alone.reason,
        error=UNSET if alone is None else alone.error,
        recipients=recipients,
    )


def _first(values: Iterable[_Known | UnsetType]) -> _Known | UnsetType:
    """The first value that is known."""
    return next((value for value in values if value is not UNSET), UNSET)


def _recipient(
    message: MessageId, standing: DeliveryStatus, came: str | None, now: int, unserved: Collection[str]
) -> Recipient:
    """Untrusted text in it (addresses, replies, properties) is made visible, as in the log."""
    record, final, common = standing.record, standing.final, standing.common
    status, reason = _status(standing)
    about, told = common or record, final or record
    reply = _reply(standing)
    category, fault = _known(standing)
    ended_at = shown(final.ended_at) if final is not None else None
    properties = told.properties if told is not None else None
    waits = standing.state is Class.QUEUED and standing.pool in unserved
    found = known(
        {
            "id": delivery_text(standing.id),
            "message_id": message_text(message),
            "recipient": visible(told.recipient) if told is not None else None,
            "sender": visible(about.sender) if about is not None else None,
            "status": status,
            "reason": reason,
            "topic": (final.suppressed[1] or None) if final is not None and final.suppressed else None,
            "error": _error(reply) if reply is not None and status not in _ARRIVED else None,
            "category": category or None,
            "fault": fault or None,
            "forced": _forced(standing),
            "tags": [visible(tag) for tag in about.tags] if about is not None else None,
            "tenant": (about.tenant or None) if about is not None else None,
            "pool": (common.pool if common is not None else standing.pool) or None,
            "mta": (common.mta or None) if common is not None else None,
            "mx": (visible(common.mx) or None) if common is not None else None,
            # Of an ending that an earlier release kept nothing is known.
            "attempts": told.attempts if told is not None and (record is not None or common is not None) else None,
            "next_attempt": shown(standing.due_at),
            "accepted_at": came if about is not None else None,
            "sent_at": ended_at if status is Status.SENT else None,
            "delivered_at": ended_at if status is Status.DELIVERED else None,
            "cancel_asked_at": shown(standing.asked_at),
            "canceled_at": ended_at if status is Status.CANCELED else None,
            "ended_at": ended_at,
            "metadata": {visible(name): visible(value) for name, value in properties.items()} if properties else None,
            "uncertain": standing.uncertain,
            "waits": why_it_waits(standing.pool) if waits else None,
            "seq": (told.seq or None) if told is not None else None,
        }
    )
    return Recipient(**found)


def _reply(standing: DeliveryStatus) -> Reply | None:
    if standing.final is None:
        return standing.record.last if standing.record is not None else None
    if standing.final.reply is not None or standing.common is None:
        return standing.final.reply
    return standing.common.reply


def _known(standing: DeliveryStatus) -> tuple[str, str]:
    """Category and fault of the failure that ended the delivery, or deferred it last."""
    told = standing.final if standing.final is not None else standing.record
    if told is not None and told.known is not None:
        return told.known
    by_rule = standing.common is not None and standing.common.forced is not None
    return ("", Fault.OURS) if by_rule else ("", "")


def _forced(standing: DeliveryStatus) -> ForcedBy | None:
    """The rule that ended the delivery, or deferred it last."""
    forced: Forced | None = standing.common.forced if standing.common is not None else None
    if forced is not None:
        return ForcedBy(
            rule=forced.rule, generation=forced.generation, stage=forced.stage or UNSET, by=forced.by or UNSET
        )
    if standing.record is not None and standing.record.deferred_by:
        return ForcedBy(rule=standing.record.deferred_by)
    return None


def _status(standing: DeliveryStatus) -> tuple[Status, Reason | None]:
    """The status of a delivery after its last event, as history has it, and its reason."""
    record, final = standing.record, standing.final
    if standing.state is Class.QUEUED:
        is_later = record is not None and record.scheduled_at > 0 and record.seq == 1
        return (Status.DELAYED if is_later else Status.ENQUEUED), None
    if standing.state is Class.DELIVERED and final is not None and final.relayed:
        return Status.SENT, None
    if standing.state is Class.BOUNCED and final is not None and final.unroutable:
        return Status.UNDELIVERABLE, Reason.UNROUTABLE
    if standing.state is Class.FILTERED:
        suppressed = final.suppressed if final is not None else None
        return Status.FILTERED, Reason.MANUAL if suppressed is None else Reason(suppressed[0])
    return _ENDED[standing.state]


def _error(reply: Reply) -> RemoteReply:
    return RemoteReply(
        code=reply.code or UNSET,
        enhanced=visible(reply.enhanced) or UNSET,
        text=visible(reply.text)[:_LONGEST] or UNSET,
    )
