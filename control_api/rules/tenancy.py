"""The reach of a token among rules: one that is bound to a tenant sees and orders rules for that tenant's mail only."""

from typing import Any, Final

import msgspec

from control_api.http.problems import Problem
from mta.model.actor import Actor
from mta.model.rules import Kind, Rule, Selectors
from mta.model.scopes import Scope
from mta.policy.rule_table import RuleTable

# Selectors that leave all mail, or all mail but some of it.
_WIDE: Final = frozenset(
    ("cluster", "node", "except_tags", "accepted_before", "accepted_after", "schedule", "timezone")
)


def sees(actor: Actor, rule: Rule) -> bool:
    """Whether the rule exists for the actor."""
    return actor.sees(rule.selectors.tenant)


def within_reach(selectors: Selectors, actor: Actor) -> Selectors:
    """The selectors as they are in force: those of a bound token select its tenant's mail. Raises Problem 403 where
    another tenant is named, or where all mail is selected without the scope."""
    if not actor.tenant:
        if is_everything(selectors) and not actor.may(Scope.ADMIN):
            raise Problem(403, f"needs the scope {Scope.ADMIN}: such a rule is about all mail", "everything")
        return selectors
    if selectors.tenant not in (None, actor.tenant):
        raise Problem(403, f"is another tenant than {actor.tenant}, which the token is bound to", "tenant")
    bound: Selectors = msgspec.structs.replace(selectors, tenant=actor.tenant)
    return bound


def ordered(rule: Rule, actor: Actor) -> Rule:
    """A new rule as the actor may order it. Raises Problem 403."""
    found: Rule = msgspec.structs.replace(rule, selectors=within_reach(rule.selectors, actor), owner=actor.tenant)
    require_code(found, actor)
    return found


def require_code(rule: Rule, actor: Actor) -> None:
    """Raises Problem 403 for a code with which a bound token would discard mail as if it had been delivered."""
    if actor.tenant and rule.kind is Kind.ERROR and rule.code < 400:
        raise Problem(403, "a token that is bound to a tenant may use 400 to 599 only", "code")


def require_own(rule: Rule, actor: Actor) -> None:
    """Raises Problem 403 where a bound token would change what the operator of the cluster ordered."""
    if actor.tenant and rule.owner != actor.tenant:
        raise Problem(403, f"rule {rule.id} was ordered by the operator of the cluster, who alone can change it")


def is_everything(selectors: Selectors) -> bool:
    """Whether they select all mail of this node or of the cluster, but for excepted tags and times."""
    return all(name in _WIDE or value is None for name, value in msgspec.structs.asdict(selectors).items())


def shown_to(actor: Actor, found: dict[str, Any], table: RuleTable) -> dict[str, Any]:
    """The use of a rule as the actor sees it: a rule that does not exist for the actor is not named."""
    other = table.rule(found["shadowed_by"] or "")
    return found if other is None or sees(actor, other) else found | {"shadowed_by": None}
