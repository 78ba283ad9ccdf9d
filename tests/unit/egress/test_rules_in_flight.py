"""New rules and cancellations meet transactions that wait, are fetched, have begun, or are past their dot."""

import asyncio
from typing import Any

import msgspec
import pytest

from mta.model.ids import delivery_text, message_of
from mta.model.outcomes import Origin, Outcome, Reply, ReturnReason, Stage, Verdict
from mta.model.replies import OUR_DECISION
from mta.model.rules import InFlight, Kind, Rule
from tests.support.egress_rig import Rig, rule
from tests.support.sink import DROP, HOLD, Sink

ALL = ("PIPELINING", "SIZE 10485760", "8BITMIME", "ENHANCEDSTATUSCODES")


@pytest.fixture(params=[ALL, ALL[1:]], ids=["pipelined", "one by one"])
async def sink(request: pytest.FixtureRequest):
    async with Sink(extensions=request.param) as sink:
        yield sink


def to(sink: Sink) -> str:
    return f"{sink.host}:{sink.port}"


def finishing(identity: str = "r1", generation: int = 1, **selectors: Any) -> Rule:
    return _as(rule(identity, **selectors), generation, in_flight=InFlight.FINISH)


def pause(identity: str = "p1", generation: int = 1, **selectors: Any) -> Rule:
    return _as(rule(identity, **selectors), generation, kind=Kind.PAUSE, code=0, extended="", description="")


def _as(made: Rule, generation: int, **changes: Any) -> Rule:
    return msgspec.structs.replace(made, generation=generation, **changes)


def hold(sink: Sink, verb: str, word: str = "") -> None:
    """The first command of that verb with that word is answered when the test says so."""
    left = [HOLD]
    sink.script[verb] = lambda connection, argument: left.pop() if left and word in argument else None


async def held(sink: Sink) -> None:
    await sink.until(lambda sink: any(session.held for session in sink._sessions))


def by_rule(outcome: Outcome) -> tuple[Verdict, str, Stage]:
    assert outcome.forced is not None
    return outcome.verdict, outcome.forced.rule, outcome.forced.stage


@pytest.mark.parametrize("verb", ["MAIL", "RCPT"])
async def test_what_has_begun_finishes_where_the_rule_says_so_and_is_listed(sink: Sink, verb: str) -> None:
    hold(sink, verb)
    async with Rig(route=to(sink)) as rig:
        rig.limits.connections = 1
        begun = rig.send("a@example.com", "b@example.com", tags=("stop",))
        await held(sink)
        rig.send("late@example.com", tags=("stop",))
        listed = rig.rules.put(finishing(tag="stop"))
        assert [(entry.rule, entry.id, entry.dot_at) for entry in listed] == [
            ("r1", delivery_text(claimed.id), 0) for claimed in begun
        ]
        assert list(rig.settle.by_recipient()) == ["late@example.com"]
        assert rig.rules.put(finishing(tag="stop"), rule("r2", tag="other")) == [], "listed once"
        sink.release("250 2.0.0 ok")
        await rig.settle.until(3)
        rig.send("later@example.com", tags=("stop",))
        await rig.settle.until(4)
        outcomes = rig.settle.by_recipient()
    for recipient in ("a@example.com", "b@example.com"):
        assert (outcomes[recipient].verdict, outcomes[recipient].past_dot_of) == (Verdict.DELIVERED, ("r1",))
    for recipient in ("late@example.com", "later@example.com"):
        assert by_rule(outcomes[recipient]) == (Verdict.INTERCEPTED, "r1", Stage.ATTEMPT)
        assert outcomes[recipient].past_dot_of == ()
    assert [message.recipients for message in sink.begun] == [["a@example.com", "b@example.com"]]


async def test_a_large_body_that_has_begun_finishes_too(sink: Sink) -> None:
    put = []
    async with Rig(route=to(sink)) as rig:

        def between_the_looks() -> bool:
            if not put:
                put.extend(rig.rules.put(finishing(tag="stop")))
            return True

        rig.rules.dot = between_the_looks
        rig.send("a@example.com", content=b"0123456789\r\n" * 100_000, tags=("stop",))
        (outcome,) = await rig.settle.until(1)
    assert [entry.dot_at for entry in put] == [0]
    assert (outcome.verdict, outcome.past_dot_of) == (Verdict.DELIVERED, ("r1",))


