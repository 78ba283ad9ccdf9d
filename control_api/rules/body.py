"""A forced error or a pause as a request describes it, each value checked before it is stored."""

import enum
import ipaddress
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import msgspec

from mta.model.errors import BadValue
from mta.model.rules import AtTheDoor, InFlight, Kind, Rule, Selectors
from mta.model.text import composed
from mta.model.units import parse_duration, parse_time
from mta.policy.routing import queue_domain

MAX_TEXT = 400  # bytes: with code and enhanced code it fits the 512 octets of a reply line (RFC 5321 4.5.3.1.5)
MAX_TAG = 128  # bytes

MAX_TAGS = 100  # of one selector
BLANKS = " \t"  # around a text they do not count, as in a header
MAX_DURATION = 10 * 365 * 86400.0  # seconds

LISTS = frozenset({"tags_all", "except_tags"})
_SELECTORS = ("pool", "mta", "domain", "ip", "mx", "tag", "tenant")
_EXCLUSIVE = (("pool", "mta"), ("domain", "ip"), ("domain", "mx"), ("ip", "mx"))
_IDENTITY = frozenset({*_SELECTORS, *LISTS, "cluster", "everything"})
_SHARED = frozenset({"reason", "enabled", "expires_at", "duration", "in_flight"})
_ENDING = frozenset({"code", "extended", "description", "at_the_door", "undo"})  # what is about mail that ends
_EDITABLE = {Kind.ERROR: _SHARED | _ENDING, Kind.PAUSE: _SHARED | {"expire"}}
NOUNS = {Kind.ERROR: "forced error", Kind.PAUSE: "pause"}

_Choice = TypeVar("_Choice", bound=enum.StrEnum)

_POOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", re.ASCII)
_EXTENDED = re.compile(r"([245])\.(?:0|[1-9][0-9]{0,2})\.(?:0|[1-9][0-9]{0,2})", re.ASCII)  # RFC 3463 2
_CODE = re.compile(r"[0-9]{3}", re.ASCII)
_UNTAGGABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)


def check_fields(fields: Mapping[str, Any], kind: Kind = Kind.ERROR) -> None:
    """Raises BadValue for the first field that no rule of that kind has."""
    _check(fields, rule_fields(kind), f"is not a field of a {NOUNS[kind]}", kind)


def rule_fields(kind: Kind) -> frozenset[str]:
    """The names of all fields that a rule of that kind has."""
    return _IDENTITY | _EDITABLE[kind]


def _check(fields: Mapping[str, Any], known: Collection[str], otherwise: str, kind: Kind) -> None:
    for name in fields:
        if name not in known and kind is Kind.PAUSE and name in _ENDING:
            raise BadValue(name, "is not for a pause: it holds mail and answers nothing; a forced error has it")
        if name not in known:
            raise BadValue(name[:100], f"{otherwise}; there are {', '.join(sorted(known))}")


def read_rule(fields: Mapping[str, Any], node: str, now: int, kind: Kind = Kind.ERROR) -> Rule:
    """The rule, without id and history; `node` is what `cluster: false` binds it to, `now` (Unix ms) what `duration`
    counts from. Raises BadValue."""
    check_fields(fields, kind)
    given = _changes(fields, now)
    if kind is Kind.ERROR:
        given["code"] = read_code(fields.get("code"))
        given["extended"] = _extended(fields.get("extended"), given["code"])
    return _possible(Rule(id="", selectors=read_selectors(fields, node), kind=kind, **given))


def read_edit(fields: Mapping[str, Any], now: int, kind: Kind = Kind.ERROR) -> Callable[[Rule], Rule]:
    """What an edit makes of a rule as it stands: fields that are not given stay, null takes them away. What it gives
    raises BadValue where a field that stays does not fit."""
    noun, editable = NOUNS[kind], _EDITABLE[kind]
    for name in fields:
        if name in _IDENTITY:
            raise BadValue(name, f"is what the rule is; it cannot be edited: order another {noun}, lift this one")
    _check(fields, editable, "cannot be edited", kind)
    if not fields:
        raise BadValue("body", f"changes nothing; give one of {', '.join(sorted(editable))}")
    changes = _changes(fields, now)
    if "code" in fields:
        changes["code"] = read_code(fields["code"])
        _extended(fields.get("extended"), changes["code"])
    elif fields.get("extended") is not None:
        _extended(fields["extended"], None)

    def edit(rule: Rule) -> Rule:
        edited = msgspec.structs.replace(rule, **changes)
        extended = fields.get("extended", rule.extended or None)
        return _possible(msgspec.structs.replace(edited, extended=_extended(extended, edited.code)))

    return edit


