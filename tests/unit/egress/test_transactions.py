"""Egress against scripted peers, phase by phase (F-26, F-27, F-29, C-30, C-31, C-50, C-70, C-71, C-80, C-102)."""

import asyncio
from collections import Counter

import msgspec
import pytest

from mta.model.destination_settings import DomainSettings, SiteSettings
from mta.model.ids import MessageId
from mta.model.limit_orders import LimitOrder
from mta.model.mail import Record
from mta.model.outcomes import Origin, Stage, Verdict
from mta.model.rules import Head
from mta.policy.rule_table import RuleTable
from tests.support.egress_rig import Rig, rule
from tests.support.sink import DROP, HOLD, RESET, STALL, Sink
from tests.support.valkey import free_port

ALL = ("PIPELINING", "SIZE 10485760", "8BITMIME", "ENHANCEDSTATUSCODES")


@pytest.fixture(params=[ALL, ALL[1:]], ids=["pipelined", "one by one"])
async def sink(request: pytest.FixtureRequest):
    async with Sink(extensions=request.param) as sink:
        yield sink


async def until_idle(rig: Rig) -> None:
    """A connection is open and carries nothing."""
    async with asyncio.timeout(30.0):
        while not any(" idle " in text for text in rig.egress.connections()):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.005)


def to(sink: Sink) -> str:
    return f"{sink.host}:{sink.port}"


async def test_a_message_arrives_byte_for_byte(sink: Sink) -> None:
    content = b"Subject: dots\r\n\r\n.\r\n..two\r\nend\r\n.x\r\n"
    async with Rig(route=to(sink)) as rig:
        rig.send("a@example.com", content=content)
        (outcome,) = await rig.settle.until(1)
    assert (outcome.verdict, outcome.origin, outcome.reply.code) == (Verdict.DELIVERED, Origin.REMOTE, 250)
    assert (outcome.mta, outcome.remote_ip, outcome.reply.enhanced) == ("127.0.0.1", "127.0.0.1", "2.0.0")
    (message,) = sink.taken
    assert message.body == content
    assert (message.sender, message.recipients) == ("from@sender.test", ["a@example.com"])
    assert message.parameters == f"SIZE={len(content)}"


@pytest.mark.parametrize("content", [b"", b".", b".\r\n", b"no line end", b"a\r\n" * 100_000, b".x\r\n" * 60_000])
async def test_c40_odd_contents_arrive_with_their_last_line_ended(sink: Sink, content: bytes) -> None:
    async with Rig(route=to(sink)) as rig:
        rig.send("a@example.com", content=content)
        (outcome,) = await rig.settle.until(1)
    assert outcome.verdict is Verdict.DELIVERED
    assert sink.taken[0].body == (content if not content or content.endswith(b"\r\n") else content + b"\r\n")


async def test_content_that_did_not_come_with_the_claim_is_fetched(sink: Sink) -> None:
    async with Rig(route=to(sink)) as rig:
        (claimed,) = rig.send("a@example.com", content=None)
        rig.contents[claimed.id[:16]] = b"large\r\n"
        await rig.settle.until(1)
    assert sink.taken[0].body == b"large\r\n"


async def test_recipients_of_one_message_share_a_transaction_and_fail_alone(sink: Sink) -> None:
    sink.recipients = {"bad@example.com": "550 5.1.1 unknown", "busy@example.com": "452 4.2.2 full"}
    async with Rig(route=to(sink)) as rig:
        rig.send("good@example.com", "bad@example.com", "busy@example.com", "too@example.com")
        await rig.settle.until(4)
        rig.send("next@example.com")
        await rig.settle.until(5)
        outcomes = rig.settle.by_recipient()
    assert [message.recipients for message in sink.taken] == [
        ["good@example.com", "too@example.com"],
        ["next@example.com"],
    ]
    assert sink.connections == 1
    assert outcomes["bad@example.com"].verdict is Verdict.PERMANENT
    assert outcomes["bad@example.com"].reply.text == "unknown"
    assert outcomes["busy@example.com"].verdict is Verdict.TEMPORARY
    assert outcomes["too@example.com"].verdict is Verdict.DELIVERED


