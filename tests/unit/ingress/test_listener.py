"""The listener and its sessions on loopback, spoken to by raw sockets, smtplib and swaks."""

import asyncio
import contextlib
import errno
import smtplib

import pytest
import uvloop

from mta.ingress import acceptor as acceptor_module
from mta.ingress import listener as module
from mta.ingress.input_budget import InputBudget
from mta.model.outcomes import Reply
from mta.ports.queueing import Ambiguous
from tests.support.eventually import eventually
from tests.support.intake import intake
from tests.support.needs import needs


@pytest.fixture(
    params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy], ids=["asyncio", "uvloop"], autouse=True
)
def event_loop_policy(request):
    return request.param()


MESSAGE = b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nX-MQ-Tag: t\r\nS: x\r\n\r\nbody\r\n.\r\n"


async def read_codes(reader, count):
    codes = []
    while len(codes) < count:
        line = await asyncio.wait_for(reader.readline(), 30.0)
        if not line:
            break
        if line[3:4] == b" ":
            codes.append(int(line[:3]))
    return codes


async def test_smtplib_hands_in_a_message():
    def send(port):
        with smtplib.SMTP("127.0.0.1", port, local_hostname="client", timeout=60) as client:
            client.sendmail(
                "a@example.com",
                ["b@example.net", "c@example.net"],
                b"X-MQ-Tag: t\r\nX-MQ-Tenant: acme\r\nA: b\r\n\r\n.\r\nend\r\n",
            )

    async with intake() as running:
        await asyncio.to_thread(send, running.port)
        (message,) = running.store.messages
        trace, _, rest = message.content.partition(b"A: b")
        assert rest == b"\r\n\r\n.\r\nend\r\n"
        assert trace.count(b"Received:") == 1
        assert (message.tags, message.client, len(message.recipients)) == (("t",), "127.0.0.1", 2)
        assert message.tenant == "acme"


