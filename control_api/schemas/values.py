"""The kinds of values that bodies and query strings carry: how each is read, and how it is described."""

import enum
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from control_api.schemas import patterns
from mta.model.errors import BadValue
from mta.model.ids import DeliveryId, delivery_id, parse_id, parse_message_id
from mta.model.mail import QueueKey
from mta.model.text import composed
from mta.model.units import LONGEST_DURATION, parse_duration
from mta.policy.routing import queue_domain
from mta.ports.parked import ParkedPlace
from mta.ports.queue_work import PagePlace, WorkPlace

MAX_TEXT: Final = 400  # bytes: with code and enhanced code it fits the 512 octets of a reply line (RFC 5321 4.5.3.1.5)
MAX_TAG: Final = 128  # bytes
MAX_TAGS: Final = 100  # of one selector
MAX_IDS: Final = 100  # of one order
MAX_LIMIT: Final = 10_000
MAX_IN_SET: Final = 10_000  # rules that one call changes
MAX_MATCHES: Final = 9_999_999_999
LONGEST_WAIT: Final = 600.0  # seconds
LONGEST_STREAM: Final = 24 * 3600.0  # seconds
BLANKS: Final = " \t"  # around a text they do not count, as in a header

_TOKEN = re.compile(r"[0-9a-f]{32}", re.ASCII)
_POOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", re.ASCII)
_ENHANCED = re.compile(r"[245]\.(?:0|[1-9][0-9]{0,2})\.(?:0|[1-9][0-9]{0,2})", re.ASCII)  # RFC 3463 2
_CODE = re.compile(r"[0-9]{3}", re.ASCII)
_DIGITS = re.compile(r"[0-9]{1,11}", re.ASCII)
_UNTAGGABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)

Schema = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Value:
    """One kind of value. `read(value, field)` gives it in its canonical form, or raises BadValue."""

    read: Callable[[Any, str], Any]
    schema: Schema  # JSON Schema, without a description
    hint: str = ""  # the fix that an error names where the value is missing
    repeats: bool = False  # a form or a query string may give it several times


def a_text(pattern: str, **more: Any) -> Schema:
    """The schema of a text that the pattern matches as a whole."""
    return {"type": "string", "pattern": f"^({pattern})$", **more}


def optional(schema: Schema) -> Schema:
    """The schema, or null."""
    if "anyOf" in schema:
        return schema | {"anyOf": [*schema["anyOf"], {"type": "null"}]}
    found = schema | {"type": [schema["type"], "null"]}
    return found | ({"enum": [*schema["enum"], None]} if "enum" in schema else {})


def code_schema(first: str) -> Schema:
    """The schema of codes that begin with one of these digits, as a number or as text."""
    low, high = int(first[0]) * 100, int(first[-1]) * 100 + 99
    return {"anyOf": [{"type": "integer", "minimum": low, "maximum": high}, a_text(f"[{first}][0-9]{{2}}")]}


def choice(words: type[enum.StrEnum] | tuple[str, ...], otherwise: str = "is none of") -> Value:
    """One of these words; `otherwise` says before them that a value is none."""
    allowed = [str(word) for word in words]

    def read(value: Any, field: str) -> Any:
        if not isinstance(value, str) or value not in allowed:
            raise BadValue(field, f"{otherwise} {', '.join(allowed)}")
        return words(value) if isinstance(words, type) else value

    return Value(read, {"type": "string", "enum": allowed})


def several(of: Value) -> Value:
    """A parameter that may repeat."""

    def read(values: Any, field: str) -> tuple[Any, ...]:
        return tuple(of.read(value, field) for value in values)

    return Value(read, {"type": "array", "items": of.schema}, repeats=True)


def selector(of: Value) -> Value:
    """A selector; `*` as a whole value means that it is absent."""

    def read(value: Any, field: str) -> Any:
        value = value.strip(BLANKS) if isinstance(value, str) else value
        if value == "*":
            return None
        if not isinstance(value, str) or not value:
            raise BadValue(field, "is not a text of at least one character; leave the field out to match anything")
        return of.read(value, field)

    pattern = of.schema["pattern"][2:-2]
    return Value(read, a_text(f"{pattern}|{patterns.ANYTHING}"))


def _read_flag(value: Any, field: str) -> bool:
    if isinstance(value, str):
        value = {"true": True, "1": True, "false": False, "0": False}.get(value.lower())
    if not isinstance(value, bool):
        raise BadValue(field, "is neither true nor false")
    return value