async def test_c103_more_than_a_hundred_recipients_take_several_transactions(sink: Sink) -> None:
    async with Rig(route=to(sink)) as rig:
        rig.send(*[f"u{number}@example.com" for number in range(250)])
        await rig.settle.until(250)
    assert sorted(len(message.recipients) for message in sink.taken) == [50, 100, 100]


async def test_552_to_a_recipient_is_temporary_c102(sink: Sink) -> None:
    sink.recipients = {"a@example.com": "552 5.2.2 too many"}
    async with Rig(route=to(sink)) as rig:
        rig.send("a@example.com")
        (outcome,) = await rig.settle.until(1)
    assert outcome.verdict is Verdict.TEMPORARY


async def test_354_without_a_recipient_gets_a_lone_dot_c50() -> None:
    async with Sink(extensions=ALL) as sink, Rig(route=to(sink)) as rig:
        sink.recipients = {"bad@example.com": "550 5.1.1 unknown"}
        sink.script["DATA"] = lambda connection, argument: "354 go on" if len(sink.commands) < 6 else None
        rig.send("bad@example.com")
        rig.send("good@example.com")
        await rig.settle.until(2)
        outcomes = rig.settle.by_recipient()
    assert outcomes["bad@example.com"].reply.enhanced == "5.1.1"
    assert outcomes["good@example.com"].verdict is Verdict.DELIVERED
    assert [message.body for message in sink.received if not message.recipients] == [b""]
    assert [message.recipients for message in sink.taken] == [["good@example.com"]]


ANSWERS = [
    ("451 4.3.0 later", Verdict.TEMPORARY),
    ("554 5.7.1 never", Verdict.PERMANENT),
    ("421 4.3.2 closing", Verdict.TEMPORARY),
    ("354 what", Verdict.TEMPORARY),
    ("not a reply", Verdict.TEMPORARY),
    ("250-one\r\n451 two", Verdict.TEMPORARY),
    (DROP, Verdict.TEMPORARY),
    (RESET, Verdict.TEMPORARY),
]


@pytest.mark.parametrize(
    ("verb", "answer", "verdict"),
    [
        (verb, answer, verdict)
        for verb in ("MAIL", "RCPT", "DATA", ".")
        for answer, verdict in ANSWERS
        if (verb, answer[:3]) != ("DATA", "354")  # what DATA is answered with
    ],
)
async def test_each_answer_in_each_phase_c80_c102_f26_f27(sink: Sink, verb: str, answer: str, verdict: Verdict) -> None:
    first = [answer]
    sink.script[verb] = lambda connection, argument: first.pop() if first else None
    async with Rig(route=to(sink)) as rig:
        rig.send("a@example.com")
        (outcome,) = await rig.settle.until(1)
        assert outcome.verdict is verdict
        assert outcome.uncertain is (verb == "." and not answer.startswith(("421", "451", "554", "250-one")))
        rig.send("b@example.com")
        outcomes = await rig.settle.until(2)
    assert outcomes[1].verdict is Verdict.DELIVERED
    assert [message.recipients for message in sink.taken] == [["b@example.com"]]


async def test_a_refused_transaction_leaves_the_connection_to_the_next(sink: Sink) -> None:
    first = ["451 4.3.0 later"]
    sink.script["DATA"] = lambda connection, argument: first.pop() if first else None
    async with Rig(route=to(sink)) as rig:
        rig.send("a@example.com")
        await rig.settle.until(1)
        rig.send("b@example.com")
        await rig.settle.until(2)
    assert sink.connections == 1
    verbs = [command.partition(" ")[0] for _, command in sink.commands]
    assert verbs.count("RSET") == 1
    assert verbs[-1] == "QUIT"


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "."])
async def test_silence_ends_in_a_timeout_and_after_the_dot_says_so_c30_c31(sink: Sink, verb: str) -> None:
    sink.script[verb] = STALL
    async with Rig(route=to(sink), command_timeout=1.0, dot_timeout=1.0) as rig:
        rig.send("a@example.com")
        (outcome,) = await rig.settle.until(1)
    assert outcome.verdict is Verdict.TEMPORARY
    assert outcome.origin is Origin.LOCAL
    assert outcome.uncertain is (verb == ".")
    assert ("more than once" in outcome.reply.text) is (verb == ".")
    assert sink.connections == 1


