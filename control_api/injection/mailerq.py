"""MailerQ's JSON message: one recipient, and fields that nobody knows become properties."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from control_api.injection.plan import Plan, Planner, tenant_of
from control_api.schemas.inject_shapes import INJECT
from control_api.schemas.reading import fields_of
from control_api.schemas.sending_values import Addressee, read_metadata
from mta.content.injection_headers import MAX_PAST
from mta.model.actor import Actor
from mta.model.errors import BadValue
from mta.model.injection import Injection
from mta.model.units import parse_time

_NULL_SENDER: Final = ""

_encode: Final = msgspec.json.Encoder().encode


def plan_injected(planner: Planner, fields: Mapping[str, Any], actor: Actor, now_ms: int) -> Plan:
    """Raises BadValue, and Problem 403 and 413."""
    known = fields_of(INJECT.struct)
    given = INJECT.read({name: value for name, value in fields.items() if name in known}, "a field of a message")
    others = {name: _as_text(value) for name, value in fields.items() if name not in known}
    asked = Injection(
        tags=given.get("tags") or (),
        pool=given.get("ips") or given.get("pool"),
        due_at=_due_at(given, now_ms),
        expires_at=_expires_at(given, now_ms),
        max_attempts=given.get("maxattempts"),
        retries=given.get("retries") or (),
        simulated=actor.simulates,
        properties=read_metadata(others, "body") or None,
        tenant=tenant_of({}, actor),
        priority=given.get("priority", 0),
    )
    addressee: Addressee = given["recipient"]
    drafts, places = planner.one(given["mime"], addressee)
    return Plan(given.get("envelope") or _NULL_SENDER, asked, drafts, places)


def _due_at(given: Mapping[str, Any], now_ms: int) -> int | None:
    name = "nextattempt" if "nextattempt" in given else "delayed"
    text = given.get(name)
    if text is None:
        return None
    due_at = parse_time(text, name, now_ms)
    if due_at < now_ms - MAX_PAST * 1000:
        raise BadValue(name, f"is more than {MAX_PAST // 60} minutes past; leave it out to send the message at once")
    return due_at


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
