import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bench import sessions
from bench.flow import Load, result_of, start_source
from bench.plan import Plan
from bench.processes import Sink
from bench.rig import stopping
from bench.sessions import Session, ShortSession
from bench.tally import Tally

ROOT = Path(__file__).parents[3]
Script = list[bytes]  # what is answered to the greeting and to each command; b"" = the connection is closed


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_RETRY_AFTER", 0.001)


@asynccontextmanager
async def server(scripts: Callable[[int], Script]) -> AsyncIterator[tuple[tuple[str, int], list[Script]]]:
    """Answers connection n as its script says, and takes all else; yields also the verbs that each connection said."""
    said: list[Script] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = iter(scripts(len(said)))
        verbs: Script = []
        said.append(verbs)
        reply = next(script, b"220")
        while reply:
            writer.write(reply + b" reply\r\n")
            line = await (reader.readuntil(b"\r\n.\r\n") if reply == b"354" else reader.readline())
            if not line:
                break
            verbs.append(b"." if reply == b"354" else line[:4])
            reply = next(script, b"354" if line.startswith(b"DATA") else b"250")
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[:2], said
    finally:
        listening.close()


async def run(target: tuple[str, int], kind: type[Session], messages: int, concurrently: int = 1) -> Tally:
    tally = Tally(Plan(messages, [512], 1), concurrently)
    for _ in range(concurrently):
        kind(tally, target).start()
    await asyncio.wait_for(tally.done.wait(), 30.0)
    return tally


async def test_a_short_session_opens_a_connection_for_each_message() -> None:
    async with server(lambda n: []) as (target, said):
        tally = await run(target, ShortSession, 3)
    assert said == [[b"EHLO", b"MAIL", b"RCPT", b"DATA", b".", b"QUIT"]] * 3
    assert (tally.accepted, tally.failed) == (3, 0)
    assert all(tally.accepted_at)


async def test_one_session_sends_all_over_one_connection() -> None:
    async with server(lambda n: []) as (target, said):
        tally = await run(target, Session, 3)
    assert said[0].count(b"MAIL") == tally.accepted == 3
    assert len(said) == 1


@pytest.mark.parametrize("script", [[b"421"], [b""], [b"220", b"421"], [b"220", b""]])
async def test_a_connection_that_does_not_get_ready_costs_no_message(script: Script) -> None:
    async with server(lambda n: script if n < 4 else []) as (target, said):
        tally = await run(target, ShortSession, 3)
    assert (tally.accepted, tally.failed, len(said)) == (3, 0, 7)


@pytest.mark.parametrize("kind", [Session, ShortSession])
async def test_a_connection_lost_with_a_message_under_way_fails_it_and_only_it(kind: type[Session]) -> None:
    ready = [b"220", b"250"]
    async with server(
        lambda n: [*ready, b""] if n == 0 else [*ready, b"250", b"250", b"354", b""] if n == 1 else []
    ) as (
        target,
        _,
    ):
        tally = await run(target, kind, 4)
    assert (tally.accepted, tally.failed) == (2, 2)
    assert list(map(bool, tally.accepted_at)) == [False, False, True, True]
    assert dict(tally.replies) == {"connection lost: closed by the peer": 2}


@pytest.mark.parametrize("kind", [Session, ShortSession])
async def test_a_deferred_message_is_tried_again_and_a_refused_one_fails(kind: type[Session]) -> None:
    taken = [b"220", b"250", b"250", b"250", b"354"]
    async with server(lambda n: [*taken, b"451", b"250", b"250", b"250", b"354", b"550"] if n == 0 else []) as (
        target,
        _,
    ):
        tally = await run(target, kind, 2)
    assert (tally.accepted, tally.failed, tally.deferred) == (1, 1, 1)
    assert dict(tally.replies) == {"451 reply": 1, "550 reply": 1}


@pytest.mark.parametrize("kind", [Session, ShortSession])
async def test_messages_that_no_session_is_left_to_send_have_failed(kind: type[Session]) -> None:
    async with server(lambda n: []) as (target, _):
        pass
    tally = await run(target, kind, 50, concurrently=2)
    assert tally.result()["failed"] == 50
    assert tally.result()["accepted"] == 0
    assert not any(tally.accepted_at)


async def test_a_source_that_was_stopped_has_nothing_left_to_send() -> None:
    tally = Tally(Plan(10, [512], 1), 1)
    tally.next_number()
    tally.stop()
    assert (tally.result()["messages"], tally.result()["failed"]) == (1, 0)


@pytest.mark.parametrize("options", [[], ["--rate", "400"]])
def test_reconnecting_sessions_send_everything_once(tmp_path: Path, options: list[str]) -> None:
    with stopping(Sink(tmp_path / "sink.log")) as sink:
        sent = result_of(start_source(Load(60, 512, 4, 3, 2, []), sink.address, tmp_path, "--reconnect", *options))
        whole = sink.account()
    assert (sent["accepted"], whole["unique"], whole["duplicates"]) == (60, 60, 0)
    assert whole["connections"] == 60
    assert whole["most_open"] <= 8  # the sink may learn of an end after the next beginning
    if options:
        assert sent["seconds"] >= 59 / 400 - 0.02


def test_a_mix_of_sizes_arrives(tmp_path: Path) -> None:
    mix = ["--sizes", "600:0.5,70000:0.3,600000:0.2"]
    with stopping(Sink(tmp_path / "sink.log")) as sink:
        command = [sys.executable, "-m", "bench.source", "--target", sink.address, "--messages", "40", *mix]
        done = subprocess.run(command, stdout=subprocess.PIPE, cwd=ROOT, timeout=90)
        whole = sink.account()
    assert json.loads(done.stdout)["accepted"] == whole["unique"] == 40


def test_a_source_tells_its_counters_when_it_is_asked(tmp_path: Path) -> None:
    with stopping(Sink(tmp_path / "sink.log")) as sink:
        source = start_source(Load(10**6, 512, 4, 3, 2, []), sink.address, tmp_path, "--rate", "300", "--until-told")
        deadline = time.monotonic() + 60
        while sink.stats()["unique"] < 5:
            assert time.monotonic() < deadline
        source.send_signal(signal.SIGUSR1)
        assert source.stdout is not None
        counters = json.loads(source.stdout.readline())
        sent = result_of(source)
    assert counters["event"] == "stats"
    assert 5 <= counters["accepted"] <= counters["begun"] <= sent["messages"]