def _read_code(value: Any, field: str) -> int:
    """A whole number or its three digits, 200 to 299 or 400 to 599."""
    code = _whole_number(value, _CODE)
    if code is None or not (200 <= code <= 299 or 400 <= code <= 599):
        raise BadValue(field, f"is not an SMTP code; {_CODES}")
    return code


def _whole_number(value: Any, digits: re.Pattern[str]) -> int | None:
    """A number, or text that `digits` matches; None: it is neither. 550.0 is a whole number in JSON."""
    if isinstance(value, str):
        return int(value) if digits.fullmatch(value) else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _read_enhanced(value: Any, field: str) -> str:
    if not isinstance(value, str) or not _ENHANCED.fullmatch(value):
        raise BadValue(field, 'is not an enhanced status code; give x.y.z, such as "5.7.1"')
    return value


def read_line(value: Any, field: str) -> str:
    """SMTP replies and logs show it, so it holds only what prints: no CR, LF, NUL, controls, bidi marks (S: A10)."""
    if not isinstance(value, str) or not value.isprintable():
        raise BadValue(field, "is not one line of printable text; remove control, bidirectional and line characters")
    if len(value.encode()) > MAX_TEXT:
        raise BadValue(field, f"is longer than {MAX_TEXT} bytes of UTF-8")
    return value


def _read_moment(value: Any, field: str) -> str:
    """The text as it was given: only an order knows from when "+30m" counts."""
    if not isinstance(value, str):
        raise BadValue(field, 'is not a time; give RFC 3339, such as "2030-01-31T12:00:00Z"')
    return value


def _read_duration(value: Any, field: str) -> float:
    """Seconds, more than 0."""
    seconds = parse_duration(value, field)
    if not 0 < seconds <= LONGEST_DURATION:
        raise BadValue(field, f"must be more than 0 and at most {LONGEST_DURATION} s")
    return seconds


def _wait(longest: float) -> Callable[[Any, str], float]:
    def read(value: Any, field: str) -> float:
        seconds = parse_duration(value, field)
        if seconds > longest:
            raise BadValue(field, f"is longer than {longest:g} s")
        return seconds

    return read


def _read_most(value: Any, field: str) -> int:
    """A whole number, or its digits."""
    most = _whole_number(value, _DIGITS)
    if most is None or not 0 <= most <= MAX_MATCHES:
        raise BadValue(field, f"is not a whole number from 0 to {MAX_MATCHES}")
    return most


def _read_token(value: Any, field: str) -> str:
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise BadValue(field, "is not a token of a preview; take it from the answer of POST /v1/errors/preview")
    return value


def _read_limit(value: Any, field: str) -> int:
    if value.isascii() and value.isdigit() and len(value) < 6 and 1 <= int(value) <= MAX_LIMIT:
        return int(value)
    raise BadValue(field, f"is not a whole number from 1 to {MAX_LIMIT}")


def _read_cursor(value: Any, field: str) -> tuple[str, ...]:
    """The key that `cursor_of` was given."""
    key = tuple(value.split("~"))
    if len(key) != 2 or not all(part.isascii() and part.isprintable() and part for part in key):
        raise BadValue(field, NO_CURSOR)
    return key


def _read_waiting_cursor(value: Any, field: str) -> PagePlace:
    """A place in the list of waiting mail."""
    if not isinstance(value, str) or not _WAITING_CURSOR.fullmatch(value):
        raise BadValue(field, NO_CURSOR)
    pool, domain, due_at, id_ = value.rsplit("~", 3)
    return PagePlace(QueueKey(pool, domain), int(due_at), bytes.fromhex(id_))


def waiting_cursor_of(place: PagePlace) -> str:
    """A cursor that stands there."""
    return "~".join((*place.queue, str(place.due_at), place.id.hex()))


def _read_work_cursor(value: Any, field: str) -> WorkPlace:
    """How far work on waiting mail has come."""
    if not isinstance(value, str) or not _WORK_CURSOR.fullmatch(value):
        raise BadValue(field, NO_CURSOR)
    lane, held, cursor, name = value.split("~", 3)
    return WorkPlace(int(lane), held == "1", name, int(cursor))


def work_cursor_of(place: WorkPlace) -> str:
    """A cursor that stands there."""
    return f"{place.lane}~{place.held:d}~{place.cursor}~{place.name}"


