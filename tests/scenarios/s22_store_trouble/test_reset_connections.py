"""A store that resets connections: every fault of making one is the client library's ConnectionError, so StoreAway."""

import asyncio
import random
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable

import uvloop
from redis.exceptions import ConnectionError

from mta.model.errors import StoreAway
from mta.model.settings import RedisSettings
from mta.redis_store import subscription
from mta.redis_store.link import Link

ROUNDS = 150
ANSWERS = {
    b"INFO": b"$15\r\nrun_id:abcdef\r\n\r\n",
    b"SUBSCRIBE": b"*3\r\n$9\r\nsubscribe\r\n$7\r\nchannel\r\n:1\r\n",
}


class ResettingServer:
    """Answers so many commands of a connection, then resets it: before, during or behind an answer."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.answered = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = self._random.choice((0, 1, 2, 3, 4, 5, 6, 9))
        cut = self._random.random() < 0.5
        try:
            while left:
                words = []
                for _ in range(int((await reader.readline())[1:] or 0)):
                    words.append(await reader.readexactly(int((await reader.readline())[1:])))
                    await reader.readexactly(2)
                if not words:
                    break
                answer = ANSWERS.get(words[0], b"+OK\r\n")
                left = 0 if words[0] == b"SUBSCRIBE" else left - 1
                writer.write(answer[: len(answer) // 2] if cut and not left else answer)
                self.answered += 1
        except (asyncio.IncompleteReadError, OSError):
            pass
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST instead of FIN
        writer.transport.abort()


async def outcomes(seed: int, ask: Callable[[Link], Awaitable[object]]) -> Counter[type]:
    server = ResettingServer(seed)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    link = Link(f"redis://127.0.0.1:{listening.sockets[0].getsockname()[1]}", RedisSettings(timeout=1.0))
    found: Counter[type] = Counter()
    for _ in range(ROUNDS):
        try:
            await ask(link)
            found[type(None)] += 1
        except Exception as error:
            found[type(error)] += 1
    await link.close()
    listening.close()
    assert server.answered > ROUNDS / 4, "the server hardly answered anything"
    return found


def run(seed: int, ask: Callable[[Link], Awaitable[object]]) -> Counter[type]:
    """In the loop that the node's processes run in."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(outcomes(seed, ask))


def assert_away_or_answered(found: Counter[type]) -> None:
    assert all(issubclass(kind, StoreAway) for kind in found if kind is not type(None)), found
    assert found[type(None)], f"nothing was ever answered: {found}"


def test_k2_a_step_over_a_connection_that_is_reset_says_that_the_store_is_away() -> None:
    assert_away_or_answered(run(1, lambda link: link.call(b"agenda", [b"k"], [])))


def test_k2_a_step_with_patience_and_one_behind_large_contents() -> None:
    assert_away_or_answered(run(2, lambda link: link.call(b"agenda", [b"k"], [], patient=True)))
    large = (b"h", [b"f", b"x" * 200_000])
    found = run(3, lambda link: link.call(b"agenda", [b"k"], [], fields=large))
    assert all(issubclass(kind, StoreAway) for kind in found if kind is not type(None)), found


def test_k2_a_plain_command_over_a_connection_that_is_reset() -> None:
    assert_away_or_answered(run(4, lambda link: link.command("PING")))
    assert_away_or_answered(run(5, lambda link: link.quick("PING")))


def test_k2_several_callers_at_once_each_learn_of_it() -> None:
    async def several(link: Link) -> None:
        calls = [link.call(b"agenda", [b"k"], []), link.command("PING"), link.call(b"agenda", [b"k"], [], patient=True)]
        found = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 30.0)
        errors = [one for one in found if isinstance(one, BaseException)]
        for error in errors:
            if not isinstance(error, StoreAway):
                raise error
        if errors:
            raise errors[0]

    found = run(6, several)
    assert all(issubclass(kind, StoreAway) for kind in found if kind is not type(None)), found


def test_k2_a_subscription_over_a_connection_that_is_reset() -> None:
    async def hear_once(link: Link) -> None:
        pool = link._topology.pool
        hearing = subscription.hear(pool, [b"channel"], lambda: None, lambda channel, message: None)
        try:
            await asyncio.wait_for(hearing, 30.0)
        except ConnectionError as error:
            raise StoreAway(str(error)) from error

    found = run(7, hear_once)
    assert set(found) == {StoreAway}, found  # a subscription ends by its loss only
