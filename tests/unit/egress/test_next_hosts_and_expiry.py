"""An outlet with mail that one host does not take now, or whose time is over (D5, D9, D15, K1)."""

import asyncio
import time

import msgspec
import pytest

from mta.egress.next_hosts import left_for_next_host
from mta.egress.reply_knowledge import ReplyKnowledge
from mta.egress.targets import Onward, Target
from mta.egress.transaction import Transaction
from mta.egress.transaction_end import TransactionEnd
from mta.egress.waiting import Waiting
from mta.model.ids import delivery_id, message_of, new_message_id
from mta.model.mail import Claimed, QueueKey, Record
from mta.model.outcomes import Origin, Outcome, Reply, ReturnReason, Verdict
from mta.policy.routes import MX
from mta.policy.sending_window import closes_at, read_window
from mta.ports.delivery import AddressAnswer, MxAnswer
from tests.support.egress_rig import FakeSettle, Rig
from tests.support.scheduling import until
from tests.support.sink import DROP, HOLD, STALL, Sink
from tests.support.valkey import free_port

LATER = Outcome(Verdict.TEMPORARY, Reply(451), Origin.REMOTE)


def a_transaction(count: int, *expires_at: int) -> Transaction:
    message = new_message_id(0, 1)
    claims = [
        Claimed(
            delivery_id(message, number + 1),
            b"t",
            QueueKey("p", "example.com"),
            Record("a@x", f"r{number}@example.com", (), 1, 0, expires_at[number] if expires_at else 1 << 50),
            b"x",
        )
        for number in range(count)
    ]
    transaction = Transaction(claims[0], "")
    for claimed in claims[1:]:
        transaction.add(claimed)
    return transaction


@pytest.mark.parametrize(
    ("dot_at", "taken", "outcomes", "left"),
    [
        (0, (True, True), (LATER, LATER), [0, 1]),
        (1, (True, False), (LATER, LATER), [1]),  # the dot was handed over for the first only
        (1, (True, True), (LATER, LATER), []),
        (0, (True, True), (LATER, msgspec.structs.replace(LATER, verdict=Verdict.PERMANENT)), [0]),
        (0, (True, True), (msgspec.structs.replace(LATER, uncertain=True), LATER), [1]),
        (0, (True, True), (msgspec.structs.replace(LATER, verdict=Verdict.DELIVERED), LATER), [1]),
    ],
)
def test_d5_what_is_left_for_the_next_host(
    dot_at: int, taken: tuple[bool, ...], outcomes: tuple[Outcome, ...], left: list[int]
) -> None:
    transaction = a_transaction(2)
    transaction.dot_at = dot_at
    next_host, next_route = Onward((Target("mx2.test", "192.0.2.2", 25),)), Onward((), (MX,))

    def onward(number: int, _: Outcome) -> Onward:
        return next_route if dot_at and taken[number] else next_host

    found = left_for_next_host(transaction, list(outcomes), onward)
    after_dot = {claimed.record.recipient for claimed in found.pop(next_route, transaction).claims}
    assert [c.record.recipient for one in found.values() for c in one.claims] == [f"r{n}@example.com" for n in left]
    assert all(len(one.refused) == len(one.claims) for one in found.values())
    assert not dot_at or after_dot == {"r0@example.com", "r1@example.com"} - {f"r{n}@example.com" for n in left}


def test_d9_only_what_is_over_is_taken_out() -> None:
    waiting = Waiting()
    first, second, third = a_transaction(1, 100), a_transaction(2, 300, 200), a_transaction(1, 300)
    for transaction in (first, second, third):
        waiting.put_last(transaction)
    assert waiting.take_expired(99) == []
    assert waiting.take_expired(200) == [first, second]
    assert (len(waiting), waiting.deliveries, waiting.first()) == (1, 1, third)


async def test_mail_whose_window_closes_while_it_waits_for_a_connection_goes_back() -> None:
    begun = int(time.time() * 1000)
    minute = begun // 60_000 % 1440
    window = read_window("{:02}:{:02}-{:02}:{:02}".format(*divmod(minute, 60), *divmod((minute + 30) % 1440, 60)))
    closes = closes_at(window, begun)
    settle, waiting, other = FakeSettle(), Waiting(), a_transaction(1)
    [first] = a_transaction(1).claims
    windowed = Claimed(first.id, b"t", first.queue, msgspec.structs.replace(first.record, window=window), b"x")
    waiting.put_last(Transaction(windowed, ""))
    waiting.put_last(other)
    end = TransactionEnd(settle, asyncio.get_running_loop(), ReplyKnowledge())
    end.end_expired(waiting, closes - 1)
    assert waiting.deliveries == 2
    end.end_expired(waiting, closes)
    assert [(one.id, outcome.returned) for one, outcome in settle.outcomes] == [
        (windowed.id, ReturnReason.WINDOW_CLOSED)
    ]
    assert (waiting.deliveries, waiting.first()) == (1, other)


