"""A forced error as a request describes it: selectors and what to answer, each value checked before it is stored."""

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from mta.model.errors import BadValue
from mta.model.rules import Rule, Selectors
from mta.model.units import parse_duration, parse_time
from mta.policy.routing import queue_domain

MAX_TEXT = 400  # bytes: with code and enhanced code it fits the 512 octets of a reply line (RFC 5321 4.5.3.1.5)
MAX_TAG = 128  # bytes

MAX_TAGS = 100  # of one selector
MAX_DURATION = 10 * 365 * 86400.0  # seconds

LISTS = frozenset({"tags_all", "except_tags"})
_SELECTORS = ("pool", "mta", "domain", "ip", "mx", "tag")
_EXCLUSIVE = (("pool", "mta"), ("domain", "ip"), ("domain", "mx"), ("ip", "mx"))
_IDENTITY = frozenset({*_SELECTORS, *LISTS, "cluster", "everything"})
EDITABLE = frozenset({"code", "extended", "description", "reason", "enabled", "expires_at", "duration"})
FIELDS = _IDENTITY | EDITABLE

_POOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", re.ASCII)
_EXTENDED = re.compile(r"([245])\.(?:0|[1-9][0-9]{0,2})\.(?:0|[1-9][0-9]{0,2})", re.ASCII)  # RFC 3463 2
_CODE = re.compile(r"[0-9]{3}", re.ASCII)
_UNTAGGABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)


def check_fields(fields: Mapping[str, Any]) -> None:
    """Raises BadValue for the first field that no forced error has."""
    for name in fields:
        if name not in FIELDS:
            raise BadValue(name[:100], f"is not a field of a forced error; there are {', '.join(sorted(FIELDS))}")


def read_rule(fields: Mapping[str, Any], node: str, now: int) -> Rule:
    """The rule, without id and history; `node` is what `cluster: false` binds it to, `now` (Unix ms) what `duration`
    counts from. Raises BadValue."""
    check_fields(fields)
    code = read_code(fields.get("code"))
    return Rule(
        id="",
        selectors=read_selectors(fields, node),
        code=code,
        extended=_extended(fields.get("extended"), code),
        description=_text(fields.get("description"), "description"),
        reason=_text(fields.get("reason"), "reason"),
        enabled=_flag(fields.get("enabled", True), "enabled"),
        expires_at=_end(fields, now) or 0,
    )


def read_edit(fields: Mapping[str, Any], now: int) -> Callable[[Rule], Rule]:
    """What an edit makes of a rule as it stands: fields that are not given stay, null takes them away. What it gives
    raises BadValue where a field that stays does not fit."""
    for name in fields:
        if name in _IDENTITY:
            raise BadValue(name, "is what the rule is; it cannot be edited: order another forced error, lift this one")
    for name in fields:
        if name not in EDITABLE:
            raise BadValue(name[:100], f"cannot be edited; there are {', '.join(sorted(EDITABLE))}")
    if not fields:
        raise BadValue("body", f"changes nothing; give one of {', '.join(sorted(EDITABLE))}")
    changes: dict[str, Any] = {name: _text(fields[name], name) for name in ("description", "reason") if name in fields}
    if "code" in fields:
        changes["code"] = read_code(fields["code"])
    if "enabled" in fields:
        changes["enabled"] = _flag(fields["enabled"], "enabled")
    end = _end(fields, now)
    if end is not None:
        changes["expires_at"] = end

    def edit(rule: Rule) -> Rule:
        edited = msgspec.structs.replace(rule, **changes)
        extended = fields.get("extended", rule.extended or None)
        return msgspec.structs.replace(edited, extended=_extended(extended, edited.code))

    if "code" in changes:
        _extended(fields.get("extended"), changes["code"])
    elif fields.get("extended") is not None:
        _extended(fields["extended"], None)
    return edit


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
    )


def read_code(value: Any) -> int:
    """A whole number or its three digits, 200 to 299 or 400 to 599. Raises BadValue."""
    if value is None:
        raise BadValue("code", "is required; give 400 to 599, or 200 to 299 to discard")
    if isinstance(value, str) and _CODE.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not (200 <= value <= 299 or 400 <= value <= 599):
        raise BadValue("code", "is not an SMTP code; give 400 to 599, or 200 to 299 to discard")
    return value


def read_pool(value: str, field: str) -> str:
    """A pool's name, or `@<ip>`. Raises BadValue."""
    if value.startswith("@"):
        return "@" + _address(value[1:], field)
    if not _POOL.fullmatch(value):
        raise BadValue(field, "is not a pool; give 1 to 63 letters, digits, _ and -, or @<ip>")
    return value


def read_domain(value: str, field: str, wildcard: bool = False) -> str:
    """Lower-case A-labels, `*.` before them where `wildcard` allows it. Raises BadValue."""
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
    """1 to 128 bytes of UTF-8 without control characters: whatever else intake took must be possible to cancel."""
    if _UNTAGGABLE.search(value) or not 1 <= len(value.encode()) <= MAX_TAG:
        raise BadValue(field, f"is not a tag; give 1 to {MAX_TAG} bytes of UTF-8 without control characters")
    return value


def _selector(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
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
    at, duration = fields.get("expires_at"), fields.get("duration")
    if at is not None and duration is not None:
        raise BadValue("duration", "cannot be combined with expires_at; give one of them")
    if duration is not None:
        seconds = parse_duration(duration, "duration")
        if not 0 < seconds <= MAX_DURATION:
            raise BadValue("duration", f"must be more than 0 and at most {MAX_DURATION:g} s")
        return now + max(1, round(seconds * 1000))
    if at is not None:
        if not isinstance(at, str):
            raise BadValue("expires_at", 'is not a time; give RFC 3339, such as "2030-01-31T12:00:00Z"')
        moment = parse_time(at, "expires_at", now)
        if moment <= now:
            raise BadValue("expires_at", "is past; such a rule would never match")
        return moment
    return 0 if "expires_at" in fields or "duration" in fields else None


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


def _flag(value: Any, field: str) -> bool:
    if isinstance(value, str):
        value = {"true": True, "1": True, "false": False, "0": False}.get(value.lower())
    if not isinstance(value, bool):
        raise BadValue(field, "is neither true nor false")
    return value