def _read_parked_cursor(value: Any, field: str) -> ParkedPlace:
    """A place in the list of parked mail."""
    if not isinstance(value, str) or not _PARKED_CURSOR.fullmatch(value):
        raise BadValue(field, NO_CURSOR)
    since, id_ = value.split("~")
    return ParkedPlace(int(since), bytes.fromhex(id_))


def parked_cursor_of(place: ParkedPlace) -> str:
    """A cursor that stands there."""
    return f"{place.since}~{place.id.hex()}"


def _read_deliveries(value: Any, field: str) -> frozenset[DeliveryId]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_IDS or not all(isinstance(one, str) for one in items):
        raise BadValue(field, f"is not a list of 1 to {MAX_IDS} delivery ids; give <message id>.<n>")
    found = [parse_id(one) for one in items]
    for (_, number), text in zip(found, items, strict=True):
        if not number:
            raise BadValue(field, f"{text!r} is the id of a message; give <message id>.<number of the recipient>")
    return frozenset(delivery_id(*one) for one in found)


def cursor_of(*key: str) -> str:
    """An opaque cursor that stands behind the item with this key of two parts; `~` is in no part of a key."""
    return "~".join(key)


def _read_pool(value: Any, field: str) -> str:
    """A pool's name, or `@<ip>`."""
    name = value.strip(BLANKS) if isinstance(value, str) else ""
    if name.startswith("@"):
        return "@" + _read_ip(name[1:], field)
    if not _POOL.fullmatch(name):
        raise BadValue(field, "is not a pool; give 1 to 63 letters, digits, _ and -, or @<ip>")
    return name


def read_domain(value: str, field: str) -> str:
    """Lower-case A-labels."""
    name = a_labels(value.strip(BLANKS), field)
    if not name.startswith("[") and not _is_domain(name):
        raise BadValue(field, _NO_DOMAIN)
    return name


def read_domains(value: str, field: str) -> str:
    """Lower-case A-labels, with or without `*.` before them."""
    value = value.strip(BLANKS)
    if not value.startswith("*."):
        return read_domain(value, field)
    name = a_labels(value[2:], field)
    if not _is_domain(name):
        raise BadValue(field, _NO_DOMAIN)
    return "*." + name


def a_labels(value: str, field: str) -> str:
    try:
        return queue_domain(value)
    except BadValue as bad:
        raise BadValue(field, bad.reason) from None


def _is_domain(name: str) -> bool:
    return all(_LABEL.fullmatch(label) for label in name.split("."))


def _read_hosts(value: str, field: str) -> str:
    if "[" in value:
        raise BadValue(field, "is an address; give it as ip")
    return read_domains(value, field)


def _read_ip(value: str, field: str) -> str:
    try:
        address = ipaddress.ip_address(value)
        if getattr(address, "scope_id", None) is None:
            return str(address)
    except ValueError:
        pass
    raise BadValue(field, "is not an IP address")


def _name(kind: str) -> Callable[[Any, str], str]:
    """1 to 128 bytes of UTF-8 without control characters: a rule must be able to name each tag that intake took. The
    blanks around it do not count, and it is in NFC, as intake reads an injection header."""

    def read(value: Any, field: str) -> str:
        name = value.strip(BLANKS) if isinstance(value, str) else ""
        name = composed(name) if len(name) <= 4 * MAX_TAG else name
        if _UNTAGGABLE.search(name) or not 1 <= len(name.encode()) <= MAX_TAG:
            raise BadValue(field, f"is not {kind}; give 1 to {MAX_TAG} bytes of UTF-8 without control characters")
        return name

    return read


def listed(items: Schema, noun: str, most: int) -> Value:
    """A list of at most `most` items, which somebody else reads."""

    def read(value: Any, field: str) -> list[Any]:
        if not isinstance(value, list):
            raise BadValue(field, f"is not a list of {noun}")
        if len(value) > most:
            raise BadValue(field, f"has {len(value)} {noun}; give at most {most} in one call")
        return value

    return Value(read, {"type": "array", "items": items, "maxItems": most})


