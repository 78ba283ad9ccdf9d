"""MailerQ's JSON message: one recipient, and fields that nobody knows become properties.

A field that a client may have meant as an order is refused: as a property it would do nothing, and the mail
would leave.
"""

import functools
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from control_api.injection.plan import Plan, Planner, tenant_of
from control_api.schemas.inject_shapes import INJECT, MIME_PARTS, UNSUPPORTED
from control_api.schemas.reading import fields_of
from control_api.schemas.sending_shapes import SEND
from control_api.schemas.sending_values import Addressee, read_metadata
from mta.content.due_time import parse_due
from mta.content.header_names import nearest_of
from mta.model.actor import Actor
from mta.model.errors import BadValue
from mta.model.injection import Injection
from mta.model.units import parse_time

_NULL_SENDER: Final = ""
_NOT_HERE: Final = "is a field of POST /v1/messages, which this message has not; use that call"
_OTHER_NAMES: Final = {  # of other calls and of the injection headers
    "ip": "ips",
    "envelope_from": "envelope",
    "delay": "nextattempt",
    "send_at": "nextattempt",
    "max_age": "maxdelivertime",
}
_OF_OTHER_CALLS: Final = {
    "idempotency_key": "is a header, Idempotency-Key; give it there",
    **{name: _NOT_HERE for name in fields_of(SEND.struct) if name not in fields_of(INJECT.struct)},
}
# Names that do nothing here, or without which nothing is accepted, are known by their letters alone: a slip does no
# harm, and common words are near them (date, form, test, time).
_HARMLESS: Final = {"mime": "mime", **{name: name for name in UNSUPPORTED}, **dict.fromkeys(MIME_PARTS, "mime")}
_MEANT: Final = {
    name: _OTHER_NAMES.get(name, name)
    for name in (*_OTHER_NAMES, *_OF_OTHER_CALLS, *fields_of(INJECT.struct))
    if name not in _HARMLESS
}

_encode: Final = msgspec.json.Encoder().encode


def plan_injected(planner: Planner, fields: Mapping[str, Any], actor: Actor, now_ms: int) -> Plan:
    """Raises BadValue, and Problem 403 and 413."""
    known = fields_of(INJECT.struct)
    given = INJECT.read({name: value for name, value in fields.items() if name in known}, "a field of a message")
    others = {name: _as_text(value) for name, value in fields.items() if name not in known}
    properties = read_metadata(others, "body") or None
    _refuse_mistaken(others)
    asked = Injection(
        tags=given.get("tags") or (),
        pool=given.get("ips") or given.get("pool"),
        due_at=_due_at(given, now_ms),
        expires_at=_expires_at(given, now_ms),
        max_attempts=given.get("maxattempts"),
        retries=given.get("retries") or (),
        simulated=actor.simulates,
        properties=properties,
        tenant=tenant_of({}, actor),
        priority=given.get("priority", 0),
    )
    addressee: Addressee = given["recipient"]
    drafts, places = planner.one(given["mime"], addressee)
    return Plan(given.get("envelope") or _NULL_SENDER, asked, drafts, places)


def _refuse_mistaken(names: Iterable[str]) -> None:
    """Raises BadValue for the first name by which a client may have asked for more than a property."""
    for name in names:
        meant = _meant(name)
        if meant in _OF_OTHER_CALLS:
            raise BadValue(name[:100], f"{_OF_OTHER_CALLS[meant]}, or give the property another name")
        if meant:
            raise BadValue(name[:100], f"did you mean {meant}? Rename or remove it")


@functools.lru_cache(maxsize=1024)
def _meant(name: str) -> str:
    """The name that a client may have meant; "" = none."""
    return _HARMLESS.get(name.lower()) or nearest_of(name, _MEANT)


def _due_at(given: Mapping[str, Any], now_ms: int) -> int | None:
    if "delayed" in given and "nextattempt" in given:
        raise BadValue("delayed", "cannot be combined with nextattempt; give one of them")
    name = "nextattempt" if "nextattempt" in given else "delayed"
    text = given.get(name)
    return None if text is None else parse_due(text, name, now_ms)


def _expires_at(given: Mapping[str, Any], now_ms: int) -> int | None:
    text = given.get("maxdelivertime")
    if text is None:
        return None
    expires_at = parse_time(text, "maxdelivertime", now_ms)
    if expires_at <= max(now_ms, _due_at(given, now_ms) or 0):
        raise BadValue("maxdelivertime", "is not later than now, or than nextattempt; give a later time")
    return expires_at


def _as_text(value: Any) -> Any:
    """A property is a text: other values are kept as JSON."""
    return value if isinstance(value, str) else _encode(value).decode()
