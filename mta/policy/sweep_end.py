"""The end of a sweep: one definition for the order book, the API and the statements."""

from mta.model.rules import Rule
from mta.model.sweeps import SweepPhase, SweepState
from mta.policy.rule_effect import in_force, swept

_ENDED = (SweepPhase.DONE, SweepPhase.STOPPED)


def needs_sweep(rule: Rule, sweep: SweepState | None, now: int) -> bool:
    """Whether the account of the rule includes a sweep: one is to come, or has begun. A rule that is disabled or has
    expired at `now` (Unix ms) before its sweep began is not swept any more."""
    return swept(rule) and (in_force(rule, now) or (sweep is not None and sweep.generation >= rule.generation))


def is_over(rule: Rule, sweep: SweepState | None, now: int) -> bool:
    """Whether no sweep of the rule moves anything from now on. A sweep that stopped because the rule was lifted or
    edited, or expired, is over like one that is done."""
    if sweep is not None and sweep.generation >= rule.generation and sweep.phase in _ENDED:
        return True
    return not needs_sweep(rule, sweep, now)