@pytest.mark.parametrize(
    ("verb", "answer", "uncertain"),
    [("MAIL", DROP, False), ("DATA", "451 4.3.0 later", False), (".", "451 4.3.0 later", False), (".", DROP, True)],
)
async def test_what_may_finish_and_does_not_is_to_be_retried(
    sink: Sink, verb: str, answer: str, uncertain: bool
) -> None:
    hold(sink, "MAIL")
    async with Rig(route=to(sink)) as rig:
        rig.send("a@example.com", tags=("stop",))
        await held(sink)
        assert len(rig.rules.put(finishing(tag="stop"))) == 1
        if verb != "MAIL":
            sink.script[verb] = answer
        sink.release(answer if verb == "MAIL" else "250 2.1.0 ok")
        (outcome,) = await rig.settle.until(1)
    assert (outcome.verdict, outcome.past_dot_of) == (Verdict.TEMPORARY, ("r1",))
    assert outcome.uncertain is uncertain
    assert outcome.forced is None, "the settler looks at the table"


async def test_what_is_begun_anew_under_the_rule_is_intercepted_and_still_accounted_for(sink: Sink) -> None:
    hold(sink, "MAIL", "second")
    async with Rig(route=to(sink)) as rig:
        rig.send("a@example.com")
        await rig.settle.until(1)
        rig.send("b@example.com", sender="second@x", tags=("stop",))
        await held(sink)
        assert len(rig.rules.put(finishing(tag="stop"))) == 1
        sink.release("421 4.3.2 I was about to close this session")
        _, outcome = await rig.settle.until(2)
    assert by_rule(outcome) == (Verdict.INTERCEPTED, "r1", Stage.ATTEMPT)
    assert outcome.past_dot_of == ("r1",)
    assert len(sink.taken) == 1


@pytest.mark.parametrize(
    ("second", "ended_by"),
    [
        (_as(rule("r1", tag="stop"), 2), "r1"),
        (_as(rule("r2", tag="stop", pool="default"), 2), "r2"),
        (_as(rule("r2", domain="example.com"), 2), "r1"),
        (_as(rule("r2", code=451), 2), "r1"),
        (pause("r2", 2, tag="stop"), "r1"),
    ],
    ids=["the rule was edited", "a better rule", "a lesser rule", "a rule that defers", "a pause"],
)
async def test_any_rule_that_aborts_ends_what_another_lets_finish(sink: Sink, second: Rule, ended_by: str) -> None:
    hold(sink, "MAIL")
    first = finishing(tag="stop")
    async with Rig(route=to(sink)) as rig:
        rig.send("a@example.com", tags=("stop",))
        await held(sink)
        assert len(rig.rules.put(first)) == 1
        assert rig.rules.put(*({first.id: first} | {second.id: second}).values()) == []
        (outcome,) = await rig.settle.until(1)
    assert by_rule(outcome) == (Verdict.INTERCEPTED, ended_by, Stage.BEFORE_DOT)
    assert outcome.past_dot_of == ("r1",), "the first rule waits for it"
    assert sink.received == []


async def test_two_rules_that_let_it_finish_both_list_it(sink: Sink) -> None:
    hold(sink, "MAIL")
    async with Rig(route=to(sink)) as rig:
        rig.send("a@example.com", tags=("stop",))
        await held(sink)
        first, second = finishing(tag="stop"), finishing("r2", 2, domain="example.com")
        assert [entry.rule for entry in rig.rules.put(first)] == ["r1"]
        assert [entry.rule for entry in rig.rules.put(first, second)] == ["r2"]
        sink.release("250 2.1.0 ok")
        (outcome,) = await rig.settle.until(1)
    assert (outcome.verdict, outcome.past_dot_of) == (Verdict.DELIVERED, ("r1", "r2"))


async def test_what_no_list_names_hands_over_no_dot(sink: Sink) -> None:
    async with Rig(route=to(sink)) as rig:

        def on_mail(connection: int, argument: str) -> None:
            rig.rules.table = rig.rules.table.rebuilt(rig.rules.table.head, [finishing(tag="stop")])

        sink.script["MAIL"] = on_mail
        rig.send("a@example.com", tags=("stop",))
        (outcome,) = await rig.settle.until(1)
    assert by_rule(outcome) == (Verdict.INTERCEPTED, "r1", Stage.BEFORE_DOT)
    assert sink.received == []


async def test_the_last_look_asks_the_rule_as_it_is_now(sink: Sink) -> None:
    async with Rig(route=to(sink)) as rig:

        def on_mail(connection: int, argument: str) -> None:
            assert len(rig.rules.put(finishing(tag="stop"))) == 1
            rig.rules.table = rig.rules.table.rebuilt(rig.rules.table.head, [rule(tag="stop")])

        sink.script["MAIL"] = on_mail
        rig.send("a@example.com", tags=("stop",))
        (outcome,) = await rig.settle.until(1)
    assert by_rule(outcome) == (Verdict.INTERCEPTED, "r1", Stage.BEFORE_DOT)
    assert sink.received == []


