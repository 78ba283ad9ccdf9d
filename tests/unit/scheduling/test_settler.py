import msgspec
import pytest

from mta.model.events import Event, EventType
from mta.model.outcomes import Class, Origin, Outcome, Reply, Stage, Verdict
from mta.model.rules import Rule, Selectors
from mta.ports.queueing import Move
from mta.scheduling.settlement import Terms, decide, forced_outcome
from mta.scheduling.settler import Settler
from tests.support.scheduling import NOW, SETTINGS, FakeClaims, FakeRules, a_claim

RULE = Rule("r1", Selectors(tag="t"), 554, "5.7.1", "stop")
OK = Outcome(Verdict.DELIVERED, Reply(250, "2.0.0", "ok"), Origin.REMOTE, mta="192.0.2.1")
LATER = Outcome(Verdict.TEMPORARY, Reply(451, "4.7.1", "later"), Origin.REMOTE, mta="192.0.2.1")
TERMS = Terms("n1", SETTINGS.delivery)


def event(raw):
    return msgspec.msgpack.decode(raw, type=Event)


def a_settler(claims, rules=None):
    return Settler(claims, rules or FakeRules(), SETTINGS, clock=lambda: NOW, chance=lambda: 0.5)


async def settled(claims, claim, outcome, rules=None):
    settler = a_settler(claims, rules)
    settler.settle(claim, outcome)
    await settler.flush()
    return claims.settled[-1]


async def test_delivered_ends_and_says_so_late_too():
    change = await settled(FakeClaims(), a_claim(uncertain=True), OK)
    assert (change.move, change.ended, change.uncertain, change.delivered_late) == (
        Move.END,
        Class.DELIVERED,
        False,
        True,
    )
    assert event(change.event).type is EventType.DELIVERY
    assert event(change.late_event).type is EventType.LATE_OUTCOME


async def test_temporary_is_retried_by_the_schedule_with_the_reply_kept():
    change = await settled(FakeClaims(), a_claim(attempts=1), LATER)
    assert (change.move, change.due_at, change.record.attempts) == (Move.QUEUE, NOW + 300_000, 2)
    assert change.record.last == LATER.reply
    assert event(change.event).next_attempt == change.due_at


async def test_expiry_keeps_the_last_reply():
    change = await settled(FakeClaims(), a_claim(max_attempts=1), LATER)
    assert change.ended is Class.EXPIRED
    assert (event(change.event).code, event(change.event).enhanced) == (451, "4.4.7")


@pytest.mark.parametrize(
    ("claim", "outcome"),
    [
        (a_claim(reclaims=1), msgspec.structs.replace(OK, verdict=Verdict.PERMANENT)),
        (a_claim(uncertain=True), msgspec.structs.replace(OK, verdict=Verdict.PERMANENT)),
        (a_claim(max_attempts=1), msgspec.structs.replace(LATER, uncertain=True)),
    ],
)
def test_what_may_have_arrived_and_ends_otherwise_is_uncertain(claim, outcome):
    assert decide(claim, outcome, NOW, TERMS, 0.5).uncertain


def test_a_doubt_survives_a_retry_and_a_return():
    claim = a_claim()
    for verdict in (Verdict.TEMPORARY, Verdict.RETURNED):
        outcome = msgspec.structs.replace(LATER, verdict=verdict, uncertain=True)
        assert decide(claim, outcome, NOW, TERMS, 0.5).record.uncertain


async def test_returned_changes_nothing():
    change = await settled(FakeClaims(), a_claim(), msgspec.structs.replace(LATER, verdict=Verdict.RETURNED))
    assert (change.move, change.due_at, change.record, change.event) == (Move.QUEUE, NOW, None, b"")


async def test_what_would_be_put_back_is_intercepted_when_a_rule_ends_it():
    change = await settled(FakeClaims(), a_claim(), msgspec.structs.replace(LATER, uncertain=True), FakeRules(RULE))
    assert (change.ended, change.stage, change.rule, change.uncertain) == (Class.INTERCEPTED, "queued", "r1", True)


async def test_forced_4xx_counts_an_attempt_and_names_its_rule():
    rule = Rule("r4", Selectors(), 450)
    change = await settled(FakeClaims(), a_claim(), forced_outcome(rule, 1, Stage.ATTEMPT))
    assert (change.deferred_by_rule, change.rule, change.record.deferred_by, change.record.attempts) == (
        True,
        "r4",
        "r4",
        1,
    )
    assert event(change.event).origin is Origin.FORCED


async def test_old_rules_are_decided_again_and_without_a_rule_it_returns():
    claims = FakeClaims()
    claims.barrier = 2
    change = await settled(claims, a_claim(), forced_outcome(RULE, 1, Stage.ATTEMPT), FakeRules(generation=2))
    assert (change.move, change.due_at, change.rule) == (Move.QUEUE, NOW, "")


@pytest.mark.parametrize(("ip", "rule"), [("192.0.2.9", "r2"), ("192.0.2.8", "")])
async def test_old_rules_are_decided_again_by_what_is_known_of_the_peer(ip, rule):
    claims = FakeClaims()
    claims.barrier = 2
    before = Outcome(Verdict.INTERCEPTED, Reply(554), Origin.FORCED, mta="192.0.2.1", mx="mx.example", remote_ip=ip)
    before = forced_outcome(RULE, 1, Stage.ATTEMPT, before)
    rules = FakeRules(Rule("r2", Selectors(ip="192.0.2.9", mta="192.0.2.1"), 550), generation=2)
    assert (await settled(claims, a_claim(), before, rules)).rule == rule


async def test_an_outcome_waits_for_the_store_and_a_lost_answer_makes_nothing_late():
    claims = FakeClaims()
    claims.away, claims.lost_answers = 1, 1
    settler = a_settler(claims)
    settler.settle(a_claim(), OK)
    await settler.flush()
    assert len(claims.settled) == 1
    assert [again for ((_, again),) in claims.calls] == [False, True, True]
    assert (settler.stale, settler.waiting) == (1, 0)


async def test_many_outcomes_are_written_in_batches_of_a_hundred_a_lane():
    claims = FakeClaims(lanes=2)
    settler = a_settler(claims)
    for number in range(500):
        settler.settle(a_claim(lane=number % 2), OK)
    await settler.flush()
    assert len(claims.settled) == 500
    assert max(map(len, claims.calls)) <= 100
    assert len(claims.calls) <= 8


async def test_escaped_is_noted():
    claims = FakeClaims()
    settler = a_settler(claims)
    settler.escaped(a_claim(), "192.0.2.1", "mx", "192.0.2.2")
    await settler.flush()
    assert event(claims.notes[0]).type is EventType.ESCAPED