def read_conversion(fields: Mapping[str, Any], now: int) -> Callable[[Rule], Rule]:
    """What makes a pause a forced error. Its end is not taken over: what was to go on by itself is now to be ended;
    `reason` and `in_flight` stay unless they are given. Raises BadValue."""
    _check(fields, _EDITABLE[Kind.ERROR], "cannot be given here", Kind.ERROR)
    code = read_code(fields.get("code"))
    extended = _extended(fields.get("extended"), code)
    changes = {"expires_at": 0, "enabled": True} | _changes(fields, now)

    def convert(pause: Rule) -> Rule:
        return _possible(msgspec.structs.replace(pause, kind=Kind.ERROR, code=code, extended=extended, **changes))

    return convert


def _changes(fields: Mapping[str, Any], now: int) -> dict[str, Any]:
    """What is given of the fields that need no other field to be read; null is the default."""
    changes: dict[str, Any] = {name: _text(fields[name], name) for name in ("description", "reason") if name in fields}
    if "enabled" in fields:
        changes["enabled"] = _flag(fields["enabled"], "enabled")
    if "undo" in fields:
        changes["undo"] = fields["undo"] is None or _flag(fields["undo"], "undo")
    if "at_the_door" in fields:
        changes["at_the_door"] = _choice(AtTheDoor.ACCEPT, fields["at_the_door"], "at_the_door")
    if "in_flight" in fields:
        changes["in_flight"] = _choice(InFlight.ABORT, fields["in_flight"], "in_flight")
    end = _end(fields, now)
    if end is not None:
        changes["expires_at"] = end
    return changes


def _possible(rule: Rule) -> Rule:
    if rule.at_the_door is AtTheDoor.REJECT and rule.code < 300:
        raise BadValue("at_the_door", f"cannot be reject with code {rule.code}: nothing is refused with success")
    return rule


def read_selectors(fields: Mapping[str, Any], node: str) -> Selectors:
    """Raises BadValue, also where nothing narrows the rule down and `everything` does not say that this is meant."""
    given = {name: _selector(fields, name) for name in _SELECTORS}
    for one, other in _EXCLUSIVE:
        if given[one] is not None and given[other] is not None:
            raise BadValue(other, f"cannot be combined with {one}; give one of them")
    tag = None if given["tag"] is None else read_tag(given["tag"], "tag")
    tags_all, except_tags = _tags(fields, "tags_all"), _tags(fields, "except_tags")
    for wanted in (tag, *(tags_all or ())):
        if wanted in (except_tags or ()):
            raise BadValue("except_tags", "names a tag that must be there too; such a rule matches nothing")
    everything = _flag(fields.get("everything", False), "everything")
    narrowed = tags_all is not None or any(value is not None for value in given.values())
    if not narrowed and not everything:
        only = "no selector but except_tags" if except_tags else "no selector"
        names = ", ".join(_SELECTORS)
        raise BadValue("everything", f"{only} is given; give one of {names}, tags_all, or everything: true")
    if narrowed and everything:
        raise BadValue("everything", "contradicts the selectors; give one or the other")
    cluster = _flag(fields.get("cluster", True), "cluster")
    return Selectors(
        pool=None if given["pool"] is None else read_pool(given["pool"], "pool"),
        mta=None if given["mta"] is None else _address(given["mta"], "mta"),
        domain=None if given["domain"] is None else read_domain(given["domain"], "domain", wildcard=True),
        tag=tag,
        cluster=cluster,
        node=None if cluster else node,
        ip=None if given["ip"] is None else _address(given["ip"], "ip"),
        mx=None if given["mx"] is None else _host(given["mx"]),
        tags_all=tags_all,
        except_tags=except_tags,
        tenant=None if given["tenant"] is None else _name(given["tenant"], "tenant", "a tenant"),
    )


