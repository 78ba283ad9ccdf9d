"""The states of an order with a bound: the hold by which it begins, and the rules that this may become."""

import msgspec

from mta.model.rules import Bound, BoundState, Kind, Rule
from mta.policy.rule_effect import holds, is_counting


class Decided(Exception):
    """The hold is not as it was counted: it was decided, changed or lifted meanwhile."""


def is_hold(rule: Rule) -> bool:
    """Whether the rule is the hold of an order with a bound, decided or not."""
    return rule.bound is not None and holds(rule)


def is_waiting(rule: Rule) -> bool:
    """Whether an order, as it was ordered, is not decided yet."""
    return rule.bound is not None and rule.bound.state is BoundState.COUNTING


def was_refused(rule: Rule) -> bool:
    """Whether the order matched more than it allowed."""
    return rule.bound is not None and rule.bound.state is BoundState.REFUSED


def hold_for(rule: Rule, max_matches: int) -> Rule:
    """The hold by which the order of `rule` begins. It has no end of its own: a count ends it, or a person."""
    return Rule(
        rule.id,
        rule.selectors,
        reason=rule.reason,
        created_at=rule.created_at,
        created_by=rule.created_by,
        kind=Kind.PAUSE,
        owner=rule.owner,
        in_flight=rule.in_flight,
        bound=Bound(max_matches, becomes=msgspec.structs.replace(rule, id="", generation=0)),
    )


def as_ordered(rule: Rule) -> Rule:
    """The forced error that was ordered, where the rule is the hold of an order with a bound; else the rule."""
    bound = rule.bound
    if bound is None or bound.becomes is None:
        return rule
    return msgspec.structs.replace(
        bound.becomes,
        id=rule.id,
        generation=rule.generation,
        created_at=rule.created_at,
        created_by=rule.created_by,
        bound=bound,
    )


def passed(hold: Rule, generation: int, matched: int, held_at: int) -> Rule:
    """The forced error that the hold becomes. Raises Decided."""
    bound = _counting(hold, generation)
    done = msgspec.structs.replace(bound, state=BoundState.PASSED, matched=matched, held_at=held_at, becomes=None)
    return msgspec.structs.replace(as_ordered(hold), bound=done)


def refused(hold: Rule, generation: int, matched: int) -> Rule:
    """The hold that lets go of its mail, since it matches more than its bound. Raises Decided."""
    bound = msgspec.structs.replace(_counting(hold, generation), state=BoundState.REFUSED, matched=matched)
    return msgspec.structs.replace(hold, enabled=False, bound=bound)


def in_place(hold: Rule, matched: int) -> Rule:
    """The forced error that takes the place of one with the same selectors. Raises Decided."""
    bound = _counting(hold, hold.generation)
    done = msgspec.structs.replace(bound, state=BoundState.PASSED, matched=matched, becomes=None)
    return msgspec.structs.replace(as_ordered(hold), bound=done)


def replaced(hold: Rule, generation: int, matched: int, by: str) -> Rule:
    """The hold that is not needed any more: the forced error `by` has its selectors and its terms. Raises Decided."""
    bound = msgspec.structs.replace(_counting(hold, generation), state=BoundState.PASSED, matched=matched, became=by)
    return msgspec.structs.replace(hold, enabled=False, bound=bound)


def _counting(hold: Rule, generation: int) -> Bound:
    if not is_counting(hold) or hold.generation != generation or hold.bound is None:
        raise Decided
    return hold.bound
