"""One event as one line of the delivery log: JSON with the contract's keys in the contract's order."""

import time
from functools import lru_cache
from typing import Any

import orjson

from mta.model.events import Event
from mta.model.ids import message_of, message_text
from mta.model.text import visible

VERSION = 1


def log_line(event_id: str, event: Event) -> bytes:
    """The JSON object without line end. What no reader could see or take as one line is escaped visibly."""
    fields = _fields(event_id, event)
    try:
        line = orjson.dumps(fields)
    except orjson.JSONEncodeError:  # a lone surrogate
        return orjson.dumps(_visible(fields))
    # JSON escapes what is dangerous, other than DEL and what is not ASCII: without those nothing is to be made visible.
    if line.isascii() and b"\\" not in line and b"\x7f" not in line:
        return line
    return orjson.dumps(_visible(fields))


def _fields(event_id: str, event: Event) -> dict[str, Any]:
    fields: dict[str, Any] = {"v": VERSION, "time": _rfc3339(event.time), "event": event_id, "type": event.type.value}
    if event.id is not None:
        message = message_text(message_of(event.id))
        fields["id"] = f"{message}.{int.from_bytes(event.id[16:], 'big')}"
        fields["message_id"] = message
    value: Any
    for key, value in (
        ("node", event.node),
        ("tenant", event.tenant),
        ("tags", event.tags),
        ("pool", event.pool),
        ("mta", event.mta),
    ):
        if value:
            fields[key] = value
    if event.sender is not None:  # "" is the null sender
        fields["sender"] = event.sender
    for key, value in (
        ("recipient", event.recipient),
        ("domain", event.domain),
        ("attempt", event.attempt),
        ("mx", event.mx),
        ("remote_ip", event.remote_ip),
        ("tls", event.tls),
        ("code", event.code),
        ("enhanced", event.enhanced),
        ("text", event.text),
    ):
        if value:
            fields[key] = value
    if event.origin is not None:
        fields["origin"] = event.origin.value
    if event.category:
        fields["category"] = event.category
    if event.reason:
        fields["reason"] = event.reason
    if event.forced is not None:
        rule, generation, stage = event.forced
        fields["forced"] = {"rule": rule, "generation": generation, "stage": stage.value}
    if event.size:
        fields["size"] = event.size
    if event.queued_at:
        fields["queued_at"] = _rfc3339(event.queued_at)
    if event.next_attempt:
        fields["next_attempt"] = _rfc3339(event.next_attempt)
    if event.duration_ms is not None:
        fields["duration_ms"] = event.duration_ms
    if event.client:
        fields["client"] = event.client
    if event.properties:
        fields["properties"] = event.properties
    return fields


def _visible(value: Any) -> Any:
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {visible(key): _visible(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_visible(item) for item in value]
    return value


def _rfc3339(ms: int) -> str:
    return f"{_second(ms // 1000)}.{ms % 1000:03d}Z"


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