def two_hosts(rig: Rig) -> None:
    rig.resolver.hosts["example.com"] = MxAnswer(("mx1.test", "mx2.test"))
    rig.resolver.ips["mx1.test"] = AddressAnswer(("127.0.0.2",))
    rig.resolver.ips["mx2.test"] = AddressAnswer(("127.0.0.3",))


async def test_d5_while_every_place_is_wanted_the_first_word_counts() -> None:
    async with (
        Sink("127.0.0.2", free_port()) as first,
        Sink("127.0.0.3", first.port) as second,
        Rig(mx_port=first.port, connections=1) as rig,
    ):
        first.script["MAIL"] = "451 4.3.0 later"
        two_hosts(rig)
        rig.send("a@example.com")
        (outcome,) = await rig.settle.until(1)
        assert rig.egress._budget.open <= 1
    assert (outcome.verdict, outcome.mx) == (Verdict.TEMPORARY, "mx1.test")
    assert second.connections == 0


async def test_d5_a_drain_returns_what_waits_for_the_next_host() -> None:
    async with (
        Sink("127.0.0.2", free_port()) as first,
        Sink("127.0.0.3", first.port) as second,
        Rig(mx_port=first.port) as rig,
    ):
        first.script["MAIL"] = "451 4.3.0 later"
        second.script["GREETING"] = STALL
        two_hosts(rig)
        rig.send("a@example.com")
        await second.until(lambda sink: sink.open == 1)
        await rig.egress.drain(0.2)
        (outcome,) = await rig.settle.until(1)
        assert rig.limits.taken == 0
        assert not rig.egress._budget.busy
    assert outcome.verdict is Verdict.RETURNED


async def test_d9_of_one_message_only_the_recipients_whose_time_is_over_expire() -> None:
    async with Sink() as sink, Rig(route=f"{sink.host}:{sink.port}") as rig:
        sink.script["GREETING"] = HOLD
        rig.send("a@example.com", "b@example.com", expires={"a@example.com": int(time.time() * 1000) + 300})
        await until(lambda: rig.settle.expired)
        sink.release("220 here")
        (outcome,) = await rig.settle.until(1)
    assert [claimed.record.recipient for claimed in rig.settle.expired] == ["a@example.com"]
    assert outcome.verdict is Verdict.DELIVERED
    assert [message.recipients for message in sink.taken] == [["b@example.com"]]


@pytest.mark.parametrize("answer", [DROP, "451 4.7.0 too many", "421 4.7.0 too many"])
@pytest.mark.parametrize("extensions", [("PIPELINING",), ()])
async def test_d15_a_second_mail_that_is_not_taken_goes_on_a_new_connection(
    answer: str, extensions: tuple[str, ...]
) -> None:
    async with Sink(extensions=extensions) as sink, Rig(route=f"{sink.host}:{sink.port}") as rig:
        seen: set[int] = set()

        def at_mail(connection: int, _: str) -> str | None:
            if connection in seen:
                return answer
            seen.add(connection)
            return None

        sink.script["MAIL"] = at_mail
        for number in range(30):
            rig.send(f"m{number}@example.com")
        outcomes = await rig.settle.until(30)
    assert {outcome.verdict for outcome in outcomes} == {Verdict.DELIVERED}
    assert len(sink.taken) == 30


def at_the_second(sink: Sink, verb: str, answer: str) -> None:
    """Each connection answers the verb so from its second transaction on."""
    mails: dict[int, int] = {}

    def count(connection: int, _: str) -> str | None:
        mails[connection] = mails.get(connection, 0) + 1
        return answer if verb == "MAIL" and mails[connection] > 1 else None

    sink.script["MAIL"] = count
    if verb != "MAIL":
        sink.script[verb] = lambda connection, _: answer if mails[connection] > 1 else None


