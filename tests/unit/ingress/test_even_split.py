"""Listeners on one socket: one with more sessions leaves connections to the others, and no client is left waiting."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import uvloop

from mta.ingress import acceptor as acceptor_module
from mta.ingress import listener as module
from mta.ingress import worker_loads as loads_module
from mta.ingress.worker_loads import WorkerLoads
from tests.support.eventually import eventually
from tests.support.intake import Intake, intake


@pytest.fixture(
    params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy], ids=["asyncio", "uvloop"], autouse=True
)
def event_loop_policy(request):
    return request.param()


@contextlib.asynccontextmanager
async def pair(**smtp: object) -> AsyncIterator[tuple[Intake, Intake]]:
    """Two that share a socket; the first would take everything if it always took what it sees."""
    memory = bytearray(16)
    async with (
        intake(WorkerLoads(memory, 0), **smtp) as first,
        intake(WorkerLoads(memory, 1), first.socket.dup(), **smtp) as second,
    ):
        yield first, second


@contextlib.asynccontextmanager
async def beside_a_stuck_one() -> AsyncIterator[tuple[Intake, WorkerLoads]]:
    """One beside another that has no sessions and takes none."""
    memory = bytearray(16)
    stuck = WorkerLoads(memory, 1)
    stuck.tell(0, 0)
    async with intake(WorkerLoads(memory, 0)) as running:
        yield running, stuck


def split(*running: Intake) -> list[int]:
    return [one.listener.connections_open for one in running]


async def test_sessions_are_spread_evenly():
    async with pair() as (first, second):
        clients = [await first.connect() for _ in range(40)]
        assert sum(split(first, second)) == 40
        assert max(split(first, second)) <= 22
        for _, writer in clients:
            writer.close()


async def test_sessions_that_come_at_once_are_spread_evenly():
    async with pair() as (first, second):
        clients = await asyncio.gather(*(first.connect() for _ in range(100)))
        assert max(split(first, second)) <= 55
        for _, writer in clients:
            writer.close()


async def test_who_comes_late_gets_the_next(monkeypatch):
    monkeypatch.setattr(acceptor_module, "YIELD", 0.05)
    async with pair() as (first, second):
        second.listener.stop_accepting()
        clients = [await first.connect() for _ in range(10)]
        assert split(first, second) == [10, 0]
        second.listener.start()
        clients += [await first.connect() for _ in range(8)]
        assert split(first, second) == [10, 8]
        for _, writer in clients:
            writer.close()


async def test_what_is_open_is_told():
    async with intake(loads := WorkerLoads(bytearray(16), 1)) as running:
        assert loads.sessions() == [None, 0]
        clients = [await running.connect() for _ in range(2)]
        assert loads.sessions() == [None, 2]
        for reader, writer in clients[:1]:
            writer.write(b"QUIT\r\n")
            await asyncio.wait_for(reader.read(), 30.0)
            writer.close()
        assert loads.sessions() == [None, 1]
        draining = asyncio.create_task(running.listener.drain())
        await asyncio.sleep(0)
        assert loads.sessions() == [None, None]
        clients[1][1].close()
        await asyncio.wait_for(draining, 30.0)
        assert loads.sessions() == [None, None]


async def test_one_that_takes_nothing_is_waited_for_a_few_times_and_no_more_until_it_does(monkeypatch):
    monkeypatch.setattr(loads_module, "MISSED_AT_MOST", 5)
    monkeypatch.setattr(acceptor_module, "YIELD", 0.05)
    monkeypatch.setattr(module, "TICK", 60.0)
    async with beside_a_stuck_one() as (running, stuck):
        loop = asyncio.get_running_loop()
        began = loop.time()
        clients = await asyncio.wait_for(asyncio.gather(*(running.connect() for _ in range(80))), 30.0)
        assert 5 * 0.05 * 0.9 <= loop.time() - began < 80 * 0.05 * 0.9
        stuck.tell(0, 1)  # it moves
        began = loop.time()
        clients.append(await running.connect())
        assert loop.time() - began > 0.05 * 0.9
        for _, writer in clients:
            writer.close()


async def test_one_that_took_nothing_has_another_chance_after_each_tick(monkeypatch):
    monkeypatch.setattr(loads_module, "MISSED_AT_MOST", 1)
    monkeypatch.setattr(module, "TICK", 1.0)
    async with beside_a_stuck_one() as (running, _):
        clients = [await running.connect() for _ in range(3)]
        assert not running.listener.acceptor.loads.is_ahead(full=False)
        await eventually(lambda: running.listener.acceptor.loads.is_ahead(full=False))
        for _, writer in clients:
            writer.close()


async def test_nobody_waits_for_one_that_has_left(monkeypatch):
    monkeypatch.setattr(acceptor_module, "YIELD", 60.0)
    async with beside_a_stuck_one() as (running, stuck):
        stuck.leave()
        clients = await asyncio.wait_for(asyncio.gather(*(running.connect() for _ in range(20))), 30.0)
        for _, writer in clients:
            writer.close()


@pytest.mark.parametrize("end", ["stop_accepting", "abort"])
async def test_who_looks_away_when_it_is_to_stop_takes_nothing_more(monkeypatch, end):
    async with beside_a_stuck_one() as (running, _):
        clients = [await running.connect() for _ in range(2)]
        monkeypatch.setattr(acceptor_module, "YIELD", 0.5)
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        await asyncio.sleep(0.01)
        getattr(running.listener, end)()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readline(), 0.7)
        assert running.listener.acceptor.accepted == 2
        for _, other in [*clients, (reader, writer)]:
            other.close()


async def test_who_is_full_leaves_connections_to_whoever_has_any_room_and_then_refuses(monkeypatch):
    monkeypatch.setattr(acceptor_module, "YIELD", 0.05)
    async with pair(max_connections=3) as (first, second):
        clients = [await first.connect() for _ in range(6)]
        assert split(first, second) == [3, 3]
        reader, writer = await asyncio.open_connection("127.0.0.1", first.port)
        assert (await reader.readline()).startswith(b"421 4.3.2 ")
        for _, other in [*clients, (reader, writer)]:
            other.close()