def read_code(value: Any) -> int:
    """A whole number or its three digits, 200 to 299 or 400 to 599. Raises BadValue."""
    if value is None:
        raise BadValue("code", "is required; give 400 to 599, or 200 to 299 to discard")
    if isinstance(value, str) and _CODE.fullmatch(value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 550.0 is a whole number in JSON
    if not isinstance(value, int) or isinstance(value, bool) or not (200 <= value <= 299 or 400 <= value <= 599):
        raise BadValue("code", "is not an SMTP code; give 400 to 599, or 200 to 299 to discard")
    return value


def read_pool(value: str, field: str) -> str:
    """A pool's name, or `@<ip>`. Raises BadValue."""
    value = value.strip(BLANKS)
    if value.startswith("@"):
        return "@" + _address(value[1:], field)
    if not _POOL.fullmatch(value):
        raise BadValue(field, "is not a pool; give 1 to 63 letters, digits, _ and -, or @<ip>")
    return value


def read_domain(value: str, field: str, wildcard: bool = False) -> str:
    """Lower-case A-labels, `*.` before them where `wildcard` allows it. Raises BadValue."""
    value = value.strip(BLANKS)
    head, rest = ("*.", value[2:]) if wildcard and value.startswith("*.") else ("", value)
    try:
        name = queue_domain(rest)
    except BadValue as bad:
        raise BadValue(field, bad.reason) from None
    is_literal = name.startswith("[") and not head
    if not is_literal and not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise BadValue(field, 'is not a domain; give "example.com", or "*.example.com" for its subdomains')
    return head + name


def read_tag(value: str, field: str) -> str:
    """1 to 128 bytes of UTF-8 without control characters: whatever else intake took must be possible to cancel. In the
    Unicode form that intake keeps tags in (NFC)."""
    return _name(value, field, "a tag")


def _name(value: str, field: str, kind: str) -> str:
    """Without the blanks around it and in NFC, as an injection header is read: otherwise it would match no mail."""
    name = value.strip(BLANKS)
    name = composed(name) if len(name) <= 4 * MAX_TAG else name
    if _UNTAGGABLE.search(name) or not 1 <= len(name.encode()) <= MAX_TAG:
        raise BadValue(field, f"is not {kind}; give 1 to {MAX_TAG} bytes of UTF-8 without control characters")
    return name


def _selector(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    value = value.strip(BLANKS) if isinstance(value, str) else value
    if value is None or value == "*":
        return None
    if not isinstance(value, str) or not value:
        raise BadValue(name, "is not a text of at least one character; leave the field out to match anything")
    return value


def _tags(fields: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    """Sorted and each once, so that the order in which they are given makes no other rule."""
    value = fields.get(name)
    if value is None or value in ("*", ["*"]):
        return None
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not items or len(items) > MAX_TAGS:
        raise BadValue(name, f"is not a list of 1 to {MAX_TAGS} tags; leave the field out to match anything")
    for item in items:
        if not isinstance(item, str):
            raise BadValue(name, "holds something that is not a text; give a list of tags")
    return tuple(sorted({read_tag(item, name) for item in items}))


def _host(value: str) -> str:
    if "[" in value:
        raise BadValue("mx", "is an address; give it as ip")
    return read_domain(value, "mx", wildcard=True)


def _end(fields: Mapping[str, Any], now: int) -> int | None:
    """Unix ms, 0 = none (it was given as null); None: nothing is said about it."""
    if fields.get("expire") is not None and fields.get("expires_at") is not None:
        raise BadValue("expire", "is expires_at by another name; give one of them")
    name = "expire" if fields.get("expire") is not None else "expires_at"
    at, duration = fields.get(name), fields.get("duration")
    if at is not None and duration is not None:
        raise BadValue("duration", "cannot be combined with expires_at; give one of them")
    if duration is not None:
        seconds = parse_duration(duration, "duration")
        if not 0 < seconds <= MAX_DURATION:
            raise BadValue("duration", f"must be more than 0 and at most {MAX_DURATION:g} s")
        return now + max(1, round(seconds * 1000))
    if at is not None:
        if not isinstance(at, str):
            raise BadValue(name, 'is not a time; give RFC 3339, such as "2030-01-31T12:00:00Z"')
        moment = parse_time(at, name, now)
        if moment <= now:
            raise BadValue(name, "is past; such a rule would never match")
        return moment
    return 0 if not fields.keys().isdisjoint(("expires_at", "expire", "duration")) else None


def _address(value: str, field: str) -> str:
    try:
        address = ipaddress.ip_address(value)
        if getattr(address, "scope_id", None) is None:
            return str(address)
    except ValueError:
        pass
    raise BadValue(field, "is not an IP address")


def _extended(value: Any, code: int | None) -> str:
    if value is None:
        return ""
    found = _EXTENDED.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise BadValue("extended", 'is not an enhanced status code; give x.y.z, such as "5.7.1"')
    if code is not None and int(found[1]) != code // 100:
        raise BadValue("extended", f"begins with {found[1]} where code {code} needs {code // 100}")
    return found[0]


def _text(value: Any, field: str) -> str:
    """Reaches SMTP replies and logs, so nothing but what prints: no CR, LF, NUL, controls, bidi marks (S: A10)."""
    if value is None:
        return ""
    if not isinstance(value, str) or not value.isprintable():
        raise BadValue(field, "is not one line of printable text; remove control, bidirectional and line characters")
    if len(value.encode()) > MAX_TEXT:
        raise BadValue(field, f"is longer than {MAX_TEXT} bytes of UTF-8")
    return value


def _choice(default: _Choice, value: Any, field: str) -> _Choice:
    """One of the default's kind; None: the default."""
    kind = type(default)
    if value is None:
        return default
    if not isinstance(value, str) or value not in list(kind):
        raise BadValue(field, f"is none of {', '.join(kind)}")
    return kind(value)


def _flag(value: Any, field: str) -> bool:
    if isinstance(value, str):
        value = {"true": True, "1": True, "false": False, "0": False}.get(value.lower())
    if not isinstance(value, bool):
        raise BadValue(field, "is neither true nor false")
    return value
