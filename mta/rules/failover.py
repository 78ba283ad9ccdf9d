"""The changes of the rule table that a failover of the store lost, found by a table that was confirmed before it."""

from collections.abc import Sequence
from typing import NamedTuple

from mta.model.rules import NO_HEAD, Head, Rule
from mta.ports.rule_store import Trail


class Loss(NamedTuple):
    """The difference between the table of a process and the store's, where both are right about their own past."""

    lost: tuple[Rule, ...]  # put or edited in the generations that were lost: to be put again
    stands: tuple[Rule, ...]  # removed in the generations that were lost: they stand again
    replaced: tuple[Rule, ...]  # lost, and ordered anew since then under another id: that order stands


def loss_of(
    ours: Sequence[Rule], passed: Sequence[Head], head: Head, stored: Sequence[Rule], trail: Trail
) -> Loss | None:
    """`passed`: the heads that led to our table, its own the last; `head`, `stored` and `trail` are the store's, the
    trail from the first of ours on. None: the store's table follows ours, or others have put again all that we
    could: it is to be taken as it is.

    The fork is the last generation that both have in common. Changes in the store since then are newer than the lost
    changes: their authors saw the table without these. A slow process must not put again a rule that another process,
    which knew as much or more of the lost generations, did not: the rule was removed in them, or has been since."""
    mine = passed[-1] if passed else NO_HEAD
    steps = {step.head for step in trail.steps}
    if mine in (NO_HEAD, head) or mine in steps or mine.generation <= trail.regained:
        return None
    if trail.steps and mine.generation < trail.steps[0].head.generation:
        return None  # so far behind that the changes between are not kept
    common = [known.generation for known in passed if known in steps or known == NO_HEAD]
    fork = max(common) if common else min(head.generation, passed[0].generation - 1)
    again = {step.head.generation: step.was for step in trail.steps if step.was}
    known = {rule.id: rule for rule in stored}
    taken = {(rule.kind, rule.selectors): rule.id for rule in stored}
    lost: list[Rule] = []
    replaced: list[Rule] = []
    for rule in ours:
        there = known.get(rule.id)
        if there is None:
            is_lost = rule.generation > max(fork, trail.regained)
        else:
            of_order = again.get(there.generation, there.generation)
            is_old = there.generation <= fork or there.generation in again
            is_lost = rule.generation > fork and is_old and of_order < rule.generation
        if is_lost:
            is_free = taken.get((rule.kind, rule.selectors), rule.id) == rule.id
            (lost if is_free else replaced).append(rule)
    have = {rule.id for rule in ours}
    stands = [rule for rule in stored if rule.id not in have and rule.generation <= fork]
    return Loss(tuple(lost), tuple(stands), tuple(replaced))
