"""MailerQ's JSON message as requests describe it (POST /v1/inject)."""

import ipaddress
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from control_api.schemas import patterns, sending_values, values
from control_api.schemas.reading import Body
from control_api.schemas.sending_values import check_names_in, read_addressee
from control_api.schemas.values import Schema, Value, a_text
from mta.content.injection_headers import MAX_PROPERTIES, MAX_RETRIES
from mta.model.errors import BadValue

_MOST_ATTEMPTS: Final = 999_999
_LONGEST_RETRY: Final = 30 * 86400  # seconds


def _read_recipient(value: Any, field: str) -> sending_values.Addressee:
    if not isinstance(value, str):
        raise BadValue(field, "is not an address; write local-part@domain")
    return read_addressee(value.strip().removeprefix("<").removesuffix(">"), field)


def _read_mime(value: Any, field: str) -> str | dict[str, Any]:
    """The whole message, or its parts as fields of POST /v1/messages."""
    if isinstance(value, dict):
        check_names_in(field, value, MIME_PARTS, "a part of a message that is taken here")
        return value
    if not isinstance(value, str) or not value:
        raise BadValue(field, "is not a message; give MIME as a text, or an object with from, to, subject, text, html")
    text: str = sending_values.TEXT.read(value, field)
    return text


def _read_ips(value: Any, field: str) -> str:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not items:
        raise BadValue(field, "is not a list of IP addresses; leave it out to send from the pool")
    if len(items) > 1:
        raise BadValue(field, "names several addresses; make them a pool and name it")
    try:
        return f"@{ipaddress.ip_address(items[0]).compressed}"
    except ValueError:
        raise BadValue(f"{field}[0]", "is not an IP address") from None


def _read_time(value: Any, field: str) -> str:
    """As it was given: a time counts from when the call came. An object may have it as `time`."""
    if isinstance(value, dict):
        check_names_in(field, value, ("time",), "a field of a time")
        value = value.get("time")
    if not isinstance(value, str):
        raise BadValue(field, 'is not a time; give "YYYY-MM-DD HH:MM:SS" in UTC')
    return value


def _read_attempts(value: Any, field: str) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST_ATTEMPTS:
        raise BadValue(field, "is not a number of attempts (0 = no limit)")
    return value


def _read_retries(value: Any, field: str) -> tuple[int, ...]:
    items = value if isinstance(value, list) else [value]
    if len(items) > MAX_RETRIES:
        raise BadValue(field, f"has more than {MAX_RETRIES} intervals")
    for one in items:
        if not isinstance(one, int | float) or isinstance(one, bool) or not 1 <= one <= _LONGEST_RETRY:
            raise BadValue(field, "is not a list of seconds, each 1 to 30 days")
    return tuple(int(one) for one in items)


def _read_off(value: Any, field: str) -> None:
    """A field of a feature that Floodgate has not: it can only be switched off."""
    if value not in (False, [], {}, ""):
        raise BadValue(field, "is not supported; leave it out")


MIME_PARTS: Final = frozenset({"from", "to", "cc", "reply_to", "subject", "text", "html", "headers", "attachments"})
_MIME_OBJECT: Final[Schema] = {
    "type": "object",
    "properties": {
        "from": a_text(patterns.RECIPIENT),
        "to": a_text(patterns.RECIPIENT),
        "subject": a_text("[ -~]{0,100}"),
        "text": {"type": "string", "pattern": "^[ -~\\n]*$"},
        "html": {"type": "string", "pattern": "^[ -~\\n]*$"},
    },
    "required": ["from", "subject", "text"],
    "additionalProperties": False,
}
_MIME_TEXT: Final = a_text("Subject: [ -~]{0,60}\\r\\n\\r\\n[ -~]{0,60}\\r\\n")

_RECIPIENT = Value(_read_recipient, a_text(patterns.RECIPIENT), "give an address")
_MIME = Value(_read_mime, {"anyOf": [_MIME_TEXT, _MIME_OBJECT]}, "give the message as MIME")
_IPS = Value(_read_ips, {"type": "array", "items": a_text(patterns.ADDRESS), "minItems": 1, "maxItems": 1})
_TIME = Value(_read_time, a_text("203[0-5]-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8]) ([01][0-9]|2[0-3]):[0-5][0-9]:00"))
_ATTEMPTS = Value(_read_attempts, {"type": "integer", "minimum": 0, "maximum": _MOST_ATTEMPTS})
_RETRIES = Value(
    _read_retries,
    {
        "type": "array",
        "items": {"type": "integer", "minimum": 1, "maximum": _LONGEST_RETRY},
        "maxItems": MAX_RETRIES,
    },
)
_OFF = Value(_read_off, {"type": "boolean", "enum": [False]})


class InjectBody(Struct, kw_only=True, frozen=True):
    """One message to one recipient."""

    recipient: Annotated[sending_values.Addressee, _RECIPIENT, Meta(description="envelope recipient")]
    mime: Annotated[str | dict[str, Any], _MIME, Meta(description="the message as MIME, or an object with its parts")]
    envelope: Annotated[
        str | None, sending_values.ENVELOPE, Meta(description="envelope sender; absent: the null sender")
    ] = None
    pool: Annotated[str | None, values.POOL, Meta(description="IP pool; not read where ips is given")] = None
    ips: Annotated[str | None, _IPS, Meta(description="the sending IP")] = None
    tags: Annotated[tuple[str, ...] | None, sending_values.TAGS, Meta(description="labels; at most 64")] = None
    nextattempt: Annotated[
        str | None, _TIME, Meta(description="time of the first attempt, UTC; also as an object with time")
    ] = None
    delayed: Annotated[str | None, _TIME, Meta(description="an older name of nextattempt")] = None
    maxdelivertime: Annotated[str | None, _TIME, Meta(description="time after which delivery is given up, UTC")] = None
    maxattempts: Annotated[int | None, _ATTEMPTS, Meta(description="0 = no limit")] = None
    retries: Annotated[
        tuple[int, ...] | None, _RETRIES, Meta(description="seconds between attempts; the last repeats")
    ] = None
    priority: Annotated[int | None, sending_values.PRIORITY, Meta(description="class: 0 (bulk, default) to 2")] = None
    key: Annotated[None, _OFF, Meta(description="not supported: give the message as mime")] = None
    data: Annotated[None, _OFF, Meta(description="not supported")] = None
    keepmime: Annotated[None, _OFF, Meta(description="not supported")] = None
    inlinecss: Annotated[None, _OFF, Meta(description="not supported")] = None
    force: Annotated[None, _OFF, Meta(description="not supported")] = None
    dkim: Annotated[None, _OFF, Meta(description="not supported: keys are those of the cluster (/v1/dkim)")] = None
    dsn: Annotated[None, _OFF, Meta(description="not supported")] = None
    queues: Annotated[None, _OFF, Meta(description="not supported")] = None
    smarthost: Annotated[None, _OFF, Meta(description="not supported: routes are in the settings")] = None
    headers: Annotated[None, _OFF, Meta(description="not supported: write them into mime")] = None


INJECT = Body(
    "InjectedMessage",
    InjectBody,
    json_only=True,
    others={"type": "string", "pattern": "^[ -~]{0,200}$"},
    most_others=MAX_PROPERTIES,
)
# Fields of features that Floodgate has not, except one whose value may be a secret.
UNSUPPORTED: Final = frozenset(name for name, field in INJECT.fields().items() if field.value is _OFF) - {"smarthost"}