@pytest.mark.parametrize("extensions", [("PIPELINING",), ()])
@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        (verb, answer)
        for verb in ("MAIL", "RCPT", "DATA")
        for answer in (DROP, "421 4.7.0 one", "452 4.5.3 one", "503 5.5.1 one")
    ]
    + [("MAIL", "550 5.7.1 one")],
)
async def test_d15_a_used_connection_that_takes_no_more_costs_no_attempt(
    verb: str, answer: str, extensions: tuple[str, ...]
) -> None:
    async with Sink(extensions=extensions) as sink, Rig(route=f"{sink.host}:{sink.port}") as rig:
        at_the_second(sink, verb, answer)
        for number in range(12):
            rig.send(f"m{number}@example.com")
        outcomes = await rig.settle.until(12)
    assert {outcome.verdict for outcome in outcomes} == {Verdict.DELIVERED}
    assert len(sink.taken) == 12


@pytest.mark.parametrize("extensions", [("PIPELINING",), ()])
@pytest.mark.parametrize(
    ("verb", "answer", "connections"),
    [
        ("MAIL", "550 5.7.1 not you", 2),
        ("MAIL", "451 4.7.1 greylisted", 2),
        ("RCPT", "450 4.7.1 greylisted", 2),
        ("DATA", "451 4.7.1 greylisted", 2),
        ("RCPT", "550 5.1.1 unknown", 1),
        ("DATA", "554 5.7.1 no", 1),
    ],
)
async def test_d15_what_a_new_connection_answers_too_counts(
    verb: str, answer: str, connections: int, extensions: tuple[str, ...]
) -> None:
    async with Sink(extensions=extensions) as sink, Rig(route=f"{sink.host}:{sink.port}") as rig:
        rig.send("first@example.com")
        await rig.settle.until(1)
        sink.script[verb] = answer
        rig.send("second@example.com")
        await rig.settle.until(2)
        assert sink.connections == connections
        rig.send("third@example.com")  # the connection has refused its first: no other one is asked
        await rig.settle.until(3)
        assert sink.connections == connections
        outcomes = rig.settle.by_recipient()
    wanted = Verdict.PERMANENT if answer.startswith("5") else Verdict.TEMPORARY
    assert outcomes["first@example.com"].verdict is Verdict.DELIVERED
    for name in ("second", "third"):
        outcome = outcomes[f"{name}@example.com"]
        assert (outcome.verdict, outcome.reply.code) == (wanted, int(answer[:3]))


@pytest.mark.parametrize(
    ("verb", "answer"), [("MAIL", "451 4.3.0 later"), ("MAIL", "550 5.7.1 no"), ("RCPT", "550 5.1.1 unknown")]
)
@pytest.mark.parametrize("silent", [".", "DATA"])
async def test_d15_a_refusal_waits_for_no_reply_that_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, verb: str, answer: str, silent: str
) -> None:
    monkeypatch.setattr("mta.egress.connection._KNOWN_TIMEOUT", 0.2)
    async with Sink() as sink, Rig(route=f"{sink.host}:{sink.port}", command_timeout=60.0, dot_timeout=60.0) as rig:
        sink.script |= {verb: answer, "DATA": "354 go on"} | {silent: STALL}
        rig.send("a@example.com")
        (outcome,) = await rig.settle.until(1)
    assert (outcome.reply.code, outcome.uncertain, outcome.origin) == (int(answer[:3]), False, Origin.REMOTE)


async def test_d15_where_no_new_connection_comes_the_message_is_deferred() -> None:
    async with Sink() as sink, Rig(route=f"{sink.host}:{sink.port}") as rig:
        rig.send("first@example.com")
        await rig.settle.until(1)
        sink.script |= {"MAIL": "503 5.5.1 nested", "GREETING": "421 4.7.0 one connection"}
        rig.send("second@example.com")
        outcome = (await rig.settle.until(2))[1]
    assert (outcome.verdict, outcome.reply.code) == (Verdict.TEMPORARY, 421)


async def test_k1_mail_that_is_canceled_lets_go_of_its_attempts() -> None:
    async with Sink() as sink, Rig(route=f"{sink.host}:{sink.port}", connections=2) as rig:
        sink.script["GREETING"] = STALL
        claims = [claimed for number in range(5) for claimed in rig.send(f"a@d{number}.test")]
        await sink.until(lambda sink: sink.open == 5)
        assert rig.egress.metrics()["connections_out"] == 0
        rig.rules.cancel({message_of(claimed.id): "ops" for claimed in claims})
        await sink.until(lambda sink: sink.open == 0)
        assert not rig.egress._budget.busy
    assert {outcome.verdict for _, outcome in rig.settle.outcomes} == {Verdict.CANCELED}


