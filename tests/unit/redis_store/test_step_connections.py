"""The connections for steps and hints, against a server that answers what a test says."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
from redis.asyncio.connection import Connection, ConnectionPool
from redis.exceptions import ConnectionError, ResponseError, TimeoutError

from mta.redis_store.step_connections import StepConnections
from mta.redis_store.subscription import hear


class Server:
    """Answers each command with what `answer` makes of it; `HANG_UP` closes the connection."""

    HANG_UP = b""

    def __init__(self) -> None:
        self.commands: list[bytes] = []
        self.connections = 0
        self.answer: Callable[[bytes], bytes | None] = lambda command: b"+OK\r\n"
        self.writers: list[asyncio.StreamWriter] = []
        self._came = asyncio.Event()

    async def has_heard(self, count: int) -> None:
        while len(self.commands) < count:
            self._came.clear()
            await self._came.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                words = []
                for _ in range(int((await reader.readline())[1:] or 0)):
                    words.append(await reader.readexactly(int((await reader.readline())[1:])))
                    await reader.readexactly(2)
                if not words:
                    break
                command = b" ".join(words)
                if words[0] == b"CLIENT":  # the library tells its name
                    writer.write(b"+OK\r\n")
                    continue
                self.commands.append(command)
                self._came.set()
                answer = self.answer(command)
                if answer == self.HANG_UP:
                    break
                writer.write(answer or b"")
        writer.close()


@pytest.fixture
async def server() -> Server:
    return Server()


@pytest.fixture
async def pool(server: Server) -> AsyncIterator[ConnectionPool]:
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    yield ConnectionPool(Connection, host="127.0.0.1", port=port, protocol=2)
    listening.close()
    for writer in server.writers:
        writer.close()


@pytest.fixture
async def steps(pool: ConnectionPool) -> AsyncIterator[StepConnections]:
    made = StepConnections(pool, 0.2)
    yield made
    made.close()
    await asyncio.sleep(0)


async def test_answers_of_every_kind_come_over_one_connection(server: Server, steps: StepConnections) -> None:
    answers = iter((b":7\r\n", b"*2\r\n$3\r\nabc\r\n*1\r\n$-1\r\n", b"$100000\r\n" + b"x" * 100000 + b"\r\n"))
    server.answer = lambda command: next(answers)
    found = [await steps.ask(("FCALL", b"f", 1, "k")) for _ in range(3)]
    assert found == [7, [b"abc", [None]], b"x" * 100000]
    assert server.commands == [b"FCALL f 1 k"] * 3
    assert server.connections == 1


async def test_calls_while_others_wait_have_connections_of_their_own(server: Server, steps: StepConnections) -> None:
    server.answer = lambda command: None
    calls = []
    for number in range(3):
        calls.append(asyncio.create_task(steps.ask((f"C{number}",))))
        await server.has_heard(len(calls))
    for writer, answer in zip(server.writers, (b"+A\r\n", b"+B\r\n", b"+C\r\n"), strict=True):
        writer.write(answer)
    assert await asyncio.gather(*calls) == [b"A", b"B", b"C"]
    assert server.connections == 3


async def test_calls_of_one_round_share_a_connection_and_keep_their_answers(
    server: Server, steps: StepConnections
) -> None:
    await steps.ask(("FIRST",))
    server.answer = lambda command: b"-ERR no\r\n" if command == b"C1" else b"+%b\r\n" % command
    found = await asyncio.gather(*(steps.ask((f"C{number}",)) for number in range(3)), return_exceptions=True)
    assert (found[0], str(found[1]), found[2]) == (b"C0", "ERR no", b"C2")
    assert server.commands[1:] == [b"C0", b"C1", b"C2"]
    assert server.connections == 1


async def test_who_has_patience_goes_along_with_the_next_call(server: Server, steps: StepConnections) -> None:
    await steps.ask(("FIRST",))
    server.answer = lambda command: b"+%b\r\n" % command
    waiting = [asyncio.create_task(steps.ask((f"P{number}",), patient=True)) for number in range(2)]
    await asyncio.sleep(0)
    assert await steps.ask(("NEXT",)) == b"NEXT"
    assert await asyncio.gather(*waiting) == [b"P0", b"P1"]
    assert server.commands == [b"FIRST", b"NEXT", b"P0", b"P1"]
    assert server.connections == 1


@pytest.mark.parametrize("connected", [True, False])
async def test_who_has_patience_leaves_alone_when_nobody_comes(
    server: Server, steps: StepConnections, connected: bool
) -> None:
    if connected:
        await steps.ask(("FIRST",))
    for _ in range(2):
        assert await asyncio.gather(*(steps.ask(("P",), patient=True) for _ in range(2))) == [b"OK", b"OK"]
    assert server.commands[-4:] == [b"P"] * 4
    assert server.connections == 1


async def test_who_has_patience_is_told_that_there_is_no_server() -> None:
    steps = StepConnections(ConnectionPool(Connection, host="127.0.0.1", port=9, protocol=2), 0.2)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await steps.ask(("P",), patient=True)


async def test_who_has_patience_is_told_that_all_is_closed(server: Server, steps: StepConnections) -> None:
    await steps.ask(("FIRST",))
    waiting = asyncio.create_task(steps.ask(("P",), patient=True))
    await asyncio.sleep(0)
    steps.close()
    with pytest.raises(ConnectionError, match="closed"):
        await waiting
    assert server.commands == [b"FIRST"]


async def test_all_that_share_a_connection_learn_of_its_loss(server: Server, steps: StepConnections) -> None:
    await steps.ask(("FIRST",))
    server.answer = lambda command: b"+OK\r\n" if command == b"C0" else Server.HANG_UP
    found = await asyncio.gather(*(steps.ask((f"C{number}",)) for number in range(3)), return_exceptions=True)
    assert found[0] == b"OK"
    assert [type(error) for error in found[1:]] == [ConnectionError] * 2
    server.answer = lambda command: b"+OK\r\n"
    assert await steps.ask(("NEXT",)) == b"OK"
    assert server.connections == 2


async def test_a_refusal_leaves_the_connection(server: Server, steps: StepConnections) -> None:
    server.answer = lambda command: b"-OOM no room\r\n"
    with pytest.raises(ResponseError, match="OOM no room"):
        await steps.ask(("FCALL",))
    server.answer = lambda command: b"+OK\r\n"
    assert await steps.ask(("FCALL",)) == b"OK"
    assert server.connections == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (None, TimeoutError),
        (b"$100\r\nhalf", TimeoutError),
        (Server.HANG_UP, ConnectionError),
        (b"?what\r\n", ConnectionError),
        (b"+OK\r\n+more\r\n", ConnectionError),
    ],
)
async def test_after_trouble_no_answer_is_taken_for_anothers(
    server: Server, steps: StepConnections, answer: bytes | None, error: type[Exception]
) -> None:
    server.answer = lambda command: answer
    with pytest.raises(error):
        await steps.ask(("FIRST",))
    server.answer = lambda command: b"+%b\r\n" % command
    assert await steps.ask(("SECOND",)) == b"SECOND"
    assert server.connections == 2


async def test_the_answer_to_a_call_that_was_given_up_is_nobody_elses(server: Server, steps: StepConnections) -> None:
    server.answer = lambda command: None
    call = asyncio.create_task(steps.ask(("FIRST",)))
    await server.has_heard(1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    second = asyncio.create_task(steps.ask(("SECOND",)))
    await server.has_heard(2)
    server.writers[0].write(b"+FIRST\r\n")
    server.writers[1].write(b"+SECOND\r\n")
    assert await second == b"SECOND"
    server.answer = lambda command: b"+%b\r\n" % command
    assert await asyncio.gather(*(steps.ask((f"C{number}",)) for number in range(3))) == [b"C0", b"C1", b"C2"]
    assert server.connections == 2


async def heard_of_the_end() -> None:
    """Returns once this process has read that the server has closed a connection, however busy the machine is."""
    for _ in range(5):
        await asyncio.sleep(0.01)


async def test_a_connection_that_the_server_closed_is_not_used_again(server: Server, steps: StepConnections) -> None:
    await steps.ask(("FIRST",))
    server.writers[0].close()
    await heard_of_the_end()
    assert await steps.ask(("SECOND",)) == b"OK"
    assert server.connections == 2


async def test_a_connection_that_goes_with_its_answer_is_not_kept(server: Server, steps: StepConnections) -> None:
    def last_words(command: bytes) -> bytes:
        server.writers[-1].write(b"+OK\r\n")
        return Server.HANG_UP

    server.answer = last_words
    for _ in range(3):
        assert await steps.ask(("LAST",)) == b"OK"
        await heard_of_the_end()
    assert server.connections == 3


def _confirmed(command: bytes) -> bytes:
    channels = command.split()[1:]
    return b"".join(b"*3\r\n$9\r\nsubscribe\r\n$%d\r\n%b\r\n:1\r\n" % (len(name), name) for name in channels)


async def test_hints_are_heard_once_the_server_has_confirmed_every_channel(
    server: Server, pool: ConnectionPool
) -> None:
    told: list[tuple[bytes, ...]] = []
    half: list[bytes] = []

    def half_confirmed(command: bytes) -> bytes:
        whole = _confirmed(command)
        half.append(whole[len(whole) // 2 :])
        return whole[: len(whole) // 2]

    server.answer = half_confirmed
    both = asyncio.Event()

    def heard(*hint: bytes) -> None:
        told.append(hint)
        if len(told) == 3:
            both.set()

    hearing = asyncio.create_task(hear(pool, [b"a", b"b"], lambda: told.append(()), heard))
    await server.has_heard(1)
    await asyncio.sleep(0.02)
    assert told == []
    server.writers[0].write(half[0] + b"*3\r\n$7\r\nmessage\r\n$1\r\nb\r\n$4\r\nwake\r\n" * 2)
    await both.wait()
    assert told == [(), (b"b", b"wake"), (b"b", b"wake")]
    server.writers[0].close()
    with pytest.raises(ConnectionError):
        await hearing


async def test_a_defect_of_who_is_told_comes_out(server: Server, pool: ConnectionPool) -> None:
    server.answer = _confirmed
    with pytest.raises(ZeroDivisionError):
        await hear(pool, [b"a"], lambda: print(1 // 0), lambda *hint: None)


QUEUED = {b"MULTI": b"+OK\r\n", b"HSET": b"+QUEUED\r\n", b"FCALL": b"+QUEUED\r\n"}


async def test_a_transaction_is_answered_with_what_its_last_command_said(
    server: Server, steps: StepConnections
) -> None:
    await steps.ask(("FIRST",))
    said = QUEUED | {b"EXEC": b"*2\r\n:1\r\n*2\r\n$2\r\nOK\r\n:3\r\n"}
    server.answer = lambda command: said.get(command, b"+%b\r\n" % command)
    calls = steps.ask(("BEFORE",)), steps.ask_at_once(("HSET",), ("FCALL",)), steps.ask(("AFTER",))
    assert await asyncio.gather(*calls) == [b"BEFORE", [b"OK", 3], b"AFTER"]
    assert server.commands[1:] == [b"BEFORE", b"MULTI", b"HSET", b"FCALL", b"EXEC", b"AFTER"]
    assert server.connections == 1


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({b"HSET": b"-OOM full\r\n", b"EXEC": b"-EXECABORT because of previous errors\r\n"}, "OOM full"),
        ({b"EXEC": b"-EXECABORT Transaction discarded because of: OOM full\r\n"}, "EXECABORT .* OOM full"),
        ({b"EXEC": b"*2\r\n:1\r\n-ERR Function not found\r\n"}, "Function not found"),
        ({b"EXEC": b"*2\r\n-WRONGTYPE no\r\n+OK\r\n"}, "WRONGTYPE no"),
    ],
)
async def test_a_transaction_fails_with_the_first_error_in_it(
    server: Server, steps: StepConnections, said: dict[bytes, bytes], why: str
) -> None:
    server.answer = lambda command: (QUEUED | said).get(command, b"+OK\r\n")
    with pytest.raises(ResponseError, match=why):
        await steps.ask_at_once(("HSET",), ("FCALL",))
    assert await steps.ask(("NEXT",)) == b"OK"
    assert server.connections == 1


async def test_where_transactions_are_refused_their_commands_may_have_run(
    server: Server, steps: StepConnections
) -> None:
    server.answer = lambda command: b"-NOPERM no\r\n" if command in (b"MULTI", b"EXEC") else b"+OK\r\n"
    with pytest.raises(ConnectionError, match="NOPERM"):
        await steps.ask_at_once(("HSET",), ("FCALL",))


@pytest.mark.parametrize("answered", [0, 1, 3])
async def test_a_transaction_whose_answer_is_lost_in_the_middle(
    server: Server, steps: StepConnections, answered: int
) -> None:
    left = iter([b"+OK\r\n"] * answered)
    server.answer = lambda command: next(left, Server.HANG_UP)
    with pytest.raises(ConnectionError):
        await steps.ask_at_once(("HSET",), ("FCALL",))
    server.answer = lambda command: b"+OK\r\n"
    assert await steps.ask(("NEXT",)) == b"OK"
    assert server.connections == 2
