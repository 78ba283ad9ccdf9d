"""The statement of a set of rules, from the sums of their counters."""

from collections.abc import Sequence
from typing import Final

from mta.model.rules import Rule
from mta.model.statements import SetStatement
from mta.model.sweeps import SweepState
from mta.model.units import format_time
from mta.orders.statement import rule_statement
from mta.policy.rule_sets import some_need_attempts
from mta.ports.books import RuleAccount
from mta.ports.orders import Effect
from mta.ports.rule_sets import StoredSet

_AT_ATTEMPTS: Final = "no sweep belongs to some of the rules: waiting mail meets them at its next attempt"


def set_statement(
    effect: Effect,
    stored: StoredSet,
    standing: Sequence[Rule],
    account: RuleAccount,
    sweep: SweepState | None,
    as_of: int,
) -> SetStatement:
    """`effect` is that of the set, `account` the sum over its rules, `as_of` in Unix ms."""
    removed_at = 0 if standing else as_of
    found = rule_statement(effect, account.counts, None, sweep, as_of, account.undoable, removed_at, account.undo_until)
    unknown = found.complete is True and some_need_attempts(standing)
    return SetStatement(
        as_of=found.as_of,
        set=stored.set.id,
        created_at=format_time(stored.set.created_at),
        created_by=stored.set.created_by,
        generation=stored.generation,
        rules=len(stored.members.made),
        standing=len(standing),
        removed=len(stored.members.removed),
        effective_at=found.effective_at,
        quiet_at=found.quiet_at,
        matched=found.matched,
        intercepted=found.intercepted,
        delivered=found.delivered,
        deferred=found.deferred,
        held=found.held,
        other=found.other,
        undone=found.undone,
        uncertain=found.uncertain,
        undoable=found.undoable,
        undo_until=found.undo_until,
        sweep=found.sweep,
        complete=None if unknown else found.complete,
        why_incomplete=_AT_ATTEMPTS if unknown else found.why_incomplete,
        balanced=found.balanced,
    )