@pytest.mark.parametrize("greeting", ["250-\r\n" * 20_000, "220-" + "x" * 200_000, "220-a\r\n" * 300 + "421 b"])
async def test_endless_greetings_are_bounded_f29(greeting: str) -> None:
    async with Sink() as sink, Rig(route=to(sink), greeting_timeout=1.0) as rig:
        sink.script["GREETING"] = greeting
        rig.send("a@example.com")
        (outcome,) = await rig.settle.until(1)
    assert outcome.verdict is Verdict.TEMPORARY
    assert len(outcome.reply.text) < 10_000


async def test_an_endless_reply_is_bounded_f29(sink: Sink) -> None:
    sink.script["MAIL"] = "\r\n".join(["250-" + "x" * 90] * 12_000)
    async with Rig(route=to(sink)) as rig:
        rig.send("a@example.com")
        (outcome,) = await rig.settle.until(1)
    assert outcome.verdict is Verdict.TEMPORARY
    assert "no end" in outcome.reply.text


async def test_ehlo_that_is_not_known_falls_back_to_helo() -> None:
    async with Sink() as sink, Rig(route=to(sink)) as rig:
        sink.script["EHLO"] = "502 5.5.1 what"
        rig.send("a@example.com")
        await rig.settle.until(1)
    assert [command.partition(" ")[0] for _, command in sink.commands][:3] == ["EHLO", "HELO", "MAIL"]
    assert len(sink.taken) == 1


async def test_8bit_content_needs_8bitmime_c71() -> None:
    async with Sink(extensions=("PIPELINING",)) as sink, Rig(route=to(sink)) as rig:
        rig.send("a@example.com", content="X: ä\r\n\r\nbody\r\n".encode(), needs_8bit=True)
        (outcome,) = await rig.settle.until(1)
    assert (outcome.verdict, outcome.reply.enhanced, outcome.origin) == (Verdict.PERMANENT, "5.6.3", Origin.LOCAL)
    assert sink.begun == []


@pytest.mark.parametrize("is_fetched", [False, True])
async def test_c71_8bit_content_is_converted_where_8bitmime_is_not_offered(is_fetched: bool) -> None:
    content = "Subject: x\r\n\r\nGrüße, und noch etwas mehr Text\r\n".encode()
    async with Sink(extensions=("PIPELINING",)) as sink, Rig(route=to(sink)) as rig:
        if is_fetched:
            rig.send("a@example.com", content=None, stored=content, needs_8bit=True)
        else:
            rig.send("a@example.com", content=content, needs_8bit=True)
        (outcome,) = await rig.settle.until(1)
    assert outcome.verdict is Verdict.DELIVERED
    (arrived,) = sink.taken
    assert arrived.parameters == ""
    assert arrived.body.isascii()
    assert b"Gr=C3=BC=C3=9Fe, und noch" in arrived.body


async def test_c71_signed_8bit_content_is_not_converted() -> None:
    content = "DKIM-Signature: v=1; d=a.test\r\n\r\nGrüße\r\n".encode()
    async with Sink(extensions=("PIPELINING",)) as sink, Rig(route=to(sink)) as rig:
        rig.send("a@example.com", content=content, needs_8bit=True)
        (outcome,) = await rig.settle.until(1)
    assert (outcome.verdict, outcome.reply.enhanced) == (Verdict.PERMANENT, "5.6.3")
    assert sink.begun == []


async def test_8bit_content_is_declared(sink: Sink) -> None:
    async with Rig(route=to(sink)) as rig:
        rig.send("a@example.com", content="ä\r\n".encode(), needs_8bit=True)
        await rig.settle.until(1)
    assert sink.taken[0].parameters == "SIZE=4 BODY=8BITMIME"


