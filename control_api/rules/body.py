"""A rule out of the fields of a request: values that must agree with each other, and the changes that an edit makes."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from control_api.schemas.reading import Body
from control_api.schemas.rule_bodies import (
    BOUNDS,
    CONVERSION,
    EDITS,
    LIFTING,
    NEW,
    NOUNS,
    OF_ERRORS_ONLY,
    PREVIEWED,
    RECURRING,
    SELECTORS,
    RuleSelectors,
)
from mta.model.errors import BadValue
from mta.model.rules import AtTheDoor, InFlight, Kind, Rule, Selectors
from mta.model.units import parse_time
from mta.policy.addresses import domain_of
from mta.policy.rule_table import covers_one
from mta.policy.schedule import UTC

_EXCLUSIVE = (("pool", "mta"), ("domain", "ip"), ("domain", "mx"), ("ip", "mx"))
_ENDS = frozenset({"expires_at", "expire", "duration"})
_WIDE = frozenset({"except_tags", "cluster", "accepted_before", "accepted_after", "everything"}) | RECURRING
_NARROWING = tuple(sorted(SELECTORS - _WIDE))
_DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(Rule)}


def read_rule(fields: Mapping[str, Any], node: str, now: int, kind: Kind = Kind.ERROR) -> Rule:
    """The rule, without id and history. `cluster: false` binds it to `node`; `duration` counts from `now` (Unix ms).
    Raises BadValue."""
    given = _read(NEW[kind], fields, kind)
    rule = Rule(id="", selectors=_selectors(given, node, now), kind=kind, **_attributes(given, now))
    return _possible(rule)


def read_previewed(fields: Mapping[str, Any], node: str, now: int) -> Rule:
    """The forced error that somebody thinks of ordering; without a code it ends mail. Raises BadValue."""
    given = _read(PREVIEWED, fields, Kind.ERROR)
    given.setdefault("code", int(given.get("extended", "5")[0]) * 100 + 54)
    return _possible(Rule(id="", selectors=_selectors(given, node, now), **_attributes(given, now)))


def read_edit(fields: Mapping[str, Any], now: int, kind: Kind = Kind.ERROR) -> Callable[[Rule], Rule]:
    """The function that edits a rule as it stands: fields that are not given stay, null takes a field away. The
    function raises BadValue where a field that stays does not fit. Raises BadValue."""
    body = EDITS[kind]
    for name in fields:
        if name in SELECTORS:
            raise BadValue(
                name, f"identifies the rule and cannot be edited; make another {NOUNS[kind]} and remove this one"
            )
    given = _read(body, fields, kind)
    if not fields:
        raise BadValue("body", f"changes nothing; give one of {', '.join(sorted(body.fields()))}")
    changes = _attributes(given, now)
    if "code" in changes:
        _check_class(changes.get("extended", ""), changes["code"])

    def edit(rule: Rule) -> Rule:
        """The hold of an order with a bound becomes a pause by it: a person decides from then on."""
        bound = None if kind is Kind.PAUSE else rule.bound
        return _possible(msgspec.structs.replace(rule, bound=bound, **changes))

    return edit


def read_conversion(fields: Mapping[str, Any], now: int) -> Callable[[Rule], Rule]:
    """The function that makes a pause, or the hold of an order with a bound, a forced error. The pause's end and its
    schedule are not taken over: they were the times at which mail goes on by itself. `reason` and `in_flight` stay
    unless they are given. Raises BadValue."""
    changes = {"expires_at": 0, "enabled": True} | _attributes(_read(CONVERSION, fields, Kind.ERROR), now)
    _check_class(changes.get("extended", ""), changes["code"])

    def convert(pause: Rule) -> Rule:
        selectors = msgspec.structs.replace(pause.selectors, schedule=None, timezone=None)
        return _possible(msgspec.structs.replace(pause, kind=Kind.ERROR, bound=None, selectors=selectors, **changes))

    return convert


def read_selectors(fields: Mapping[str, Any], node: str, now: int, kind: Kind = Kind.ERROR) -> Selectors:
    """The selectors of the rule that is to be lifted. Raises BadValue."""
    return _selectors(_read(LIFTING[kind], fields, kind), node, now)


def _read(body: Body, fields: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    if kind is Kind.PAUSE:
        for name in fields:
            if name in OF_ERRORS_ONLY:
                raise BadValue(name, "belongs to a forced error: a pause holds mail and sends no answer")
    of_a_rule = f"a field of a {NOUNS[kind]}"
    noun = "a field that can be edited" if body.is_edit else of_a_rule
    return body.read(fields, "a field that can be given here" if body is CONVERSION else noun)


def _attributes(given: Mapping[str, Any], now: int) -> dict[str, Any]:
    """The attributes of the rule that do not select mail; null stands for the default."""
    found = {
        name: _DEFAULTS[name] if value is None else value
        for name, value in given.items()
        if name not in SELECTORS and name not in _ENDS and name not in BOUNDS
    }
    if not given.keys().isdisjoint(_ENDS):
        found["expires_at"] = _end(given, now)
    return found


def _end(given: Mapping[str, Any], now: int) -> int:
    """The end of the rule in Unix ms, 0 = none."""
    if given.get("expire") is not None and given.get("expires_at") is not None:
        raise BadValue("expire", "is another name of expires_at; give one of them")
    name = "expire" if given.get("expire") is not None else "expires_at"
    at, duration = given.get(name), given.get("duration")
    if at is not None and duration is not None:
        raise BadValue("duration", "cannot be combined with expires_at; give one of them")
    if duration is not None:
        return now + max(1, round(float(duration) * 1000))
    if at is None:
        return 0
    moment = parse_time(at, name, now)
    if moment <= now:
        raise BadValue(name, "is past; such a rule would never match")
    return moment


def _possible(rule: Rule) -> Rule:
    """`rule`. Raises BadValue if its fields contradict each other."""
    _check_class(rule.extended, rule.code)
    if rule.at_the_door is AtTheDoor.REJECT and rule.code < 300:
        raise BadValue("at_the_door", f"cannot be reject with code {rule.code}: nothing is refused with success")
    if rule.in_flight is InFlight.FINISH and rule.selectors.schedule is not None:
        raise BadValue("in_flight", "cannot be finish with a schedule: at its times no process lists what has begun")
    return rule


def _check_class(extended: str | None, code: int) -> None:
    """RFC 3463 2: the class of the enhanced code is that of the code."""
    if extended and int(extended[0]) != code // 100:
        raise BadValue("extended", f"begins with {extended[0]} where code {code} needs {code // 100}")


def _selectors(given: Mapping[str, Any], node: str, now: int) -> Selectors:
    """The selectors of a rule. Raises BadValue for a bad one, and if there is none and `everything` is not true."""
    asked = RuleSelectors(**{name: value for name, value in given.items() if name in SELECTORS - RECURRING})
    for one, other in _EXCLUSIVE:
        if getattr(asked, one) is not None and getattr(asked, other) is not None:
            raise BadValue(other, f"cannot be combined with {one}; give one of them")
    excepted = asked.except_tags or ()
    if any(wanted in excepted for wanted in (asked.tag, *(asked.tags_all or ()))):
        raise BadValue("except_tags", "names a tag that tag or tags_all requires; such a rule matches nothing")
    narrowing = [name for name in _NARROWING if getattr(asked, name) is not None]
    if not narrowing and not asked.everything:
        wide = sorted(name for name in _WIDE if name in given and name not in ("cluster", "everything"))
        only = f"no selector but {' and '.join(wide)}" if wide else "no selector"
        names = ", ".join(_NARROWING)
        raise BadValue("everything", f"{only} is given; give one of {names}, or everything: true")
    if narrowing and asked.everything:
        raise BadValue("everything", "contradicts the selectors; give one or the other")
    before, after = _instant(asked, "accepted_before", now), _instant(asked, "accepted_after", now)
    if before is not None and after is not None and before <= after:
        raise BadValue("accepted_before", "is not later than accepted_after; such a rule matches nothing")
    found = Selectors(
        pool=asked.pool,
        mta=asked.mta,
        domain=asked.domain if isinstance(asked.domain, str) else None,
        domains=asked.domain if isinstance(asked.domain, tuple) else None,
        tag=asked.tag,
        cluster=asked.cluster,
        node=None if asked.cluster else node,
        ip=asked.ip,
        mx=asked.mx,
        tags_all=asked.tags_all,
        except_tags=asked.except_tags,
        tenant=asked.tenant,
        sender=asked.sender,
        recipient=asked.recipient,
        accepted_before=before,
        accepted_after=after,
        site=asked.site,
        **_recurring(given),
    )
    if found.recipient is not None and not covers_one(found, domain_of(found.recipient)):
        raise BadValue("recipient", "is not of the given domain; such a rule matches nothing")
    return found


def _recurring(given: Mapping[str, Any]) -> dict[str, str]:
    """The schedule of a pause, with its time zone."""
    if given.get("schedule") is not None:
        return {"schedule": given["schedule"], "timezone": given.get("timezone") or UTC}
    if given.get("timezone") is not None:
        raise BadValue("timezone", "is given without schedule; give both")
    return {}


def _instant(asked: RuleSelectors, name: str, now: int) -> int | None:
    """The instant of a selector, Unix ms."""
    text = getattr(asked, name)
    return text if text is None else now if text == "now" else parse_time(text, name, now)