@needs("swaks")
async def test_swaks_hands_in_a_message():
    async with intake() as running:
        process = await asyncio.create_subprocess_exec(
            "swaks", "--server", f"127.0.0.1:{running.port}", "--from", "a@example.com", "--to", "b@example.net",
            "--add-header", "X-MQ-Tag: campaign", stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, output.decode()
        assert [message.tags for message in running.store.messages] == [("campaign",)]


async def test_refusals_of_what_a_message_asks_for_and_of_loops():
    async with intake() as running:
        reader, writer = await running.connect()
        start = b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"
        writer.write(
            b"EHLO c\r\n" + start + b"X-MQ-Keepmime: 1\r\n\r\n.\r\n" + start + b"Received: x\r\n" * 100 + b".\r\n"
        )
        assert await read_codes(reader, 9) == [250, 250, 250, 354, 550, 250, 250, 354, 554]
        assert running.admission.refused == 2
        assert not running.store.messages
        writer.close()


async def test_hundreds_of_refused_messages_in_one_segment_are_each_answered():
    async with intake() as running:
        reader, writer = await running.connect()
        one = b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nX-MQ-Keepmime: 1\r\n\r\n.\r\n"
        writer.write(b"EHLO c\r\n" + one * 1500 + b"NOOP\r\n")
        codes = await read_codes(reader, 1 + 1500 * 4 + 1)
        assert codes == [250] + [250, 250, 354, 550] * 1500 + [250]
        writer.close()


async def test_a_client_that_ended_its_side_still_gets_its_reply():
    async with intake() as running:
        running.store.hold.clear()
        reader, writer = await running.connect()
        writer.write(MESSAGE)
        writer.write_eof()
        await asyncio.wait_for(running.store.called.wait(), 30.0)
        running.store.hold.set()
        assert await read_codes(reader, 9) == [250, 250, 250, 354, 250]


async def test_s14_a_client_that_drops_before_the_end_leaves_nothing():
    async with intake() as running:
        _, writer = await running.connect()
        writer.write(MESSAGE[:-1])
        writer.close()
        await asyncio.wait_for(running.listener._empty.wait(), 30.0)
        assert running.store.messages == []
        assert running.admission.waiting_messages == 0


async def test_an_ambiguous_store_closes_without_a_reply():
    async with intake() as running:
        running.store.trouble = Ambiguous("x")
        reader, writer = await running.connect()
        writer.write(MESSAGE)
        with contextlib.suppress(ConnectionResetError):
            assert await read_codes(reader, 9) == [250, 250, 250, 354]
        writer.close()


async def test_limits_of_connections():
    async with intake(max_connections_per_client=1) as running:
        _, writer = await running.connect()
        reader, second = await asyncio.open_connection("127.0.0.1", running.port)
        assert (await reader.readline()).startswith(b"421 4.7.0 ")
        assert running.listener.connections_refused == 1
        writer.close()
        second.close()
    async with intake(max_connections=1) as running:
        _, writer = await running.connect()
        reader, second = await asyncio.open_connection("127.0.0.1", running.port)
        assert (await reader.readline()).startswith(b"421 4.3.2 ")
        writer.close()
        second.close()


async def test_drain_ends_idle_sessions_at_once_and_busy_ones_after_their_message():
    async with intake() as running:
        running.store.hold.clear()
        idle, idle_writer = await running.connect()
        busy, busy_writer = await running.connect()
        busy_writer.write(MESSAGE)
        await asyncio.wait_for(running.store.called.wait(), 30.0)
        draining = asyncio.create_task(running.listener.drain())
        assert await read_codes(idle, 2) == [421]
        assert not draining.done()
        running.store.hold.set()
        assert await read_codes(busy, 9) == [250, 250, 250, 354, 250, 421]
        await asyncio.wait_for(draining, 30.0)
        assert len(running.store.messages) == 1
        idle_writer.close()
        busy_writer.close()


@pytest.mark.parametrize("limit", ["command_timeout", "session_timeout"])
async def test_s30_a_session_past_its_deadline_is_told_and_closed(monkeypatch, limit):
    monkeypatch.setattr(module, "TICK", 0.02)
    async with intake(**{limit: 0.2}) as running:
        reader, writer = await running.connect()
        assert await read_codes(reader, 2) == [421]
        writer.close()


async def test_octets_do_not_prolong_a_command(monkeypatch):
    monkeypatch.setattr(module, "TICK", 0.02)
    async with intake(command_timeout=0.3) as running:
        reader, writer = await running.connect()

        async def drip():
            while True:
                writer.write(b"N")
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        assert await read_codes(reader, 1) == [421]
        dripping.cancel()
        writer.close()


async def test_the_time_for_a_command_begins_anew_with_each_and_with_the_reply_to_a_message(monkeypatch):
    monkeypatch.setattr(module, "TICK", 600.0)  # the test looks instead
    async with intake(command_timeout=60.0, data_timeout=60.0) as running:
        reader, writer = await running.connect()
        (session,) = running.listener._sessions
        begun = asyncio.get_running_loop().time()
        for number in range(1, 6):
            writer.write(b"VRFY x\r\n")
            assert await read_codes(reader, 1) == [252]
            session.check(begun + 50.0 * number)
        running.store.hold.clear()
        writer.write(MESSAGE)
        await asyncio.wait_for(running.store.called.wait(), 30.0)
        session.check(begun + 400.0)
        running.store.hold.set()
        assert await read_codes(reader, 5) == [250, 250, 250, 354, 250]
        for later in (401.0, 460.0):
            session.check(begun + later)
        writer.write(b"NOOP\r\n")
        assert await read_codes(reader, 1) == [250]
        for later in (460.5, 520.0, 520.5):
            session.check(begun + later)
        assert await read_codes(reader, 2) == [421]
        writer.close()


async def test_a_closed_door_is_said_at_mail():
    async with intake() as running:
        running.admission.refuse("the store is away")
        reader, writer = await running.connect()
        writer.write(b"EHLO c\r\nMAIL FROM:<a@b>\r\n")
        assert await read_codes(reader, 2) == [250, 451]
        writer.close()


async def test_input_beyond_the_buffer_waits_in_the_socket_while_a_message_does():
    async with intake() as running:
        running.store.hold.clear()
        reader, writer = await running.connect()
        writer.write(MESSAGE)
        await asyncio.wait_for(running.store.called.wait(), 30.0)
        count = 60
        big = b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n" + b"x" * 100_000 + b"\r\n.\r\n"
        writer.write(big * count)
        await asyncio.sleep(0.1)
        (session,) = running.listener._sessions
        assert session._machine.buffered < 2_000_000
        running.store.hold.set()
        assert (await read_codes(reader, 5 + 4 * count))[4::4] == [250] * (count + 1)
        writer.close()


async def test_what_clients_send_of_large_messages_waits_in_their_sockets_and_every_message_is_taken():
    async with intake() as running:
        running.listener.input_budget = InputBudget(most=2_000_000)
        clients = [await running.connect() for _ in range(12)]
        for _, writer in clients:
            writer.write(b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n")
        for reader, writer in clients:
            await read_codes(reader, 4)
            writer.write(b"x" * 3_000_000)

        def kept() -> int:
            return sum(session._machine.buffered for session in running.listener._sessions)

        await eventually(lambda: kept() > 2_000_000)
        await asyncio.sleep(0.3)
        assert 2_000_000 < kept() < 20_000_000  # of 36 million
        for _, writer in clients:
            writer.write(b"\r\n.\r\n")
        for reader, writer in clients:
            assert await read_codes(reader, 1) == [250]
            writer.close()


async def test_no_descriptors_left_does_not_spin(monkeypatch):
    class Exhausted:
        tries = 0

        def fileno(self):
            return running.socket.fileno()

        def accept(self):
            self.tries += 1
            raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(acceptor_module, "REST", 60.0)
    async with intake() as running:
        running.listener.stop_accepting()
        exhausted = Exhausted()
        running.listener.acceptor.sockets = (exhausted,)
        monkeypatch.setattr(Exhausted, "setblocking", lambda self, flag: None, raising=False)
        running.listener.start()
        _, writer = await asyncio.open_connection("127.0.0.1", running.port)
        await asyncio.sleep(0.2)
        assert exhausted.tries == 1
        writer.close()


async def test_a_bug_in_one_session_costs_that_session_only(monkeypatch):
    async with intake() as running:
        monkeypatch.setattr(running.listener.submissions, "_made", lambda *_: 1 / 0)
        reader, writer = await running.connect()
        writer.write(MESSAGE)
        assert await read_codes(reader, 9) == [250, 250, 250, 354, 421]
        monkeypatch.setattr(running.listener.submissions, "_made", lambda *_: Reply(550, "5.6.0", "no"))
        reader, writer = await running.connect()
        writer.write(MESSAGE)
        assert await read_codes(reader, 5) == [250, 250, 250, 354, 550]
        writer.close()