async def test_what_the_peer_finds_too_large_is_not_sent_c70() -> None:
    async with Sink(extensions=("PIPELINING", "SIZE 100")) as sink, Rig(route=to(sink)) as rig:
        rig.send("a@example.com", content=b"x" * 200)
        (outcome,) = await rig.settle.until(1)
    assert (outcome.verdict, outcome.reply.code, outcome.reply.enhanced) == (Verdict.PERMANENT, 552, "5.3.4")
    assert sink.begun == []


async def test_an_address_beyond_ascii_is_not_sent(sink: Sink) -> None:
    async with Rig(route=to(sink)) as rig:
        rig.send("ä@example.com")
        rig.send("a\r\nRCPT TO:<b>@example.com")
        outcomes = await rig.settle.until(2)
    assert [outcome.reply.enhanced for outcome in outcomes] == ["5.6.7", "5.6.7"]
    assert sink.commands == []


async def test_a_session_that_the_server_closed_in_between_is_no_attempt(sink: Sink) -> None:
    sink.script["MAIL"] = lambda connection, _: "421 4.3.2 enough" if connection == 1 and sink.taken else None
    async with Rig(route=to(sink)) as rig:
        rig.send("a@example.com")
        await rig.settle.until(1)
        rig.send("b@example.com")
        outcomes = await rig.settle.until(2)
    assert outcomes[1].verdict is Verdict.DELIVERED
    assert sink.connections == 2


async def test_messages_per_connection_and_idle_close() -> None:
    from mta.model.destination_settings import DomainSettings

    domains = {"example.com": DomainSettings(messages_per_connection=2)}
    async with Sink() as sink, Rig({"domains": domains}, route=to(sink), idle_timeout=0.1) as rig:
        for number in range(5):
            rig.send(f"u{number}@example.com")
        await rig.settle.until(5)
        await sink.until(lambda sink: sink.open == 0)
        async with asyncio.timeout(30.0):  # our side hears of it a round of the loop later, or earlier
            while rig.limits.taken:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    carried = [sum(message.connection == number for message in sink.taken) for number in range(1, sink.connections + 1)]
    assert sum(carried) == 5
    assert max(carried) <= 2


async def test_an_order_about_the_messages_of_a_connection_holds_for_connections_that_are_open() -> None:
    order = LimitOrder(site="example.com", ip="node:node.test", messages_per_connection=2)
    async with Sink() as sink, Rig(route=to(sink)) as rig:
        rig.send("first@example.com")
        await rig.settle.until(1)
        tighter = rig.egress._shaping.adopt({order.id: order}, 0)
        assert tighter == []
        rig.egress.limits_changed(tighter)
        for number in range(4):
            rig.send(f"u{number}@example.com")
        await rig.settle.until(5)
    carried = Counter(message.connection for message in sink.taken)
    assert (carried[1], max(carried.values())) == (2, 2)


@pytest.mark.parametrize(("verb", "answer", "first"), [("GREETING", "220 here", 0), (".", "250 2.0.0 taken", 1)])
async def test_a_connection_ends_before_its_next_message_when_an_order_makes_its_limits_tighter(
    verb: str, answer: str, first: int
) -> None:
    """Also one that is being opened: it has its slot already."""
    settings = {"sites": {"example.com": SiteSettings(connections=5)}}
    order = LimitOrder(site="example.com", connections=1)
    async with Sink() as sink, Rig(settings, route=to(sink)) as rig:
        rig.limits.connections = 1
        sink.script[verb] = HOLD
        for number in range(3):
            rig.send(f"u{number}@example.com")
        await sink.until(lambda sink: sink.open == 1 and (verb == "GREETING" or len(sink.begun) == 1))
        tighter = rig.egress._shaping.adopt({order.id: order}, 0)
        assert [scope.site for scope in tighter or ()] == ["example.com"]
        rig.egress.limits_changed(tighter)
        del sink.script[verb]
        await sink.until(lambda sink: sink.release(answer) or len(sink.taken) > 0)
        await rig.settle.until(3)
    assert Counter(message.connection for message in sink.taken) == Counter({1: first, 2: 3 - first})


