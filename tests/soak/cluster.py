"""The processes of a soak, all behind networks that can be cut: a store, two nodes, a destination; and their faults."""

import asyncio
import contextlib
import http.client
import json
import signal
import time
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from tests.races.cluster import eventually
from tests.races.destination import DestinationProcess
from tests.races.relay import Network, RelayProcess
from tests.soak.plan import DOT_TIMEOUT, LEASE, NODES, STALENESS, STORE_TIMEOUT, Fault, Plan, What
from tests.support.node import Node, module_of
from tests.support.valkey import Valkey

WORKERS = 2  # of each node
SETTINGS: dict[str, Any] = {
    "delivery.retries": ["1s", "2s", "4s"],
    "delivery.lease": f"{LEASE:g}s",
    "delivery.dot_timeout": f"{DOT_TIMEOUT:g}s",
    "delivery.command_timeout": f"{DOT_TIMEOUT:g}s",
    "redis.timeout": f"{STORE_TIMEOUT:g}s",
    "rules.max_staleness": f"{STALENESS:g}s",
}
_MODULES = {
    What.KILL_WORKER: "mta.runtime.worker",
    What.STOP_WORKER: "mta.runtime.worker",
    What.KILL_SWEEPER: "mta.runtime.sweeper",
    What.STOP_SWEEPER: "mta.runtime.sweeper",
    What.KILL_JOURNAL: "mta.runtime.journal",
    What.STOP_JOURNAL: "mta.runtime.journal",
    What.KILL_API: "control_api",
    What.STOP_API: "control_api",
}
_NETWORKS = {What.CUT: Network.CUT, What.FLAP: Network.FLAPPING}
_RESTART = 60.0  # seconds that a node may need to start again


class Strike(NamedTuple):
    """A fault as it happened; times are Unix milliseconds."""

    what: What
    node: str  # "" = the store, and so both
    pid: int
    begun: float
    ended: float


class Cluster:
    """`async with Cluster(plan, folder) as cluster:`; nothing of it is left running."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._folder = folder
        self.valkey = Valkey(folder / "valkey")
        self.destination = DestinationProcess(plan.seed)
        self.relays: dict[str, RelayProcess] = {}
        self.nodes: dict[str, Node] = {}
        self.strikes: list[Strike] = []
        self._targets: dict[str, asyncio.Lock] = {}  # a target has one fault at a time

    async def __aenter__(self) -> "Cluster":
        try:
            await asyncio.to_thread(self._start)
            await asyncio.gather(*(asyncio.to_thread(node.start) for node in self.nodes.values()))
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """A node that does not stop within its time is killed; the processes that it leaves end with its pipe."""
        try:
            await asyncio.gather(*(asyncio.to_thread(self._stop_node, node) for node in self.nodes.values()))
        finally:
            for thing in (*self.relays.values(), self.valkey, self.destination):
                thing.stop()

    def _start(self) -> None:
        self.valkey.start()
        self.destination.start()
        self.destination.hurry()
        for name in NODES:
            relay = self.relays[name] = RelayProcess(self.valkey.port)
            relay.start()
            sets = {**SETTINGS, "delivery.route": self.destination.address, "smtp.hostname": f"{name}.soak.test"}
            self.nodes[name] = Node(self._folder / name, name, relay.url, WORKERS, **sets)

    def _stop_node(self, node: Node) -> None:
        if node.process is not None:
            with contextlib.suppress(TimeoutError, OSError):
                node.stop()

    # The API

    async def call(self, method: str, path: str, body: Any = None, node: str = "") -> Any:
        """Ask that node, or the first that answers, until one gives a 2xx; its JSON."""
        names = [node, *(name for name in NODES if name != node)] if node else list(NODES)
        last: Any = None

        async def answered() -> Any:
            nonlocal last
            for name in names:
                try:
                    status, answer = await asyncio.to_thread(self.nodes[name].call, method, path, body)
                except (OSError, http.client.HTTPException, ValueError) as error:  # of an API that is killed meanwhile
                    last = error
                    continue
                if 200 <= status < 300:
                    return [answer]
                last = status, answer
            return None

        found = await eventually(answered, 60.0)
        assert found, f"{method} {path}: {last}"
        return found[0]

    # Faults

    async def strike(self, fault: Fault) -> None:
        """From its beginning to its end; noted in `strikes`."""
        of_store = fault.what in (What.KILL_STORE, What.STOP_STORE)
        target = "store" if of_store else f"{fault.node} {_MODULES.get(fault.what) or _kind(fault.what)}"
        async with self._targets.setdefault(target, asyncio.Lock()):
            begun = time.time() * 1000
            pid = await self._do(fault)
            name = "" if of_store else fault.node
            self.strikes.append(Strike(fault.what, name, pid, begun, time.time() * 1000))

    async def _do(self, fault: Fault) -> int:
        """The process that it was about, 0 = none was there or it was about something else."""
        what, relay = fault.what, self.relays[fault.node]
        if what is What.KILL_STORE:
            return await self._kill_store(fault.lasts)
        if what is What.STOP_STORE:
            assert self.valkey.process is not None
            return await _stopped(psutil.Process(self.valkey.process.pid), fault.lasts)
        if what is What.KILL_SUPERVISOR:
            return await self._kill_supervisor(self.nodes[fault.node])
        if what is What.STALL:
            relay.stall()
            try:
                await asyncio.sleep(fault.lasts)
            finally:
                relay.resume()
            return 0
        if what in _NETWORKS:
            await asyncio.to_thread(relay.become, _NETWORKS[what])
            try:
                await asyncio.sleep(fault.lasts)
            finally:
                await asyncio.to_thread(relay.become, Network.WHOLE)
            return 0
        process = self._child(fault)
        if process is None:
            return 0
        if fault.lasts:
            return await _stopped(process, fault.lasts)
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
        return process.pid

    def _child(self, fault: Fault) -> psutil.Process | None:
        node = self.nodes[fault.node]
        process = node.process
        if process is None:
            return None
        found = []
        with contextlib.suppress(psutil.NoSuchProcess):
            found = [one for one in psutil.Process(process.pid).children() if module_of(one) == _MODULES[fault.what]]
        found.sort(key=lambda child: child.pid)
        return found[fault.pick % len(found)] if found else None

    async def _kill_store(self, seconds: float) -> int:
        assert self.valkey.process is not None
        pid = self.valkey.process.pid
        await asyncio.to_thread(self.valkey.stop, signal.SIGKILL)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(self.valkey.start)
        return pid

    async def _kill_supervisor(self, node: Node) -> int:
        """And start the node again; while it cannot, its store may be away."""
        if node.process is None:
            return 0
        pid = node.process.pid
        await asyncio.to_thread(node.stop, signal.SIGKILL)

        async def started() -> bool:
            try:
                await asyncio.to_thread(node.start)
            except (AssertionError, json.JSONDecodeError):
                return False
            return True

        assert await eventually(started, _RESTART), f"{node.name} does not start again: {node.errors()[-2000:]}"
        return pid


def _kind(what: What) -> str:
    return "network" if what in (What.CUT, What.FLAP, What.STALL) else "supervisor"


async def _stopped(process: psutil.Process, seconds: float) -> int:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.suspend()
        try:
            await asyncio.sleep(seconds)
        finally:
            process.resume()
    return process.pid
