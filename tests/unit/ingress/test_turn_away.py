"""Clients of a process that cannot take mail yet are told so, and their connections are closed (R5)."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from mta.ingress.turn_away import TurnAway
from mta.ingress.worker_loads import WorkerLoads


class Waiting:
    def __init__(self, member: int = 0) -> None:
        self.memory = bytearray(16)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.turn_away = TurnAway([self.socket], WorkerLoads(self.memory, member))

    async def said(self) -> bytes:
        """All that a new connection is told until it is closed."""
        reader, writer = await asyncio.open_connection(*self.socket.getsockname())
        try:
            return await asyncio.wait_for(reader.read(), 30.0)
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def waiting(grace: float = 0.0) -> AsyncIterator[Waiting]:
    made = Waiting()
    made.turn_away.start(grace)
    try:
        yield made
    finally:
        made.turn_away.stop()
        made.socket.close()


async def test_r5_each_client_is_told_why_and_the_connection_is_closed() -> None:
    async with waiting() as made:
        assert await made.said() == b"421 4.3.2 no mail is taken: the store is away, try again later\r\n"
        made.turn_away.because(lambda: "the store is unsafe: appendonly is no")
        told = await asyncio.gather(*(made.said() for _ in range(100)))
        assert set(told) == {b"421 4.3.2 no mail is taken: the store is unsafe: appendonly is no, try again later\r\n"}
        assert made.turn_away.turned_away == 101


async def test_r5_a_short_start_turns_nobody_away() -> None:
    async with waiting(grace=60.0) as made:
        client = asyncio.ensure_future(made.said())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(client), 0.1)
        made.turn_away.stop()
        connection, _ = made.socket.accept()
        connection.close()
        assert await client == b""
        assert made.turn_away.turned_away == 0


async def test_r5_a_connection_is_left_to_a_worker_that_takes_mail() -> None:
    async with waiting() as made:
        other = WorkerLoads(made.memory, 1)
        other.tell(0, 0)
        client = asyncio.ensure_future(made.said())
        loop = asyncio.get_running_loop()
        taken = loop.create_future()
        peer = made.socket.dup()
        loop.add_reader(peer.fileno(), lambda: taken.done() or taken.set_result(peer.accept()[0]))
        connection = await asyncio.wait_for(taken, 30.0)
        loop.remove_reader(peer.fileno())
        peer.close()
        connection.close()
        assert await client == b""
        assert made.turn_away.turned_away == 0
        assert (await made.said()).startswith(b"421 4.3.2 "), "the other takes nothing: it stands still"


async def test_r5_after_stop_nothing_is_accepted() -> None:
    async with waiting() as made:
        await made.said()
        made.turn_away.stop()
        made.turn_away.stop()
        client = asyncio.ensure_future(made.said())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client, 0.2)
        assert made.turn_away.turned_away == 1
