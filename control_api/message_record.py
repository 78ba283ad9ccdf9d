"""One message as the API shows it: a status for each recipient, one word of CONTRACT each, and the headline of all."""

from collections.abc import Sequence
from typing import Any

from control_api.times import shown
from mta.model.ids import MessageId, delivery_text, message_text
from mta.model.outcomes import Class, Reply
from mta.ports.messages import Standing

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


def message_record(message: MessageId, standings: Sequence[Standing], now: int) -> dict[str, Any]:
    """The record of a message of which something is known; what is not known is left out. `now` is Unix ms."""
    recipients = [_recipient(standing, now) for standing in standings]
    said = {recipient["status"] for recipient in recipients}
    status = next(word for word in _HEADLINE if word in said)
    record = next((standing.record for standing in standings if standing.record is not None), None)
    came = record.accepted_at if record is not None else int.from_bytes(message[:6], "big")
    found: dict[str, Any] = {
        "id": message_text(message),
        "status": status,
        "accepted_at": shown(came),
        "tenant": record.tenant or None if record is not None else None,
        "tags": list(record.tags) if record is not None else None,
        "sender": record.sender if record is not None else None,
    }
    if status == "CANCELED":
        found["canceled_at"] = max(recipient.get("canceled_at", "") for recipient in recipients)
    if len(recipients) == 1:
        found |= {name: recipients[0].get(name) for name in ("reason", "error")}
    return _known(found) | {"recipients": recipients}


def _recipient(standing: Standing, now: int) -> dict[str, Any]:
    record, final = standing.record, standing.final
    told = final or record
    status, reason = _status(standing, now)
    reply = final.reply if final is not None else record.last if record is not None else None
    ended_at = shown(final.ended_at) if final is not None else None
    return _known(
        {
            "id": delivery_text(standing.id),
            "recipient": told.recipient if told is not None else None,
            "status": status,
            "reason": reason,
            "error": _error(reply) if reply is not None and status not in ("SENT", "DELIVERED") else None,
            "attempts": record.attempts if record is not None else None,
            "next_attempt": shown(standing.due_at),
            "cancel_asked_at": shown(standing.asked_at),
            "canceled_at": ended_at if status == "CANCELED" else None,
            "ended_at": ended_at,
            "uncertain": standing.uncertain,
        }
    )


def _status(standing: Standing, now: int) -> tuple[str, str | None]:
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
    return _known({"code": reply.code or None, "enhanced": reply.enhanced or None, "text": reply.text or None})


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
