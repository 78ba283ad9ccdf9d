"""Connections to the master that sentinels name, against sentinels and servers that a test plays."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mta.model.errors import StoreAway, StoreUnreached
from mta.model.settings import RedisSettings
from mta.redis_store.link import Link
from mta.redis_store.topology import replicated


class Player:
    """A server that answers each command by `answers`, +OK where it has none."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.port = 0
        self.commands: list[bytes] = []
        self.answers: dict[bytes, bytes] = {}
        self.ends: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> "Player":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for end in self.ends:
            end.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.ends.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, OSError, ValueError):
            while line := await reader.readline():
                words = []
                for _ in range(int(line[1:])):
                    words.append(await reader.readexactly(int((await reader.readline())[1:])))
                    await reader.readexactly(2)
                self.commands.append(words[0])
                info = b"run_id:" + self.name
                answer = b"$%d\r\n%b\r\n" % (len(info), info) if words[0] == b"INFO" else b"+OK\r\n"
                writer.write(self.answers.get(words[0], answer))
        writer.close()

    def names(self, master: "Player", flags: str = "master") -> None:
        """As a sentinel."""
        said = {"ip": "127.0.0.1", "port": str(master.port), "flags": flags, "num-other-sentinels": "1"}
        words = [word.encode() for pair in said.items() for word in pair]
        bulk = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
        self.answers[b"SENTINEL"] = b"*%d\r\n" % len(words) + bulk


@pytest.fixture
async def players() -> AsyncIterator[list[Player]]:
    made = [await Player(name).start() for name in (b"sentinel", b"sentinel", b"old", b"new")]
    for player in made:
        player.answers[b"FCALL"] = b"$%d\r\n%b\r\n" % (len(player.name), player.name)
    yield made
    for player in made:
        player.stop()


@contextlib.asynccontextmanager
async def linked(*sentinels: Player) -> AsyncIterator[Link]:
    hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
    link = Link(f"redis+sentinel://{hosts}/main", RedisSettings(timeout=2.0))
    try:
        yield link
    finally:
        await link.close()


async def step(link: Link) -> Any:
    return await link.call(b"agenda", [b"fg:{0}:lane"], [])


async def test_calls_go_to_the_master_that_is_named_and_follow_when_it_is_gone(players: list[Player]) -> None:
    one, two, old, new = players
    one.names(old)
    two.names(old)
    async with linked(one, two) as link:
        assert await step(link) == b"old"
        assert await link.command("GET", "x") == b"OK"
        old.stop()
        with pytest.raises(StoreAway):
            await step(link)
        one.names(new)
        assert await step(link) == b"new"
        assert link.unsafe == "a server was met that has not been checked yet"


async def test_a_sentinel_that_is_away_or_sees_the_master_down_is_passed_over(players: list[Player]) -> None:
    one, two, old, new = players
    one.names(old, "master,s_down")
    two.names(new)
    async with linked(one, two) as link:
        assert await step(link) == b"new"
        one.stop()
        assert await link.command("GET", "x") == b"OK"
        assert new.commands.count(b"GET") == 1


async def test_where_no_sentinel_names_a_master_nothing_was_asked_and_each_says_why(players: list[Player]) -> None:
    one, two, old, _ = players
    one.answers[b"SENTINEL"] = b"-ERR No such master with that name\r\n"
    two.stop()
    async with linked(one, two) as link:
        with pytest.raises(StoreUnreached) as caught:
            await step(link)
    said = str(caught.value)
    assert said.startswith("no sentinel in redis.url names a master 'main' (")
    assert f"127.0.0.1:{one.port} says: No such master with that name; 127.0.0.1:{two.port} does not answer: " in said
    assert old.commands == []


async def test_a_sentinel_that_wants_a_password_says_where_it_goes(players: list[Player]) -> None:
    one, *_ = players
    one.answers[b"SENTINEL"] = b"-NOAUTH Authentication required.\r\n"
    async with linked(one) as link:
        with pytest.raises(StoreUnreached, match=r"127\.0\.0\.1:\d+ wants sentinel_password in redis\.url"):
            await step(link)


async def test_an_old_master_that_still_answers_loses_its_connections(
    players: list[Player], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicated, "_EVERY", 0.01)
    one, _, old, new = players
    for player in (old, new):
        player.answers[b"SUBSCRIBE"] = b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
    one.names(old)
    came = asyncio.Event()
    async with linked(one) as link:
        link.hear(b"a", lambda message: None)
        link.on_reconnect(came.set)
        link.listen()
        await came.wait()
        assert await step(link) == b"old"
        came.clear()
        one.names(new)
        await came.wait()
        assert new.commands.count(b"SUBSCRIBE") == 1
        assert await step(link) == b"new"
        assert await link.command("GET", "x") == b"OK"
        assert old.commands.count(b"GET") == 0
