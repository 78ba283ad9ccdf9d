"""The description of messages (OpenAPI 3.1)."""

from control_api.description.fields import Schema
from control_api.description.words import (
    COUNT,
    FLAG,
    MESSAGE,
    TEXT,
    TIME,
    WAIT,
    a_list,
    an_answer,
    an_object,
    an_operation,
    answers,
    ref,
)
from control_api.messages.record import REASONS, STATUSES

_STATUS: Schema = {"type": "string", "enum": list(STATUSES)}
_REASON: Schema = {"type": "string", "enum": list(REASONS)}
_SAID = an_object({"code": {"type": "integer"}, "enhanced": TEXT, "text": TEXT}, [])
_RECIPIENT: Schema = {
    "id": TEXT,
    "message_id": TEXT,
    "recipient": TEXT,
    "sender": TEXT,
    "status": _STATUS,
    "reason": _REASON,
    "error": _SAID,
    "forced": an_object({"rule": TEXT, "generation": COUNT, "stage": TEXT}, ["rule"]),
    "tags": a_list(TEXT),
    "tenant": TEXT,
    "pool": TEXT,
    "mta": TEXT,
    "mx": TEXT,
    "attempts": COUNT,
    "next_attempt": TIME,
    "accepted_at": TIME,
    "sent_at": TIME,
    "delivered_at": TIME,
    "metadata": {"type": "object", "additionalProperties": TEXT},
    "cancel_asked_at": TIME,
    "canceled_at": TIME,
    "ended_at": TIME,
    "uncertain": FLAG,
    "waits": TEXT,
}
_RECORD: Schema = {
    "id": TEXT,
    "status": _STATUS,
    "reason": _REASON,
    "error": _SAID,
    "accepted_at": TIME,
    "canceled_at": TIME,
    "effective_by": TIME,
    "tenant": TEXT,
    "tags": a_list(TEXT),
    "sender": TEXT,
    "recipients": a_list(an_object(_RECIPIENT, ["id", "status"])),
}


def schemas() -> Schema:
    """What answers about messages are made of."""
    return {"Message": an_object(_RECORD, ["id", "status", "accepted_at", "recipients"])}


def paths() -> Schema:
    """Every path of theirs."""
    record = ref("Message")
    once = {"x-should-retry": {"description": "false", "schema": TEXT}}
    return {
        "/v1/messages/{id}": {
            "parameters": [MESSAGE],
            "get": an_operation(
                "One message, with the status of each recipient",
                answers("404", _200=an_answer(record, "the record")),
            ),
        },
        "/v1/messages/{id}/cancel": {
            "parameters": [MESSAGE],
            "post": an_operation(
                "Cancel one message; may be repeated",
                answers(
                    "404",
                    "408",
                    "413",
                    "415",
                    _200=an_answer(record, "canceled for at least one recipient, now or before; no other is under way"),
                    _202=an_answer(record, "a worker that holds some of it has not answered yet"),
                    _409=an_answer(record, "all of it has ended otherwise", once),
                ),
                [WAIT],
            ),
        },
    }
