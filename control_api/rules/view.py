"""The view of a rule: the fields of the answers about it, by name."""

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from control_api.dependencies import Dependencies
from control_api.http.times import shown
from control_api.node.workers import name_of
from control_api.schemas.answers import known
from control_api.schemas.rule_answers import Confirmations, OrderBound, PastDot
from mta.model.rules import Bound, BoundState, Kind, Rule
from mta.model.statements import selectors_shown
from mta.policy.rule_table import RuleTable
from mta.ports.orders import Effect


def shown_rule(rule: Rule) -> dict[str, Any]:
    """The rule; a field that is not set is left out."""
    found: dict[str, Any] = {
        "id": rule.id,
        **selectors_shown(rule.selectors),
        "enabled": rule.enabled,
        "expires_at": shown(rule.expires_at),
        "in_flight": rule.in_flight,
        "reason": rule.reason or None,
        "created_at": shown(rule.created_at),
        "created_by": rule.created_by or None,
        "generation": rule.generation,
    }
    if rule.bound is not None:
        found["bound"] = _bound(rule.bound)
    if rule.kind is Kind.ERROR:
        found |= {"code": rule.code, "extended": rule.extended or None, "description": rule.description or None}
        found |= {"at_the_door": rule.at_the_door, "undo": rule.undo}
    return known(found)


def _bound(bound: Bound) -> OrderBound:
    is_counted = bound.state is not BoundState.COUNTING
    return OrderBound(
        state=bound.state,
        max_matches=bound.max_matches,
        matched=bound.matched if is_counted else UNSET,
        held_at=shown(bound.held_at) or UNSET,
    )


def shown_use(rule: Rule, counts: Mapping[str, int], table: RuleTable) -> dict[str, Any]:
    """The deliveries that the rule has met, by its counters, and how many a pause holds now."""
    found = {
        "hits": counts.get("hits", 0),
        "last_hit_at": shown(counts.get("last_hit_at", 0)),
        "shadowed_by": table.shadowed_by(rule),
    }
    return found if rule.kind is Kind.ERROR else found | {"held": counts.get("held", 0)}


async def shown_effect(deps: Dependencies, effect: Effect) -> dict[str, Any]:
    """The effect of a change: its time, the processes that have confirmed it, and the deliveries of `past_dot`."""
    sessions = await deps.rules.sessions()
    name, at = ("effective_at", effect.effective_at) if effect.effective else ("effective_by", effect.effective_by)
    return {
        "effective": effect.effective,
        name: shown(at) or UNSET,
        "past_dot": [
            PastDot(id=entry.id, recipient=entry.recipient, dot_at=shown(entry.dot_at)) for entry in effect.past_dot
        ],
        "quiet_at": shown(effect.quiet_at),
        "workers": Confirmations(
            confirmed=sorted(name_of(session, sessions) for session in effect.confirmed),
            unconfirmed=sorted(name_of(session, sessions) for session in effect.unconfirmed),
        ),
    }