async def test_connection_limits_are_kept() -> None:
    async with Sink() as sink, Rig(route=to(sink)) as rig:
        rig.limits.connections = 3
        for number in range(300):
            rig.send(f"u{number}@example.com")
        await rig.settle.until(300)
        assert rig.limits.most_taken <= 3
    assert 2 <= sink.most_open <= 3


async def test_the_message_rate_is_asked_before_each_mail() -> None:
    tokens = [0.0, 0.0, 0.05, 0.0, 0.0, 0.05, 0.0]
    settings = {"domains": {"example.com": DomainSettings(messages_per_minute=60)}}
    async with Sink() as sink, Rig(settings, route=to(sink)) as rig:
        rig.limits.messages = lambda: tokens.pop(0) if tokens else 0.05
        for number in range(5):
            rig.send(f"u{number}@example.com")
        await rig.settle.until(5)
    assert tokens == []
    assert len(sink.taken) == 5


async def test_c103_a_host_that_is_away_is_not_asked_for_each_message() -> None:
    async with Sink() as sink:
        route = to(sink)
    async with Rig(route=route) as rig:
        rig.send("a@example.com")
        await rig.settle.until(1)
        for number in range(100):
            rig.send(f"u{number}@example.com")
        outcomes = await rig.settle.until(101)
    assert {(outcome.verdict, outcome.reply.enhanced) for outcome in outcomes} == {(Verdict.TEMPORARY, "4.4.1")}
    assert "connecting" in outcomes[0].reason


@pytest.mark.parametrize(
    ("greeting", "setting", "verdict"),
    [
        ("554 5.7.1 go away", "defer", Verdict.TEMPORARY),
        ("554 5.7.1 go away", "bounce", Verdict.PERMANENT),
        ("220-wait\r\n521 5.3.2 no mail here", "defer", Verdict.TEMPORARY),
        ("451 4.3.2 later", "bounce", Verdict.TEMPORARY),
    ],
)
async def test_the_next_address_is_tried_c102(greeting: str, setting: str, verdict: Verdict) -> None:
    from mta.ports.delivery import AddressAnswer, MxAnswer

    async with (
        Sink("127.0.0.2", free_port()) as bad,
        Sink("127.0.0.3", bad.port) as good,
        Rig(mx_port=bad.port, greeting_5xx=setting) as rig,
    ):
        bad.script["GREETING"] = greeting
        rig.resolver.hosts["example.com"] = MxAnswer(("mx1.test", "mx2.test"))
        rig.resolver.hosts["bad.test"] = MxAnswer(("mx1.test",))
        rig.resolver.ips["mx1.test"] = AddressAnswer(("127.0.0.2",))
        rig.resolver.ips["mx2.test"] = AddressAnswer(("127.0.0.3",))
        rig.send("a@example.com")
        rig.send("a@bad.test")
        await rig.settle.until(2)
        outcomes = rig.settle.by_recipient()
    assert outcomes["a@example.com"].verdict is Verdict.DELIVERED
    assert outcomes["a@example.com"].mx == "mx2.test"
    assert outcomes["a@bad.test"].verdict is verdict
    assert len(good.taken) == 1


async def test_the_sending_ip_of_a_pool_is_used_and_its_ehlo() -> None:
    from mta.model.settings import PoolSettings

    pools = {"news": PoolSettings(ips=("127.0.0.7",), ehlo="news.test")}
    async with Sink() as sink, Rig({"pools": pools}, route=to(sink)) as rig:
        rig.send("a@example.com", pool="news")
        rig.send("b@example.com", pool="@127.0.0.8")
        await rig.settle.until(2)
        outcomes = rig.settle.by_recipient()
    assert sorted(message.peer for message in sink.taken) == ["127.0.0.7", "127.0.0.8"]
    assert outcomes["a@example.com"].mta == "127.0.0.7"
    assert {command for _, command in sink.commands if command.startswith("EHLO")} == {
        "EHLO news.test",
        "EHLO node.test",
    }


