"""The cluster of a race: nodes with two workers each, their store, and the destination."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil

from tests.races.destination import DestinationProcess
from tests.races.plan import LEASE, NARROW_DOMAINS, POOLS, STALENESS, Fault, Plan
from tests.races.relay import RelayProcess
from tests.support.node import Node, pause_before_next_look
from tests.support.valkey import Valkey

_PAUSE = 0.05  # seconds between two looks, at least
_CONNECTIONS = 6  # to a domain from a pool, both nodes together


class Cluster:
    """`async with Cluster(plan, folder) as cluster:`; nothing of it is left behind."""

    def __init__(self, plan: Plan, folder: Path, nodes: int = 2) -> None:
        self._plan = plan
        self._folder = folder
        self._names = [f"n{number}" for number in range(1, nodes + 1)]
        self.valkey = Valkey(folder / "valkey")
        self.destination = DestinationProcess(plan.seed)
        self.relay = RelayProcess(self.valkey.port) if plan.fault is Fault.CUT else None
        self.nodes: list[Node] = []

    async def __aenter__(self) -> "Cluster":
        try:
            await asyncio.to_thread(self._start)
            await asyncio.gather(*(asyncio.to_thread(node.start) for node in self.nodes))
            assert await eventually(self._all_confirmed, 60.0), "not every process has confirmed the rules"
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await asyncio.gather(*(asyncio.to_thread(node.stop) for node in self.nodes if node.process))
        finally:
            for thing in (self.relay, self.valkey, self.destination):
                if thing is not None:
                    thing.stop()

    def _start(self) -> None:
        self.valkey.start()
        self.destination.start()
        if self.relay is not None:
            self.relay.start()
        limits = ", ".join(f'"{domain}" = {{ connections = {_CONNECTIONS} }}' for domain in NARROW_DOMAINS)
        for name in self._names:
            url = self.relay.url if self.relay is not None and name == self._names[-1] else self.valkey.url
            self.nodes.append(
                Node(
                    self._folder / name,
                    name,
                    url,
                    delivery__route=self.destination.address,
                    delivery__retries=["1h"],
                    delivery__lease=f"{LEASE:g}s",
                    redis__timeout="2s",
                    redis__lanes=self._plan.lanes,
                    rules__max_staleness=f"{STALENESS:g}s",
                    domains=f"{{ {limits} }}",
                    **{f"pools__{pool}__ips": [f"127.0.0.{n}"] for n, pool in enumerate(POOLS, 2)},
                )
            )

    async def _all_confirmed(self) -> bool:
        found = (await self.call("GET", "/v1/workers"))["workers"]
        return len(found) == 3 * len(self.nodes)  # two workers and a sweeper each

    async def workers(self) -> list[int]:
        """Process ids of both nodes' workers."""
        return sorted(await asyncio.to_thread(self.nodes[0].workers))

    async def call(self, method: str, path: str, body: Any = None, node: int = 0) -> Any:
        """The answer's JSON; it must be a 2xx."""
        status, answer = await asyncio.to_thread(self.nodes[node].call, method, path, body)
        assert 200 <= status < 300, (method, path, status, answer)
        return answer

    async def log(self) -> list[dict[str, Any]]:
        """Of both nodes, so far."""
        found = await asyncio.gather(*(asyncio.to_thread(node.events) for node in self.nodes))
        return [event for events in found for event in events]

    async def strike(self, worker: int) -> None:
        """The plan's fault, from its moment to its end; `worker` is a process id."""
        plan = self._plan
        match plan.fault:
            case Fault.KILLED:
                os.kill(worker, signal.SIGKILL)
            case Fault.PAUSED | Fault.LOST:
                # The supervisor, too: it would replace a worker that stands still for longer than the lease.
                stopped = (psutil.Process(worker).ppid(), worker)
                for pid in stopped:
                    os.kill(pid, signal.SIGSTOP)
                try:
                    await asyncio.sleep(plan.hit_for)
                finally:
                    for pid in reversed(stopped):
                        os.kill(pid, signal.SIGCONT)
            case Fault.CUT:
                assert self.relay is not None
                self.relay.stall()
                try:
                    await asyncio.sleep(plan.hit_for)
                finally:
                    self.relay.resume()


async def eventually(holds: Callable[[], Awaitable[Any]], within: float) -> Any:
    """Ask until the answer is true, or the time is over; the last answer."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while True:
        asked = loop.time()
        found = await holds()
        now = loop.time()
        if found or now >= begun + within:
            return found
        await asyncio.sleep(pause_before_next_look(now - begun, now - asked, _PAUSE))
