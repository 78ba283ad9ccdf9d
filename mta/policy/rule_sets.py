"""A set of rules as one: the rule that stands for it where only its kind, its sweep and its end are asked for."""

from collections.abc import Sequence

import msgspec

from mta.model.rules import Rule, RuleSet, Selectors
from mta.policy.rule_effect import needs_attempt, swept


def stand_in(about: RuleSet, generation: int, rules: Sequence[Rule]) -> Rule:
    """The rule under the id of the set. It is swept if one of `rules`, those that stand, is; it ends with the last of
    them. Without rules it is disabled."""
    lead = next((rule for rule in rules if swept(rule)), rules[0] if rules else None)
    ends = [rule.expires_at for rule in rules]
    shown = Rule(about.id, Selectors(), code=554, enabled=False) if lead is None else lead
    return msgspec.structs.replace(
        shown,
        id=about.id,
        set_id=about.id,
        selectors=Selectors(mta=shown.selectors.mta) if not swept(shown) else Selectors(),
        created_at=about.created_at,
        created_by=about.created_by,
        generation=generation,
        expires_at=max(ends) if ends and all(ends) else 0,
    )


def some_need_attempts(rules: Sequence[Rule]) -> bool:
    """Whether mail meets some of the rules at its attempts only."""
    return any(rule.enabled and needs_attempt(rule) for rule in rules)
