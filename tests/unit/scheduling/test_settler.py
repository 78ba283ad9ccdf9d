import msgspec
import pytest

from mta.model.endings import Final
from mta.model.events import EventType, OrderedEvent
from mta.model.outcomes import Class, Origin, Outcome, Reply, ReturnReason, Stage, Verdict
from mta.model.rules import Kind, Rule, Selectors
from mta.policy.rule_effect import effect_of, overruled
from mta.policy.shaping import Shaping
from mta.ports.queueing import Move
from mta.scheduling.settlement import Terms, canceled_outcome, decide, returned_outcome
from mta.scheduling.settler import Settler
from tests.support.scheduling import NOW, SETTINGS, FakeClaims, FakeRules, a_claim, until

RULE = Rule("r1", Selectors(tag="t"), 554, "5.7.1", "stop")
OK = Outcome(Verdict.DELIVERED, Reply(250, "2.0.0", "ok"), Origin.REMOTE, mta="192.0.2.1")
LATER = Outcome(Verdict.TEMPORARY, Reply(451, "4.7.1", "later"), Origin.REMOTE, mta="192.0.2.1")
TERMS = Terms("n1", SETTINGS.delivery, Shaping(SETTINGS))
PAUSE = Rule("p1", Selectors(tag="t"), kind=Kind.PAUSE)


def event(raw):
    return msgspec.msgpack.decode(raw, type=OrderedEvent)


def a_settler(claims, rules=None, wake=lambda lane: None):
    return Settler(
        claims, rules or FakeRules(), SETTINGS, Shaping(SETTINGS), wake, clock=lambda: NOW, chance=lambda: 0.5
    )


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
    assert change.late_event is None


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


async def test_what_an_old_table_lets_back_is_decided_again():
    """The barrier stands where the last pass of a sweep began: an old table's put-back would come behind it."""
    claims, rules = FakeClaims(), FakeRules(generation=1)
    claims.barrier = 2
    settler = a_settler(claims, rules)
    settler.settle(a_claim(), LATER)
    await until(lambda: settler.redecided)
    assert not claims.settled
    rules.table = FakeRules(RULE, generation=2).table
    await settler.flush()
    (change,) = claims.settled
    assert (change.move, change.ended, change.rule) == (Move.END, Class.INTERCEPTED, "r1")


async def test_forced_4xx_counts_an_attempt_and_names_its_rule():
    rule = Rule("r4", Selectors(), 450)
    change = await settled(FakeClaims(), a_claim(), effect_of(rule, 1, Stage.ATTEMPT))
    assert (change.deferred_by_rule, change.rule, change.record.deferred_by, change.record.attempts) == (
        True,
        "r4",
        "r4",
        1,
    )
    assert event(change.event).origin is Origin.FORCED


async def test_a_return_that_was_written_is_told_with_its_reason():
    woken = []
    settler = a_settler(FakeClaims(), wake=woken.append)
    settler.settle(a_claim(), returned_outcome(ReturnReason.NO_SLOT))
    settler.settle(a_claim(), OK)
    assert settler.returns.metrics() == {}
    await settler.flush()
    assert settler.returns.metrics() == {"returned:no_slot:p|example.com": 1}
    assert woken == [0], "its lane has work again"


async def test_a_delivery_whose_rule_was_lifted_says_so():
    claims = FakeClaims()
    claims.barrier = 2
    settler = a_settler(claims, FakeRules(generation=2))
    settler.settle(a_claim(), effect_of(RULE, 1, Stage.ATTEMPT))
    await settler.flush()
    assert settler.returns.metrics() == {"returned:rule_lifted:p|example.com": 1}


async def test_old_rules_are_decided_again_and_without_a_rule_it_returns():
    claims = FakeClaims()
    claims.barrier = 2
    change = await settled(claims, a_claim(), effect_of(RULE, 1, Stage.ATTEMPT), FakeRules(generation=2))
    assert (change.move, change.due_at, change.rule) == (Move.QUEUE, NOW, "")


@pytest.mark.parametrize(("ip", "rule"), [("192.0.2.9", "r2"), ("192.0.2.8", "")])
async def test_old_rules_are_decided_again_by_what_is_known_of_the_peer(ip, rule):
    claims = FakeClaims()
    claims.barrier = 2
    before = Outcome(Verdict.INTERCEPTED, Reply(554), Origin.FORCED, mta="192.0.2.1", mx="mx.example", remote_ip=ip)
    before = overruled(before, RULE, 1, Stage.ATTEMPT)
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


def final(change):
    return msgspec.msgpack.decode(change.final, type=Final)


async def test_a_pause_holds_without_an_attempt_and_forgets_who_deferred_it():
    claim = a_claim(deferred_by="r4", accepted_at=NOW - 5)
    change = await settled(FakeClaims(), claim, effect_of(PAUSE, 3, Stage.ATTEMPT), FakeRules(PAUSE))
    assert (change.move, change.rule, change.generation, change.left_rule) == (Move.HOLD, "p1", 3, "r4")
    assert (change.due_at, change.record.held_at, change.record.attempts, change.record.deferred_by) == (
        NOW - 5,
        NOW,
        0,
        "",
    )
    assert (event(change.event).type, event(change.event).forced.rule) == (EventType.HOLD, "p1")