async def test_draining_returns_what_was_not_begun_and_finishes_the_rest() -> None:
    async with Sink() as sink, Rig(route=to(sink)) as rig:
        rig.limits.connections = 1
        held: list[str] = [STALL]
        sink.script["GREETING"] = lambda connection, _: held.pop() if held else None
        for number in range(10):
            rig.send(f"u{number}@example.com")
        await sink.until(lambda sink: sink.connections == 1)
        await rig.egress.drain(1.0)
        outcomes = await rig.settle.until(10)
        assert rig.egress.open_connections == 0
    assert {outcome.verdict for outcome in outcomes} == {Verdict.RETURNED}


async def test_a_lost_session_settles_only_what_is_past_its_dot() -> None:
    async with Sink() as sink, Rig(route=to(sink), dot_timeout=1.0) as rig:
        sink.script["."] = STALL
        rig.limits.connections = 1
        rig.send("a@example.com")
        rig.send("b@example.com")
        await sink.until(lambda sink: len(sink.received) == 1)
        rig.rules.lose()
        outcomes = await rig.settle.until(1)
    assert [outcome.uncertain for outcome in outcomes] == [True]
    assert list(rig.settle.by_recipient()) == ["a@example.com"]


async def test_a_rule_intercepts_before_mail(sink: Sink) -> None:
    async with Rig(route=to(sink)) as rig:
        rig.rules.put(rule(tag="stop"))
        rig.send("a@example.com", tags=("stop",))
        rig.send("b@example.com", tags=("go",))
        await rig.settle.until(2)
        outcome = rig.settle.by_recipient()["a@example.com"]
    assert (outcome.verdict, outcome.origin, outcome.reply.code) == (Verdict.INTERCEPTED, Origin.FORCED, 554)
    assert outcome.forced is not None
    assert outcome.forced.stage is Stage.ATTEMPT
    assert outcome.mta == "127.0.0.1"
    assert [message.recipients for message in sink.begun] == [["b@example.com"]]


async def test_a_rule_that_comes_before_the_dot_aborts(sink: Sink) -> None:
    verb = "MAIL"
    sink.script[verb] = lambda connection, argument: STALL if "stopped" in argument else None
    async with Rig(route=to(sink), command_timeout=30.0) as rig:
        rig.send("a@example.com", sender="stopped@x", tags=("stop",))
        await sink.until(lambda sink: any(c.startswith("MAIL") for _, c in sink.commands))
        assert rig.rules.put(rule(tag="stop", code=451)) == []
        (outcome,) = await rig.settle.until(1)
        assert outcome.verdict is Verdict.TEMPORARY
        assert outcome.forced is not None
        assert outcome.forced.stage is Stage.BEFORE_DOT
        rig.send("b@example.com")
        await rig.settle.until(2)
    assert [message.recipients for message in sink.taken] == [["b@example.com"]]


async def test_an_abort_before_data_keeps_the_connection_behind_a_reset() -> None:
    async with Sink(extensions=ALL[1:]) as sink, Rig(route=to(sink)) as rig:

        def on_rcpt(connection: int, argument: str) -> str | None:
            if "stop@" in argument:
                rig.rules.put(rule(tag="stop"))
            return None

        sink.script["RCPT"] = on_rcpt
        rig.limits.connections = 1
        rig.send("stop@example.com", tags=("stop",))
        rig.send("b@example.com")
        await rig.settle.until(2)
        assert rig.settle.by_recipient()["stop@example.com"].forced is not None
    assert sink.connections == 1
    assert "RSET" in [command for _, command in sink.commands]
    assert [message.recipients for message in sink.taken] == [["b@example.com"]]


