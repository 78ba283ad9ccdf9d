"""The events of the rule table: a rule was changed, is effective everywhere, and its sweep is completed."""

import msgspec

from mta.model.actor import NOBODY, Actor
from mta.model.events import EventType, OrderedEvent
from mta.model.outcomes import Forced
from mta.model.rules import ChangeOp, Effective, Rule
from mta.model.statements import RuleStatement, SetStatement
from mta.model.units import format_time


class RuleEvent(OrderedEvent, array_like=True, frozen=True, gc=False):
    """An event of `{rules}:events`."""


def change_event(op: ChangeOp, rule: Rule, before: Rule | None, by: Actor, at: int) -> RuleEvent:
    """`rule` is as it stands after the change, `before` as it stood before it; a removed rule is the same in both."""
    properties = {
        "rule": rule.id,
        "op": op.value,
        "generation": str(rule.generation),
        "by": by.author,
        "change": _kind_of_change(op, rule, before),
        **_terms(rule),
        **_audit(op, rule, before, by),
    }
    return _event(rule, rule.generation, at, _in_words(op, rule, by.author), properties, by)


def effective_event(rule: Rule, effect: Effective, removed: bool) -> RuleEvent:
    """`rule` is as the order left it, or as it stood before its removal."""
    properties = {
        "rule": rule.id,
        "op": "effective",
        "generation": str(effect.generation),
        "change": "removed" if removed else "put",
        "effective_at": format_time(effect.effective_at),
        "past_dot": str(len(effect.past_dot)),
        "confirmed": str(len(effect.confirmed)),
        "unconfirmed": " ".join(effect.unconfirmed),
    }
    said = {name: value for name, value in properties.items() if value}
    return _event(rule, effect.generation, effect.effective_at, "effective", said)


def completed_event(rule: Rule, generation: int, statement: RuleStatement | SetStatement, at: int) -> RuleEvent:
    """Its property `statement` is the JSON of the statement when the last pass of the sweep was over. `rule` may stand
    for a set; `generation` is that of the order that was swept."""
    properties = {
        "rule": rule.id,
        "op": "completed",
        "generation": str(generation),
        "statement": msgspec.json.encode(statement).decode(),
    }
    return _event(rule, generation, at, "completed", properties)


def account_event(rule: Rule, statement: RuleStatement, at: int) -> RuleEvent:
    """Its property `statement` is the JSON of the statement when the rule was removed."""
    properties = {
        "rule": rule.id,
        "op": "account",
        "generation": str(rule.generation),
        "statement": msgspec.json.encode(statement).decode(),
    }
    return _event(rule, rule.generation, at, "account", properties)


def _event(
    rule: Rule, generation: int, at: int, reason: str, properties: dict[str, str], by: Actor = NOBODY
) -> RuleEvent:
    chosen = rule.selectors
    return RuleEvent(
        EventType.RULE,
        at,
        code=rule.code,
        enhanced=rule.extended,
        text=rule.description,
        pool=chosen.pool or "",
        mta=chosen.mta or "",
        domain=chosen.domain or "",
        sender=chosen.sender,
        recipient=chosen.recipient or "",
        mx=chosen.mx or "",
        remote_ip=chosen.ip or "",
        tags=(chosen.tag,) if chosen.tag is not None else chosen.tags_all or (),
        tenant=chosen.tenant or "",
        reason=reason,
        forced=Forced(rule.id, generation),
        client=by.address,
        properties=properties,
        actor=by.author,
    )


def _kind_of_change(op: ChangeOp, rule: Rule, before: Rule | None) -> str:
    if op is not ChangeOp.PUT:
        return "removed" if op is ChangeOp.REMOVE else op.value
    if before is None:
        return "made"
    if rule.kind is not before.kind:
        return "converted"
    if rule.enabled is not before.enabled:
        return "enabled" if rule.enabled else "disabled"
    return "edited"


def _terms(rule: Rule) -> dict[str, str]:
    """The conditions that no key of an event is there for; only those that are not as usual."""
    chosen = rule.selectors
    found = {
        "tags_all": " ".join(chosen.tags_all or ()) if chosen.tag is not None else "",
        "except_tags": " ".join(chosen.except_tags or ()),
        "domains": " ".join(chosen.domains or ()),
        "accepted_before": "" if chosen.accepted_before is None else format_time(chosen.accepted_before),
        "accepted_after": "" if chosen.accepted_after is None else format_time(chosen.accepted_after),
        "schedule": chosen.schedule or "",
        "timezone": chosen.timezone or "",
        "site": chosen.site or "",
        "enabled": "" if rule.enabled else "false",
        "expires_at": format_time(rule.expires_at) if rule.expires_at else "",
        "set": rule.set_id,
        "max_matches": str(rule.bound.max_matches) if rule.bound is not None else "",
        "bound": rule.bound.state.value if rule.bound is not None else "",
    }
    return {name: value for name, value in found.items() if value}


def _audit(op: ChangeOp, rule: Rule, before: Rule | None, by: Actor) -> dict[str, str]:
    """The rule before and after, as JSON, and the token of the order."""
    found = {
        "kind": rule.kind.value,
        "token": by.token,
        "before": "" if before is None or op is ChangeOp.REGAIN else _as_json(before),
        "after": _as_json(rule) if op is ChangeOp.PUT else "",
    }
    return {name: value for name, value in found.items() if value}


def _as_json(rule: Rule) -> str:
    """Without its generation: the store gives it."""
    return msgspec.json.encode(msgspec.structs.replace(rule, generation=0)).decode()


def _in_words(op: ChangeOp, rule: Rule, by: str) -> str:
    said = f"{op.value} by {by}" if by else op.value
    return f"{said}: {rule.reason}" if rule.reason else said