async def test_an_abort_after_data_harms_no_neighbour(sink: Sink) -> None:
    answers = [HOLD, None]
    sink.script["DATA"] = lambda connection, argument: answers.pop() if answers else None
    async with Rig(route=to(sink)) as rig:
        rig.limits.connections = 1
        rig.send("before@example.com")
        rig.send("a@example.com", "b@example.com", tags=("stop",))
        rig.send("after@example.com")
        await held(sink)
        assert [outcome.verdict for outcome in await rig.settle.until(1)] == [Verdict.DELIVERED], "its reply was read"
        rig.rules.put(rule(tag="stop"))
        await rig.settle.until(4)
        outcomes = rig.settle.by_recipient()
    for recipient in ("a@example.com", "b@example.com"):
        assert by_rule(outcomes[recipient]) == (Verdict.INTERCEPTED, "r1", Stage.BEFORE_DOT)
    assert outcomes["after@example.com"].verdict is Verdict.DELIVERED
    assert not any(outcome.uncertain for outcome in outcomes.values())
    assert [message.recipients for message in sink.received] == [["before@example.com"], ["after@example.com"]]
    assert [message.connection for message in sink.received] == [1, 2], "only closing it takes DATA back"


async def test_a_pause_holds_what_waits_and_what_has_begun(sink: Sink) -> None:
    hold(sink, "MAIL")
    async with Rig(route=to(sink)) as rig:
        rig.limits.connections = 1
        rig.send("begun@example.com", tags=("stop",))
        await held(sink)
        rig.send("waits@example.com", tags=("stop",))
        assert rig.rules.put(pause(tag="stop")) == []
        rig.send("new@example.com", tags=("stop",))
        rig.send("other@example.com")
        sink.release("250 2.1.0 ok")
        await rig.settle.until(4)
        outcomes = rig.settle.by_recipient()
    assert by_rule(outcomes["begun@example.com"]) == (Verdict.HELD, "p1", Stage.BEFORE_DOT)
    assert by_rule(outcomes["waits@example.com"]) == (Verdict.HELD, "p1", Stage.ATTEMPT)
    assert by_rule(outcomes["new@example.com"]) == (Verdict.HELD, "p1", Stage.ATTEMPT)
    assert outcomes["other@example.com"].verdict is Verdict.DELIVERED
    assert [message.recipients for message in sink.received] == [["other@example.com"]]


async def test_a_pause_may_let_what_has_begun_finish(sink: Sink) -> None:
    hold(sink, "MAIL")
    async with Rig(route=to(sink)) as rig:
        rig.send("a@example.com", tags=("stop",))
        await held(sink)
        (listed,) = rig.rules.put(_as(pause(tag="stop"), 1, in_flight=InFlight.FINISH))
        sink.release("250 2.1.0 ok")
        (outcome,) = await rig.settle.until(1)
    assert (listed.rule, outcome.verdict, outcome.past_dot_of) == ("p1", Verdict.DELIVERED, ("p1",))


@pytest.mark.parametrize("in_flight", list(InFlight))
async def test_what_is_being_fetched_has_not_begun(sink: Sink, in_flight: InFlight) -> None:
    async with Rig(route=to(sink)) as rig:
        fetched = _slow_content(rig)
        rig.send("a@example.com", content=None, tags=("stop",))
        await fetched.asked.wait()
        assert rig.rules.put(_as(pause(tag="stop"), 1, in_flight=in_flight)) == []
        fetched.go.set()
        (outcome,) = await rig.settle.until(1)
    assert by_rule(outcome) == (Verdict.HELD, "p1", Stage.ATTEMPT)
    assert sink.begun == []


async def test_a_rule_for_a_tenant_meets_its_transactions(sink: Sink) -> None:
    hold(sink, "MAIL")
    async with Rig(route=to(sink)) as rig:
        rig.limits.connections = 1
        rig.send("a@example.com", tenant="acme")
        await held(sink)
        rig.send("b@example.com", tenant="other")
        rig.rules.put(rule(tenant="acme"))
        await rig.settle.until(2)
        outcomes = rig.settle.by_recipient()
    assert by_rule(outcomes["a@example.com"]) == (Verdict.INTERCEPTED, "r1", Stage.BEFORE_DOT)
    assert outcomes["b@example.com"].verdict is Verdict.DELIVERED