async def test_what_is_past_its_dot_is_listed_once_and_remembers_the_rule(sink: Sink) -> None:
    sink.script["."] = STALL
    async with Rig(route=to(sink), dot_timeout=1.5) as rig:
        (_claimed,) = rig.send("a@example.com", tags=("stop",))
        await sink.until(lambda sink: len(sink.received) == 1)
        (listed,) = rig.rules.put(rule(tag="stop"))
        assert (listed.rule, listed.recipient, listed.session) == ("r1", "a@example.com", "")
        assert abs(listed.dot_at / 1000 - sink.received[0].dot_at) < 1
        assert rig.rules.put(rule(tag="stop"), rule("r2", tag="other")) == []
        (outcome,) = await rig.settle.until(1)
    assert outcome.past_dot_of == ("r1",)
    assert outcome.uncertain


async def test_no_mail_without_a_permit_and_on_with_the_next(sink: Sink) -> None:
    async with Rig(route=to(sink)) as rig:
        rig.rules.begin = False
        rig.send("a@example.com")
        for _ in range(1000):
            if rig.egress.metrics()["permit_stops:mail"]:
                break
            await asyncio.sleep(0.005)
        rig.rules.permit()  # which is over before anything could begin: it waits as before, and is counted as before
        rig.rules.begin = True
        rig.rules.permit()
        await rig.settle.until(1)
        stops = rig.egress.metrics()
    assert len(sink.taken) == 1
    assert (stops["permit_stops:mail"], stops["permit_stops:dot"]) == (1, 0)


async def test_no_mail_while_there_is_no_permit(sink: Sink) -> None:
    async with Rig(route=to(sink)) as rig:
        rig.rules.begin = False
        rig.send("a@example.com")
        await until_idle(rig)
        assert not any(command.startswith("MAIL") for _, command in sink.commands)


async def test_a_permit_that_ran_out_while_the_content_was_fetched(sink: Sink) -> None:
    async with Rig(route=to(sink)) as rig:
        (claimed,) = rig.send("a@example.com", content=None)
        fetched = asyncio.Event()

        async def get(message: MessageId, record: Record) -> bytes:
            rig.rules.begin = False
            fetched.set()
            return b"Subject: x\r\n\r\nhello\r\n"

        rig.get = get  # type: ignore[method-assign]
        await fetched.wait()
        for _ in range(10):
            await asyncio.sleep(0)  # the content is handed over, without anything from outside
        (connection,) = rig.egress.connections()
        assert connection.endswith("idle carried=0>")
    assert rig.settle.by_recipient()[claimed.record.recipient].verdict is Verdict.RETURNED


async def test_the_last_look_sees_the_table_as_it_is(sink: Sink) -> None:
    """Also one that no hook has told of."""
    async with Rig(route=to(sink)) as rig:

        def swapped_after_the_first_look() -> bool:
            rig.rules.table = RuleTable.build(Head(1, "c"), [rule(tag="stop")], "test")
            return True

        rig.rules.may_send_mail = swapped_after_the_first_look  # type: ignore[method-assign]
        rig.send("a@example.com", tags=("stop",))
        (outcome,) = await rig.settle.until(1)
    assert outcome.forced is not None
    assert outcome.forced.stage is Stage.BEFORE_DOT
    assert sink.received == []


async def test_a_dot_without_permit_waits_and_goes_on(sink: Sink) -> None:
    async with Rig(route=to(sink)) as rig:
        rig.rules.dot = False
        rig.send("a@example.com")
        await sink.until(lambda sink: "DATA" in [command for _, command in sink.commands])
        rig.rules.dot = True
        while not any("held" in text for text in rig.egress.connections()):
            rig.rules.dot = False
            await asyncio.sleep(0.005)
        rig.rules.dot = True
        rig.rules.permit()
        (outcome,) = await rig.settle.until(1)
        stops = rig.egress.metrics()
    assert outcome.verdict is Verdict.DELIVERED
    assert (stops["permit_stops:mail"], stops["permit_stops:dot"], stops["permit_aborts"]) == (0, 1, 0)


async def test_a_dot_that_waits_too_long_is_returned(sink: Sink) -> None:
    async with Rig(route=to(sink), dot_hold=0.1) as rig:
        rig.rules.dot = False
        rig.send("a@example.com")
        (outcome,) = await rig.settle.until(1)
        assert rig.egress.metrics()["permit_aborts"] == 1
    assert outcome.verdict is Verdict.RETURNED
    assert sink.received == []