def _read_tags(value: Any, field: str) -> tuple[str, ...] | None:
    """Sorted and each once, so that the order in which they are given makes no other rule."""
    if value in ("*", ["*"]):
        return None
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not items or len(items) > MAX_TAGS:
        raise BadValue(field, f"is not a list of 1 to {MAX_TAGS} tags; leave the field out to match anything")
    for item in items:
        if not isinstance(item, str):
            raise BadValue(field, "holds something that is not a text; give a list of tags")
    return tuple(sorted({TAG.read(item, field) for item in items}))


_CODES: Final = "give 400 to 599, or 200 to 299 to discard"
NO_CURSOR: Final = "is not a cursor of this list; take it from the answer before"
_WAITING_CURSOR: Final = re.compile(patterns.WAITING_CURSOR)
_PARKED_CURSOR: Final = re.compile(patterns.PARKED_CURSOR)
_WORK_CURSOR: Final = re.compile(patterns.WORK_CURSOR)
_NO_DOMAIN: Final = 'is not a domain; give "example.com", or "*.example.com" for its subdomains'
_TAG_LIST: Final = {"type": "array", "items": a_text(patterns.LABEL), "minItems": 1, "maxItems": MAX_TAGS}
_LONG: Final = {"type": "integer", "minimum": 1, "maximum": LONGEST_DURATION}

FLAG = Value(_read_flag, {"anyOf": [{"type": "boolean"}, a_text(patterns.FLAG)]}, "give true or false")
CODE = Value(_read_code, {"anyOf": [*code_schema("2")["anyOf"], *code_schema("45")["anyOf"]]}, _CODES)
ENHANCED = Value(_read_enhanced, a_text("[245]" + patterns.ENHANCED_TAIL))
LINE = Value(read_line, a_text(patterns.LINE, maxLength=MAX_TEXT))
MOMENT = Value(_read_moment, a_text(patterns.MOMENT))
DURATION = Value(_read_duration, {"anyOf": [a_text(patterns.DURATION), _LONG]})

POOL = Value(_read_pool, a_text(patterns.POOL), "give a pool")
DOMAIN = Value(read_domain, a_text(patterns.DOMAIN))
SITE = Value(_name("a site"), a_text(patterns.LABEL), "give a site")
DOMAINS = Value(read_domains, a_text(patterns.DOMAIN_OR_BELOW))
TAG = Value(_name("a tag"), a_text(patterns.LABEL), "give a tag")

ONE_POOL = selector(POOL)
ONE_ADDRESS = selector(Value(_read_ip, a_text(patterns.ADDRESS)))
ONE_QUEUE = selector(DOMAIN)
ONE_HOST = selector(Value(_read_hosts, a_text(patterns.DOMAIN_OR_BELOW)))
ONE_TAG = selector(TAG)
ONE_SITE = selector(SITE)
ONE_TENANT = selector(Value(_name("a tenant"), a_text(patterns.LABEL)))
TAGS = Value(_read_tags, {"anyOf": [_TAG_LIST, a_text(f"{patterns.LABEL}|{patterns.ANYTHING}")]}, repeats=True)

MOST = Value(_read_most, {"anyOf": [{"type": "integer", "minimum": 0, "maximum": MAX_MATCHES}, a_text("[0-9]{1,10}")]})
PREVIEW_TOKEN = Value(_read_token, a_text("[0-9a-f]{32}"))

LIMIT = Value(_read_limit, {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT})
RULE_CURSOR = Value(_read_cursor, a_text(patterns.RULE_CURSOR))
QUEUE_CURSOR = Value(_read_cursor, a_text(patterns.QUEUE_CURSOR))
WAITING_CURSOR = Value(_read_waiting_cursor, a_text(patterns.WAITING_CURSOR))
WORK_CURSOR = Value(_read_work_cursor, a_text(patterns.WORK_CURSOR))
ANY_ID = Value(lambda value, field: parse_id(value), a_text(patterns.MESSAGE_ID + patterns.DELIVERY_TAIL))
PARKED_CURSOR = Value(_read_parked_cursor, a_text(patterns.PARKED_CURSOR))
DELIVERIES = Value(
    _read_deliveries,
    {"type": "array", "items": a_text(patterns.DELIVERY_ID), "minItems": 1, "maxItems": MAX_IDS},
    repeats=True,
)
MESSAGE_ID = Value(lambda value, field: parse_message_id(value), a_text(patterns.MESSAGE_ID))
WAIT = Value(_wait(LONGEST_WAIT), a_text(patterns.WAIT))
STREAM_TIME = Value(_wait(LONGEST_STREAM), a_text(patterns.DURATION))