async def test_what_was_tried_before_is_due_now_when_it_is_released():
    change = await settled(FakeClaims(), a_claim(attempts=2), effect_of(PAUSE, 3, Stage.BEFORE_DOT))
    assert (change.due_at, change.record.attempts) == (NOW, 2)


async def test_a_pause_that_was_lifted_meanwhile_lets_it_go_back():
    claims = FakeClaims()
    claims.barrier = 2
    change = await settled(claims, a_claim(), effect_of(PAUSE, 1, Stage.ATTEMPT), FakeRules(generation=2))
    assert (change.move, change.rule, change.record) == (Move.QUEUE, "", None)


@pytest.mark.parametrize("verdict", [Verdict.TEMPORARY, Verdict.RETURNED])
async def test_what_would_live_on_is_canceled_when_that_was_asked_for(verdict):
    claims, claim = FakeClaims(), a_claim()
    claims.marked.add(claim.id)
    change = await settled(claims, claim, msgspec.structs.replace(LATER, verdict=verdict, uncertain=True))
    assert (change.ended, change.uncertain, change.rule, change.generation) == (Class.CANCELED, True, "", -1)
    assert (event(change.event).type, event(change.event).actor) == (EventType.CANCELLATION, "ops")
    assert final(change).reply is None


async def test_what_keeps_failing_is_canceled_rather_than_parked():
    claims, claim = FakeClaims(), a_claim(reclaims=5)
    claims.marked.add(claim.id)
    settler = a_settler(claims)
    settler.park(claim, "poison")
    await settler.flush()
    assert [(change.ended, change.uncertain) for change in claims.settled] == [(Class.CANCELED, True)]


async def test_a_delivery_past_its_dot_is_delivered_although_somebody_cancels_it():
    claims, claim = FakeClaims(), a_claim()
    claims.marked.add(claim.id)
    assert (await settled(claims, claim, OK)).ended is Class.DELIVERED


def test_a_cancellation_before_any_attempt_counts_none():
    change = decide(a_claim(attempts=1), canceled_outcome("ops (t1)"), NOW, TERMS, 0.5)
    assert (event(change.event).attempt, event(change.event).code, change.uncertain) == (1, 0, False)


@pytest.mark.parametrize("undo", [True, False])
def test_what_a_rule_intercepts_is_spared_where_it_says_so(undo):
    rule = msgspec.structs.replace(RULE, undo=undo)
    terms = Terms("n1", SETTINGS.delivery, Shaping(SETTINGS), 600_000)
    change = decide(a_claim(), effect_of(rule, 1, Stage.ATTEMPT), NOW, terms, 0.5)
    assert change.spare_ms == (600_000 if undo else 0)
    assert decide(a_claim(), OK, NOW, terms, 0.5).spare_ms == 0


@pytest.mark.parametrize(
    ("route", "relayed"), [("", False), ("mx", False), ("192.0.2.1:25", True), ("relay:out", True)]
)
def test_what_a_relay_took_is_told_apart_from_what_the_mx_took(route, relayed):
    change = decide(a_claim(recipients=3), msgspec.structs.replace(OK, route=route), NOW, TERMS, 0.5)
    assert event(change.event).route == (route or "mx")
    assert final(change) == Final("b@example.com", NOW, 3, relayed, attempts=1, common=final(change).common, seq=2)


@pytest.mark.parametrize(("enhanced", "unroutable"), [("5.1.2", True), ("5.4.4", True), ("5.6.3", False)])
def test_a_bounce_says_whether_there_was_anywhere_to_go(enhanced, unroutable):
    outcome = Outcome(Verdict.PERMANENT, Reply(550, enhanced, "no"), Origin.LOCAL)
    found = final(decide(a_claim(), outcome, NOW, TERMS, 0.5))
    assert (found.reply, found.unroutable) == (outcome.reply, unroutable)
    refused = msgspec.structs.replace(outcome, origin=Origin.REMOTE)
    assert not final(decide(a_claim(), refused, NOW, TERMS, 0.5)).unroutable


async def test_outcomes_are_counted_by_what_became_of_the_delivery_once_they_are_written():
    claims = FakeClaims()
    settler = a_settler(claims)
    stopped = Outcome(Verdict.RETURNED, Reply(0), Origin.LOCAL)
    for outcome in (OK, OK, LATER, effect_of(RULE, 1, Stage.ATTEMPT), stopped):
        settler.settle(a_claim(), outcome)
    settler.park(a_claim(), "poison")
    assert settler.outcomes == {}
    await settler.flush()
    assert settler.outcomes == {"delivered": 2, "deferred": 1, "intercepted": 1, "returned": 1, "parked": 1}


async def test_r9_a_settled_delivery_counts_for_its_pool_by_the_reply():
    settler = a_settler(FakeClaims())
    claims = [a_claim() for _ in range(3)]
    for claim, outcome in zip(claims, (OK, LATER, returned_outcome(ReturnReason.STOPPING)), strict=True):
        settler.settle(claim, outcome)
    await settler.flush()
    pool = claims[0].queue.pool
    assert settler.replies.metrics() == {
        f"replies:delivered|2xx|{pool}": 1,
        f"replies:deferred|4xx|{pool}": 1,
    }, "one that was returned has had no attempt"
    assert settler.outcomes == {"delivered": 1, "deferred": 1, "returned": 1}
