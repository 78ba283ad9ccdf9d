"""Whether the sweep of a rule is over: the one answer that orders, the API and statements give."""

from mta.model.rules import Rule
from mta.policy.rule_table import in_force, swept
from mta.ports.rules import SweepState

_ENDED = ("done", "stopped")


def needs_sweep(rule: Rule, sweep: SweepState | None, now: int) -> bool:
    """Whether a sweep of the rule as it is belongs to its account: it is to come, or one has begun. A rule that is over
    at `now` (Unix ms) before any sweep of it began is not swept any more."""
    return swept(rule) and (in_force(rule, now) or (sweep is not None and sweep.generation == rule.generation))


def is_over(rule: Rule, sweep: SweepState | None, now: int) -> bool:
    """Whether no sweep of the rule moves anything from now on. One that stopped, because the rule was lifted, edited or
    over, is over like one that is done."""
    if sweep is not None and sweep.generation >= rule.generation and sweep.state in _ENDED:
        return True
    return not needs_sweep(rule, sweep, now)
