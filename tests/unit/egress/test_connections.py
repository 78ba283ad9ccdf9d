"""STARTTLS, large bodies under flow control, fairness between queues, and what connections say of themselves."""

import asyncio
import datetime
import pathlib
import ssl

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mta.model.connection_waits import read_waits
from mta.model.mail import QueueKey
from mta.model.outcomes import Stage, Verdict
from tests.support.egress_rig import Rig, rule
from tests.support.sink import STALL, Sink

LARGE = b"0123456789abcdef" * 4 + b"\r\n"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sink.example")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = pathlib.Path(tmp_path_factory.mktemp("tls")) / "both.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def to(sink: Sink) -> str:
    return f"{sink.host}:{sink.port}"


async def test_these_tests_run_on_uvloop() -> None:
    assert isinstance(asyncio.get_running_loop(), uvloop.Loop)


async def test_starttls_is_used_where_it_is_offered(tls: ssl.SSLContext) -> None:
    async with Sink(tls=tls) as sink, Rig(route=to(sink)) as rig:
        for number in range(20):
            rig.send(f"u{number}@example.com")
        rig.send("large@example.com", content=LARGE * 20_000)
        outcomes = await rig.settle.until(21)
    assert {outcome.verdict for outcome in outcomes} == {Verdict.DELIVERED}
    assert all(outcome.tls.startswith("TLSv1.") for outcome in outcomes)
    assert all(message.tls for message in sink.taken)
    assert LARGE * 20_000 in [message.body for message in sink.taken]


@pytest.mark.parametrize(
    ("setting", "verdict", "connections"),
    [("opportunistic", Verdict.DELIVERED, 2), ("required", Verdict.TEMPORARY, 1), ("none", Verdict.DELIVERED, 1)],
)
async def test_c90_tls_that_fails(setting: str, verdict: Verdict, connections: int) -> None:
    async with (
        Sink(extensions=("PIPELINING", "STARTTLS")) as sink,
        Rig(route=to(sink), tls=setting, command_timeout=2.0) as rig,
    ):
        sink.script["STARTTLS"] = "220 go\r\nthis is no handshake"
        rig.send("a@example.com")
        (outcome,) = await rig.settle.until(1)
    assert (outcome.verdict, outcome.tls, sink.connections) == (verdict, "", connections)


@pytest.mark.parametrize(
    ("answer", "first", "connections"),
    [
        ("220 go\r\nthis is no handshake", Verdict.DELIVERED, (2, 3)),
        ("454 4.7.0 not now", Verdict.DELIVERED, (2, 3)),
        ("421 4.3.2 busy", Verdict.TEMPORARY, (1, 2)),  # no new connection at once
    ],
)
async def test_d14_a_broken_starttls_is_remembered_and_told(
    answer: str, first: Verdict, connections: tuple[int, int]
) -> None:
    async with (
        Sink(extensions=("PIPELINING", "STARTTLS")) as sink,
        Rig(route=to(sink), retries=(1.0,), command_timeout=2.0) as rig,
    ):
        sink.script["STARTTLS"] = answer
        rig.send("a@example.com")
        (outcome,) = await rig.settle.until(1)
        assert (outcome.verdict, sink.connections) == (first, connections[0])
        assert outcome.tls_failed != ""
        rig.egress.discard_all()  # closes the connection that is idle
        await sink.until(lambda sink: not sink.open)
        while rig.settle.outcomes[-1][1].verdict is not Verdict.DELIVERED or len(rig.settle.outcomes) < 2:
            known = len(rig.settle.outcomes)
            rig.send("b@example.com")  # shares the failure until the back-off is over
            await rig.settle.until(known + 1)
            await asyncio.sleep(0.05)
        later = rig.settle.outcomes[-1][1]
        assert (later.verdict, later.tls, later.tls_failed) == (Verdict.DELIVERED, "", outcome.tls_failed)
        assert sink.connections == connections[1]
        assert [line for _, line in sink.commands].count("STARTTLS") == 1


@pytest.mark.parametrize(
    ("setting", "verdict"), [("opportunistic", Verdict.DELIVERED), ("required", Verdict.TEMPORARY)]
)
async def test_c90_mail_goes_in_the_clear_after_a_refused_starttls_only_where_it_may(
    setting: str, verdict: Verdict
) -> None:
    async with Sink(extensions=("PIPELINING", "STARTTLS")) as sink, Rig(route=to(sink), tls=setting) as rig:
        sink.script["STARTTLS"] = "454 4.7.0 TLS not available due to temporary reason"
        rig.send("a@example.com")
        (outcome,) = await rig.settle.until(1)
    assert (outcome.verdict, outcome.tls) == (verdict, "")
    assert [message.tls for message in sink.begun] == ([False] if verdict is Verdict.DELIVERED else [])


async def test_c90_tls_required_and_not_offered_is_temporary() -> None:
    async with Sink() as sink, Rig(route=to(sink), tls="required") as rig:
        rig.send("a@example.com")
        (outcome,) = await rig.settle.until(1)
    assert (outcome.verdict, outcome.reply.enhanced) == (Verdict.TEMPORARY, "4.7.5")
    assert sink.begun == []


