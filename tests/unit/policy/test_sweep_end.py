"""One answer to whether the sweep of a rule is over, whoever asks."""

import msgspec
import pytest

from mta.model.rules import Kind, Rule, Selectors
from mta.model.sweeps import SweepPhase, SweepState
from mta.orders.statement import rule_statement
from mta.policy.sweep_end import is_over, needs_sweep
from mta.ports.orders import Effect

NOW = 1000
RULE = Rule("r", Selectors(tag="a"), 554, generation=7)
EXPIRED = msgspec.structs.replace(RULE, expires_at=NOW)
DISABLED = msgspec.structs.replace(RULE, enabled=False)
AT_THE_ATTEMPT = msgspec.structs.replace(RULE, selectors=Selectors(tag="a", mta="192.0.2.1"))


def sweep(phase: SweepPhase, generation: int = 7) -> SweepState:
    return SweepState("r", generation, phase, 10, 5, 1, 2, 3)


CASES = [
    (RULE, None, False),
    (RULE, sweep(SweepPhase.RUNNING), False),
    (RULE, sweep(SweepPhase.WAITING), False),
    (RULE, sweep(SweepPhase.DONE, 6), False),
    (RULE, sweep(SweepPhase.STOPPED, 6), False),
    (RULE, sweep(SweepPhase.DONE), True),
    (RULE, sweep(SweepPhase.STOPPED), True),
    (RULE, sweep(SweepPhase.DONE, 8), True),  # of a later change of it
    (EXPIRED, None, True),
    (EXPIRED, sweep(SweepPhase.DONE, 6), True),
    (EXPIRED, sweep(SweepPhase.RUNNING), False),  # the sweeper has not noticed yet: its step may be on its way
    (EXPIRED, sweep(SweepPhase.STOPPED), True),
    (DISABLED, None, True),
    (AT_THE_ATTEMPT, None, True),
]


@pytest.mark.parametrize(("rule", "state", "over"), CASES)
def test_a_sweep_is_over_when_it_moves_nothing_more(rule: Rule, state: SweepState | None, over: bool) -> None:
    assert is_over(rule, state, NOW) is over


@pytest.mark.parametrize(("rule", "state", "over"), CASES)
def test_the_statement_is_complete_exactly_then(rule: Rule, state: SweepState | None, over: bool) -> None:
    effect = Effect(rule, False, True, NOW, NOW, (), NOW, (), ())
    said = rule_statement(effect, {"met": 1, "intercepted:queued": 1}, None, state, NOW)
    unknown = rule.selectors.mta is not None  # waiting mail meets it at its attempts only
    assert (said.complete, said.balanced) == (None if unknown else over, True if over else None)


def test_only_a_rule_in_force_is_still_to_be_swept() -> None:
    assert needs_sweep(RULE, None, NOW)
    assert not needs_sweep(EXPIRED, None, NOW)
    assert not needs_sweep(AT_THE_ATTEMPT, None, NOW)
    assert needs_sweep(msgspec.structs.replace(RULE, code=0, kind=Kind.PAUSE), None, NOW)
    assert not needs_sweep(msgspec.structs.replace(RULE, code=450), None, NOW)
