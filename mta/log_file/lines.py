"""Events as lines of the delivery log: JSON with the contract's keys in the contract's order."""

import struct
import time
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec.structs import astuple, fields, replace

from mta.model.events import NOT_OFFERED, Event, EventType
from mta.model.ids import MessageId, message_text
from mta.model.json_lines import json_lines
from mta.model.outcomes import Stage

VERSION = 1


# The contract's order: these, then the other fields of Event in the order in which they stand there, then the last.
_FIRST: Final = ("v", "time", "event", "type", "id", "message_id", "node", "tenant")
_EVENT_FIELDS: Final = {field.name: field for field in fields(Event)}
_LAST: Final = ("seq", "fault", "actor", "route", "uncertain", "sent_at", "delivered_at", "topic")
_LEFT_OUT: Final = ("dialogue", "tls_failed")  # GET /v1/messages/{id}/history has the dialogue; `tls` has the failure
_REST: Final = (*(name for name in _EVENT_FIELDS if name not in (*_FIRST, *_LAST, *_LEFT_OUT)), *_LAST)
_DELIVERY, _LATE_OUTCOME = EventType.DELIVERY, EventType.LATE_OUTCOME  # a look-up at the class takes ten times as long
_IN_WORDS: Final = ("queued_at", "next_attempt")  # times: Unix milliseconds in an event


class _Forced(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    rule: str
    generation: int
    stage: Stage | None = None
    by: str = ""


def _default(name: str) -> Any:
    """A key with its default is left out. A sender of "" is the null sender; None: there is none."""
    as_text = name in ("id", "actor", "topic", *_IN_WORDS) or name not in _EVENT_FIELDS
    return "" if as_text else _EVENT_FIELDS[name].default


_Line: Any = msgspec.defstruct(
    "_Line",
    [*((name, Any) for name in _FIRST[:4]), *((name, Any, _default(name)) for name in (*_FIRST[4:], *_REST))],
    frozen=True,
    omit_defaults=True,
    gc=False,
)
# Fields that are taken as they stand in an event: those before the values that are made here, and those behind them.
_NAMES: Final = tuple(_EVENT_FIELDS)
_BEFORE: Final = slice(_NAMES.index("tags"), _NAMES.index("forced"))
_BEHIND: Final = slice(_NAMES.index("duration_ms"), _NAMES.index("tenant"))

_parts = struct.Struct(">16sH").unpack  # of a delivery id


def log_lines(events: Iterable[tuple[str, Event]]) -> bytes:
    """(event id, event) as JSON objects, each with its line end. A hundred at a time cost half of the time that they
    cost one by one."""
    return json_lines([_line(event_id, event) for event_id, event in events])


def _line(event_id: str, event: Event) -> Any:
    id_ = message_id = ""
    if event.properties is not None and not event.properties:
        event = replace(event, properties=None)
    if event.tls_failed and not event.tls:
        event = replace(event, tls={"offered": event.tls_failed != NOT_OFFERED, "failed": event.tls_failed})
    if event.id is not None:
        message, number = _parts(event.id)
        message_id = message_text(MessageId(message))
        id_ = f"{message_id}.{number}"
    facts, forced, queued_at, next_attempt = astuple(event), event.forced, event.queued_at, event.next_attempt
    return _Line(
        VERSION,
        _rfc3339(event.time),
        event_id,
        event.type,
        id_,
        message_id,
        event.node,
        event.tenant,
        *facts[_BEFORE],
        _Forced(*forced) if forced is not None else None,
        event.size,
        _rfc3339(queued_at) if queued_at else "",
        _rfc3339(next_attempt) if next_attempt else "",
        *facts[_BEHIND],
        event.seq,
        event.fault,
        event.actor,
        event.route,
        event.uncertain,
        *_delivered(event),
        event.topic,
    )


def _delivered(event: Event) -> tuple[str, str]:
    """When a relay took the delivery, and when the recipient's own host did; "" = not."""
    if event.type is not _DELIVERY and not (event.type is _LATE_OUTCOME and 200 <= event.code < 300):
        return "", ""
    at = _rfc3339(event.time)
    return (at, "") if event.relayed else ("", at)


@lru_cache(maxsize=512)
def _rfc3339(ms: int) -> str:
    return f"{_second(ms // 1000)}.{ms % 1000:03d}Z"


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
