"""The effect of a rule on a delivery, at each of its stages."""

import msgspec
import pytest

from mta.model.outcomes import Forced, Origin, Outcome, Reply, Stage, Verdict
from mta.model.replies import OUR_DECISION
from mta.model.rules import AtTheDoor, Kind, Rule, Selectors
from mta.policy.rule_effect import effect_of, ends, holds, in_force, overruled, refusal_of, refuses, still_holds, swept

HARD = Rule("r1", Selectors(tag="a"), 554, "5.7.1", "stopped", reason="wrong list")
PAUSE = Rule("p1", Selectors(tag="a"), kind=Kind.PAUSE)


def with_code(code: int) -> Rule:
    return msgspec.structs.replace(HARD, code=code)


@pytest.mark.parametrize(
    ("rule", "verdict", "its_end"),
    [
        (with_code(554), Verdict.INTERCEPTED, True),
        (with_code(250), Verdict.INTERCEPTED, True),
        (with_code(450), Verdict.TEMPORARY, False),
        (PAUSE, Verdict.HELD, False),
    ],
)
@pytest.mark.parametrize("stage", Stage)
def test_the_verdict_does_not_depend_on_the_stage(rule: Rule, verdict: Verdict, its_end: bool, stage: Stage) -> None:
    effect = effect_of(rule, 7, stage)
    assert (effect.verdict, effect.origin, effect.forced) == (verdict, Origin.FORCED, Forced(rule.id, 7, stage))
    assert (ends(rule), holds(rule)) == (its_end, verdict is Verdict.HELD)


def test_reply_and_reason_are_the_rules() -> None:
    effect = effect_of(HARD, 7, Stage.ATTEMPT, mta="192.0.2.1", duration_ms=5)
    assert (effect.reply, effect.reason) == (Reply(554, "5.7.1", "stopped"), "wrong list")
    assert (effect.mta, effect.duration_ms, effect.uncertain) == ("192.0.2.1", 5, False)
    assert effect.undoable
    assert not effect_of(msgspec.structs.replace(HARD, undo=False), 7, Stage.QUEUED).undoable


def test_what_is_known_of_an_attempt_stays_when_a_rule_overrules_it() -> None:
    before = Outcome(
        Verdict.TEMPORARY, Reply(451), Origin.REMOTE, "192.0.2.1", "mx", "192.0.2.9", "TLSv1.3", 12,
        reason="RCPT (mx)", uncertain=True, past_dot_of=("r0",),
    )  # fmt: skip
    after = overruled(before, HARD, 7, Stage.QUEUED)
    assert after == Outcome(
        Verdict.INTERCEPTED, Reply(554, "5.7.1", "stopped"), Origin.FORCED, "192.0.2.1", "mx", "192.0.2.9", "TLSv1.3",
        12, Forced("r1", 7, Stage.QUEUED), reason="wrong list", uncertain=True, past_dot_of=("r0",), undoable=True,
        known=OUR_DECISION,
    )  # fmt: skip


def test_a_refusal_has_an_enhanced_code_and_words_though_the_rule_has_none() -> None:
    bare = msgspec.structs.replace(HARD, code=450, extended="", description="")
    refusal = refusal_of(bare, 7)
    assert (refusal.reply.code, refusal.reply.enhanced, refusal.forced) == (450, "4.7.1", Forced("r1", 7, Stage.DOOR))
    assert refusal.reply.text
    assert refusal_of(HARD, 7).reply == Reply(554, "5.7.1", "stopped")


def test_only_a_forced_error_that_says_so_refuses_and_none_that_discards() -> None:
    refusing = msgspec.structs.replace(HARD, at_the_door=AtTheDoor.REJECT)
    assert refuses(refusing)
    assert not refuses(HARD)
    assert not refuses(msgspec.structs.replace(refusing, code=250))
    assert not refuses(msgspec.structs.replace(PAUSE, at_the_door=AtTheDoor.REJECT))


def test_what_waits_is_swept_where_the_attempt_does_not_matter() -> None:
    assert swept(HARD)
    assert swept(PAUSE)
    assert not swept(with_code(450))
    assert not swept(msgspec.structs.replace(HARD, enabled=False))
    for chosen in ({"mta": "192.0.2.1"}, {"ip": "192.0.2.9"}, {"mx": "*.net"}, {"cluster": False, "node": "n1"}):
        assert not swept(msgspec.structs.replace(HARD, selectors=Selectors(**chosen)))  # type: ignore[arg-type]


def test_a_rule_is_in_force_until_the_instant_of_its_end() -> None:
    ending = msgspec.structs.replace(PAUSE, expires_at=100)
    assert in_force(PAUSE, 10**15)
    assert in_force(ending, 99)
    assert not in_force(ending, 100)
    assert not in_force(msgspec.structs.replace(PAUSE, enabled=False), 0)
    assert (still_holds(ending, 99), still_holds(ending, 100), still_holds(HARD, 0)) == (True, False, False)
    assert not still_holds(None, 0)