@pytest.mark.parametrize("phase", ["GREETING", "EHLO"])
@pytest.mark.parametrize("count", [1, 3])
async def test_d1_a_silent_host_gets_no_more_connections_than_messages_wait(
    monkeypatch: pytest.MonkeyPatch, phase: str, count: int
) -> None:
    monkeypatch.setattr("mta.egress.connection_opener.UNPRODUCTIVE_PACE", 0.02)
    times = {"greeting_timeout": 0.6, "command_timeout": 0.6, "idle_timeout": 0.1}
    async with Sink() as sink, Rig(route=f"{sink.host}:{sink.port}", connections=20, **times) as rig:
        sink.script[phase] = STALL
        for number in range(count):
            rig.send(f"m{number}@example.com")
        await rig.settle.until(count)
        assert sink.connections == count


async def test_d7_only_the_message_that_a_connection_was_opened_for_has_met_what_is_no_smtp() -> None:
    async with Sink() as sink, Rig(route=f"{sink.host}:{sink.port}", retries=(2.0,)) as rig:
        sink.script["GREETING"] = "SSH-2.0-OpenSSH_9.2"
        claims = [claimed for number in range(5) for claimed in rig.send(f"m{number}@example.com")]
        await rig.settle.until(5)
        met = [outcome.unintelligible for _, outcome in rig.settle.outcomes]
        assert met == [True, False, False, False, False]
        sink.script.clear()
        again = msgspec.structs.replace(claims[0], record=msgspec.structs.replace(claims[0].record, unintelligible=1))
        rig.egress.deliver(
            [claims[1], again]
        )  # in the back-off: the one shares, the other waits for its own connection
        assert len(rig.settle.outcomes) == 6
        assert not rig.settle.outcomes[5][1].unintelligible
        assert (await rig.settle.until(7))[6].verdict is Verdict.DELIVERED


async def test_d1_a_host_that_carries_nothing_gets_five_connections_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mta.egress.connection_opener.UNPRODUCTIVE_PACE", 0.02)
    async with Sink() as sink, Rig(route=f"{sink.host}:{sink.port}", connections=20, idle_timeout=0.1) as rig:
        sink.script["MAIL"] = STALL
        for number in range(50):
            rig.send(f"m{number}@example.com")
        await sink.until(lambda sink: sink.open == 5)
        for _ in range(20):
            await asyncio.sleep(0.02)
            assert sink.open == 5


async def test_d1_few_places_are_not_given_to_a_host_that_carries_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mta.egress.connection_opener.UNPRODUCTIVE_PACE", 0.02)
    async with (
        Sink() as sink,
        Rig(route=f"{sink.host}:{sink.port}", connections=2, idle_timeout=0.1, command_timeout=60.0) as rig,
    ):
        sink.script["MAIL"] = lambda _, argument: STALL if "stuck" in argument else None
        for number in range(10):
            rig.send(f"m{number}@example.com", sender="stuck@x")
        await sink.until(lambda sink: sink.open == 1)
        await asyncio.sleep(0.3)
        rig.send("a@works.test")
        (outcome,) = await rig.settle.until(1, within=30.0)
    assert outcome.verdict is Verdict.DELIVERED
    assert sink.most_open == 2


async def test_k1_while_others_wait_a_peer_that_answers_nothing_for_long_gives_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mta.egress.connections.PATIENCE", 0.3)
    async with Sink() as sink, Rig(route=f"{sink.host}:{sink.port}", connections=2, idle_timeout=0.2) as rig:
        sink.script["MAIL"] = lambda connection, argument: STALL if "stuck" in argument else None
        for number in range(2):
            rig.send(f"a@stuck{number}.test", sender="stuck@x")
        await sink.until(lambda sink: sum(command.startswith("MAIL") for _, command in sink.commands) == 2)
        rig.send("a@works.test")
        await rig.settle.until(3)
        outcomes = rig.settle.by_recipient()
    assert outcomes["a@works.test"].verdict is Verdict.DELIVERED
    assert {outcome.verdict for outcome in outcomes.values()} <= {Verdict.DELIVERED, Verdict.TEMPORARY}