async def test_a_dot_written_past_the_permit_is_reported_as_escaped(sink: Sink) -> None:
    answers = [True]
    async with Rig(route=to(sink)) as rig:
        rig.rules.dot = lambda: answers.pop() if answers else False
        (claimed,) = rig.send("a@example.com")
        await rig.settle.until(1)
        assert rig.egress.metrics()["escaped"] == 1
    assert rig.settle.escapes == [claimed]


async def test_room_is_small_and_asked_for_again() -> None:
    from mta.model.mail import QueueKey

    queue = QueueKey("default", "example.com")
    async with Sink() as sink, Rig(route=to(sink)) as rig:
        assert rig.egress.room(queue) == 32
        for number in range(32):
            rig.send(f"u{number}@example.com")
        assert rig.egress.room(queue) == 0
        await rig.settle.until(32)
        assert queue in rig.capacity.asked
        assert rig.egress.room(queue) >= 16


@pytest.mark.parametrize(
    "selectors", [{"ip": "127.0.0.1"}, {"mx": "127.0.0.1"}, {"mta": "127.0.0.1", "ip": "127.0.0.1"}]
)
async def test_a_rule_for_the_peer_intercepts_before_mail_and_names_it(sink: Sink, selectors: dict[str, str]) -> None:
    async with Rig(route=to(sink)) as rig:
        rig.rules.put(rule(tag="stop", **selectors), rule("r2", ip="127.0.0.2"), rule("r3", mx="*.example"))
        rig.send("a@example.com", tags=("stop",))
        rig.send("b@example.com", tags=("go",))
        await rig.settle.until(2)
        outcome = rig.settle.by_recipient()["a@example.com"]
    assert (outcome.verdict, outcome.mta) == (Verdict.INTERCEPTED, "127.0.0.1")
    assert (outcome.forced is not None and outcome.forced.stage) is Stage.ATTEMPT
    if "mta" not in selectors:
        assert (outcome.remote_ip, outcome.mx) == ("127.0.0.1", "127.0.0.1")
    assert [message.recipients for message in sink.begun] == [["b@example.com"]]


@pytest.mark.parametrize("verb", ["MAIL", "."])
async def test_a_rule_for_the_peer_meets_what_is_under_way(sink: Sink, verb: str) -> None:
    sink.script[verb] = STALL
    async with Rig(route=to(sink), command_timeout=30.0, dot_timeout=1.5) as rig:
        rig.send("a@example.com")
        await sink.until(
            lambda sink: bool(sink.received) if verb == "." else any("MAIL" in c for _, c in sink.commands)
        )
        listed = rig.rules.put(rule(ip="127.0.0.1"), rule("r2", ip="127.0.0.2"), rule("r3", mx="127.0.0.1"))
        (outcome,) = await rig.settle.until(1)
    if verb == ".":
        assert sorted(entry.rule for entry in listed) == ["r1", "r3"]
        assert sorted(outcome.past_dot_of) == ["r1", "r3"]
    else:
        assert listed == []
        assert outcome.verdict is Verdict.INTERCEPTED


async def test_what_is_past_its_dot_is_listed_again_for_an_edited_rule(sink: Sink) -> None:
    sink.script["."] = STALL
    async with Rig(route=to(sink), dot_timeout=1.5) as rig:
        rig.send("a@example.com", tags=("stop",))
        await sink.until(lambda sink: len(sink.received) == 1)
        first = rig.rules.put(rule(tag="stop"))
        edited = msgspec.structs.replace(rule(code=553, tag="stop"), generation=2)
        assert rig.rules.put(edited) == first, "an edited rule has a list of its own"
        disabled = msgspec.structs.replace(edited, generation=3, enabled=False)
        assert rig.rules.put(disabled) == []
        (outcome,) = await rig.settle.until(1)
    assert outcome.past_dot_of == ("r1",)