@pytest.mark.parametrize("secure", [False, True])
async def test_a_large_message_is_looked_at_right_before_its_dot(tls: ssl.SSLContext, secure: bool) -> None:
    content = LARGE * 100_000  # more than the buffers of the system hold, where that of the sink is small
    async with Sink(tls=tls if secure else None) as sink, Rig(route=to(sink)) as rig:
        sink.receive_buffer(65_536)
        rig.send("a@example.com", content=content, tags=("stop",))
        await sink.until(lambda sink: sum(map(len, sink.reads)) > 100_000)
        (listed, stopped) = (rig.rules.put(rule(tag="stop")), (await rig.settle.until(1))[0])
        assert listed == []
        assert stopped.verdict is Verdict.INTERCEPTED
        assert stopped.forced is not None
        assert stopped.forced.stage is Stage.BEFORE_DOT
        await sink.until(lambda sink: sink.open == 0)
    assert sink.received == []


async def test_a_peer_that_takes_no_data_times_out() -> None:
    async with Sink(extensions=("PIPELINING",)) as sink, Rig(route=to(sink), data_timeout=0.3) as rig:
        transports = []

        def on_data(connection: int, _: str) -> None:
            transports.extend(session._transport for session in sink._sessions)
            transports[-1].pause_reading()

        sink.script["DATA"] = on_data  # type: ignore[assignment]
        rig.send("a@example.com", content=LARGE * 200_000)
        (outcome,) = await rig.settle.until(1)
    assert outcome.verdict is Verdict.TEMPORARY
    assert outcome.uncertain is False
    assert "sending the message" in outcome.reason


async def test_a_queue_that_holds_all_connections_gives_one_to_another() -> None:
    async with Sink() as sink, Rig(route=to(sink), connections=2, idle_timeout=0.2) as rig:
        running = True

        def feed() -> None:
            if running:
                for _ in range(4):
                    rig.send("busy@hog.test")
                asyncio.get_running_loop().call_later(0.002, feed)

        feed()
        await sink.until(lambda sink: sink.open == 2)
        rig.send("a@other.test")
        await sink.until(lambda sink: any(message.recipients == ["a@other.test"] for message in sink.taken))
        running = False
    assert sink.most_open <= 4  # the one before each of the two may still be saying goodbye at the sink


async def test_many_queues_share_few_connections_without_waiting_until_these_have_been_idle_for_long() -> None:
    async with Sink() as sink, Rig(route=to(sink), connections=2) as rig:
        for number in range(40):
            rig.send(f"a@d{number}.test")
        outcomes = await rig.settle.until(40, within=15.0)  # each second two of them would be let go
    assert {outcome.verdict for outcome in outcomes} == {Verdict.DELIVERED}
    assert sink.most_open <= 4  # the one before each of the two may still be saying goodbye at the sink


async def test_nothing_is_claimed_for_more_queues_while_many_wait_for_a_connection() -> None:
    async with Sink() as sink, Rig(route=to(sink), connections=2) as rig:
        sink.script["MAIL"] = STALL
        for number in range(5):
            rig.send(f"a@d{number}.test")
        await sink.until(lambda sink: sink.open == 2)
        assert rig.egress.room(QueueKey("default", "another.test")) == 0
        assert "outlets=5" in repr(rig.egress)
        await sink.until(lambda _: len(read_waits([rig.egress.metrics()])) == 3)  # two of five have a connection
        assert set(read_waits([rig.egress.metrics()]).values()) == {1}


async def test_connections_tell_what_they_do() -> None:
    async with Sink() as sink, Rig(route=to(sink)) as rig:
        sink.script["MAIL"] = STALL
        rig.send("a@example.com")
        await sink.until(lambda sink: len(sink.commands) > 1)
        (text,) = rig.egress.connections()
        assert text == "<Connection 127.0.0.1 -> 127.0.0.1[127.0.0.1] sending MAIL carried=1>"
        assert repr(rig.egress) == "<Egress outlets=1 connections=1>"
        rig.egress.discard_all()


async def test_a_drain_lets_what_is_past_its_dot_end_and_gives_up_the_rest_in_time() -> None:
    async with Sink() as sink, Rig(route=to(sink), command_timeout=60.0, dot_timeout=60.0) as rig:
        answers = {"slow@example.com": STALL}
        sink.script["."] = lambda connection, first: answers.get(first)
        rig.limits.connections = 2
        rig.send("first@example.com")  # so that the host has carried something, and gets a second connection
        rig.send("slow@example.com")
        await sink.until(lambda sink: len(sink.received) == 2)
        rig.send("b@example.com")
        await rig.settle.until(2)
        before = asyncio.get_running_loop().time()
        await rig.egress.drain(0.3)
        assert asyncio.get_running_loop().time() - before < 20
        outcomes = rig.settle.by_recipient()
        assert rig.egress.open_connections == 0
        assert rig.limits.taken == 0
    assert outcomes["b@example.com"].verdict is Verdict.DELIVERED
    assert (outcomes["slow@example.com"].verdict, outcomes["slow@example.com"].uncertain) == (Verdict.TEMPORARY, True)