async def test_a_canceled_message_ends_where_it_is_and_past_its_dot_goes_on(sink: Sink) -> None:
    async with Rig(route=to(sink)) as rig:
        rig.send("first@example.com")  # so that the host has carried something, and gets a second connection
        await rig.settle.until(1)
        rig.settle.outcomes.clear()
        hold(sink, ".", "past@")
        past = rig.send("past@example.com")
        await held(sink)
        hold(sink, "MAIL", "begun@")
        begun = rig.send("begun@example.com", "with@example.com", sender="begun@x")
        await sink.until(lambda sink: sum(session.held for session in sink._sessions) == 2)
        rig.limits.connections = 0
        waits, other = rig.send("waits@example.com"), rig.send("other@example.com")
        rig.rules.cancel({message_of(claimed.id): "ops" for claimed in (*past, *begun, *waits)})
        assert sorted(rig.settle.by_recipient()) == ["begun@example.com", "waits@example.com", "with@example.com"]
        assert rig.settle.by_recipient()["waits@example.com"] == _canceled()
        assert rig.settle.by_recipient()["begun@example.com"].mta == "127.0.0.1", "an attempt had begun"
        assert {outcome.reason for _, outcome in rig.settle.outcomes} == {"canceled"}
        rig.limits.connections = 2
        sink.release("250 2.0.0 ok")
        await rig.settle.until(5)
        outcomes = rig.settle.by_recipient()
    assert [outcomes[claimed.record.recipient].verdict for claimed in (*past, *other)] == [Verdict.DELIVERED] * 2
    assert [message.recipients for message in sink.taken[1:]] == [["past@example.com"], ["other@example.com"]]


async def test_a_canceled_delivery_leaves_the_other_recipients_of_its_message(sink: Sink) -> None:
    async with Rig(route=to(sink)) as rig:
        rig.send("first@example.com")  # so that the host has carried something, and gets a second connection
        await rig.settle.until(1)
        rig.settle.outcomes.clear()
        hold(sink, "MAIL", "begun@")
        begun = rig.send("begun@example.com", "with@example.com", sender="begun@x")
        await held(sink)
        rig.limits.connections = 0
        waits = rig.send("waits@example.com", "beside@example.com")
        rig.rules.cancel({begun[0].id: "ops", waits[0].id: "ops"})
        outcomes = rig.settle.by_recipient()
        assert outcomes["waits@example.com"] == _canceled()
        assert (outcomes["begun@example.com"].verdict, outcomes["begun@example.com"].by) == (Verdict.CANCELED, "ops")
        assert outcomes["with@example.com"].returned is ReturnReason.OTHER_RECIPIENT
        assert len(outcomes) == 3, "the other recipient of what waits goes on"
        rig.limits.connections = 2
        await rig.settle.until(4)
        assert rig.settle.by_recipient()["beside@example.com"].verdict is Verdict.DELIVERED
    assert [message.recipients for message in sink.taken[1:]] == [["beside@example.com"]]


async def test_a_canceled_message_that_is_being_fetched_leaves_its_connection_to_the_next(sink: Sink) -> None:
    async with Rig(route=to(sink)) as rig:
        rig.limits.connections = 1
        fetched = _slow_content(rig)
        (large,) = rig.send("large@example.com", content=None)
        rig.send("next@example.com")
        await fetched.asked.wait()
        rig.rules.cancel({message_of(large.id): "ops"})
        await rig.settle.until(2)
        outcomes = rig.settle.by_recipient()
    assert outcomes["large@example.com"] == _canceled()
    assert outcomes["next@example.com"].verdict is Verdict.DELIVERED
    assert sink.connections == 1


async def test_a_cancellation_tells_the_rule_that_let_the_transaction_finish(sink: Sink) -> None:
    hold(sink, "MAIL")
    async with Rig(route=to(sink)) as rig:
        (begun,) = rig.send("a@example.com", tags=("stop",))
        await held(sink)
        assert len(rig.rules.put(finishing(tag="stop"))) == 1
        rig.rules.cancel({message_of(begun.id): "ops"})
        (outcome,) = await rig.settle.until(1)
    assert (outcome.verdict, outcome.past_dot_of) == (Verdict.CANCELED, ("r1",))


def _canceled() -> Outcome:
    return Outcome(Verdict.CANCELED, Reply(0), Origin.LOCAL, reason="canceled", by="ops", known=OUR_DECISION)


class _slow_content:
    """The content is read when the test says so."""

    def __init__(self, rig: Rig) -> None:
        self.asked, self.go = asyncio.Event(), asyncio.Event()
        rig.get = self.get  # type: ignore[method-assign]

    async def get(self, message: Any, record: Any) -> bytes | None:
        self.asked.set()
        await self.go.wait()
        return b"large\r\n"
