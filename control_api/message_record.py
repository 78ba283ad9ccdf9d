"""One message as the API shows it: a record for each recipient, with a status of one word, and the headline of all."""

from collections.abc import Collection, Sequence
from typing import Any, Final

from control_api.times import shown
from mta.model.ids import MessageId, delivery_text, message_text
from mta.model.outcomes import Class, Forced, Reply
from mta.model.text import visible
from mta.policy.served_pools import why_it_waits
from mta.ports.messages import DeliveryStatus

_ENDED = {
    Class.DELIVERED: ("DELIVERED", None),
    Class.BOUNCED: ("UNDELIVERABLE", "BOUNCED"),
    Class.EXPIRED: ("UNDELIVERABLE", "EXPIRED"),
    Class.INTERCEPTED: ("UNDELIVERABLE", "INTERCEPTED"),
    Class.CANCELED: ("CANCELED", None),
    Class.HELD: ("HELD", None),
    Class.PARKED: ("HELD", "PARKED"),
}

# What the headline says where recipients differ: the first of these that there is.
_HEADLINE = ("ENQUEUED", "HELD", "DELAYED", "CANCELED", "UNDELIVERABLE", "SENT", "DELIVERED")

STATUSES = tuple(sorted(_HEADLINE))
REASONS = ("BOUNCED", "EXPIRED", "INTERCEPTED", "PARKED", "UNROUTABLE")

_LONGEST: Final = 1024  # characters of a peer's reply as it is shown


def message_record(
    message: MessageId, standings: Sequence[DeliveryStatus], now: int, unserved: Collection[str] = ()
) -> dict[str, Any]:
    """The record of a message of which something is known; what is not known is left out. `now` is Unix ms, `unserved`
    are pools that no worker serves."""
    record = next((standing.record for standing in standings if standing.record is not None), None)
    came = shown(record.accepted_at if record is not None else int.from_bytes(message[:6], "big"))
    recipients = [_recipient(message, standing, came, now) for standing in standings]
    for recipient, standing in zip(recipients, standings, strict=True):
        if standing.state is Class.QUEUED and standing.pool in unserved:
            recipient["waits"] = why_it_waits(standing.pool)
    said = {recipient["status"] for recipient in recipients}
    status = next(word for word in _HEADLINE if word in said)
    found: dict[str, Any] = {"id": message_text(message), "status": status, "accepted_at": came}
    for name in ("tenant", "tags", "sender"):
        found[name] = next((recipient[name] for recipient in recipients if name in recipient), None)
    if status == "CANCELED":
        found["canceled_at"] = max(recipient.get("canceled_at", "") for recipient in recipients)
    if len(recipients) == 1:
        found |= {name: recipients[0].get(name) for name in ("reason", "error")}
    return _known(found) | {"recipients": recipients}


def _recipient(message: MessageId, standing: DeliveryStatus, came: str | None, now: int) -> dict[str, Any]:
    """Untrusted text in it (addresses, replies, properties) is made visible, as in the log."""
    record, final, common = standing.record, standing.final, standing.common
    status, reason = _status(standing, now)
    about, told = common or record, final or record
    reply = _reply(standing)
    ended_at = shown(final.ended_at) if final is not None else None
    properties = told.properties if told is not None else None
    return _known(
        {
            "id": delivery_text(standing.id),
            "message_id": message_text(message),
            "recipient": visible(told.recipient) if told is not None else None,
            "sender": visible(about.sender) if about is not None else None,
            "status": status,
            "reason": reason,
            "error": _error(reply) if reply is not None and status not in ("SENT", "DELIVERED") else None,
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
            "sent_at": ended_at if status == "SENT" else None,
            "delivered_at": ended_at if status == "DELIVERED" else None,
            "cancel_asked_at": shown(standing.asked_at),
            "canceled_at": ended_at if status == "CANCELED" else None,
            "ended_at": ended_at,
            "metadata": {visible(name): visible(value) for name, value in properties.items()} if properties else None,
            "uncertain": standing.uncertain,
        }
    )


def _reply(standing: DeliveryStatus) -> Reply | None:
    if standing.final is None:
        return standing.record.last if standing.record is not None else None
    if standing.final.reply is not None or standing.common is None:
        return standing.final.reply
    return standing.common.reply


def _forced(standing: DeliveryStatus) -> dict[str, Any] | None:
    """The rule that ended it, or that deferred it last."""
    forced: Forced | None = standing.common.forced if standing.common is not None else None
    if forced is not None:
        return {"rule": forced.rule, "generation": forced.generation, "stage": forced.stage.value}
    if standing.record is not None and standing.record.deferred_by:
        return {"rule": standing.record.deferred_by}
    return None


def _status(standing: DeliveryStatus, now: int) -> tuple[str, str | None]:
    """The word, and its reason."""
    record, final = standing.record, standing.final
    if standing.state is Class.QUEUED:
        untried = record is not None and record.attempts == 0
        return ("DELAYED" if untried and standing.due_at > now else "ENQUEUED"), None
    if standing.state is Class.DELIVERED and final is not None and final.relayed:
        return "SENT", None
    if standing.state is Class.BOUNCED and final is not None and final.unroutable:
        return "UNDELIVERABLE", "UNROUTABLE"
    return _ENDED[standing.state]


def _error(reply: Reply) -> dict[str, Any]:
    text = visible(reply.text)[:_LONGEST]
    return _known({"code": reply.code or None, "enhanced": visible(reply.enhanced) or None, "text": text or None})


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
