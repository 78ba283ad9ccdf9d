"""The workers of a node have about as many sessions each, whoever of them comes late, stands still or dies."""

import contextlib
import os
import pathlib
import signal
import socket
import statistics
import time
from collections.abc import Iterator

import psutil

from mta.ingress.worker_loads import LoadSlot, WorkerLoads
from tests.support.node import Node, running, standing_still, until


class Clients:
    """Connections that stay open, each greeted before the next is opened."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._open: list[socket.socket] = []
        self.longest = 0.0  # seconds until a greeting

    def add(self, count: int) -> None:
        for _ in range(count):
            began = time.monotonic()
            client = socket.create_connection(self._node.smtp, timeout=60)
            self._open.append(client)
            assert client.recv(4) == b"220 "
            self.longest = max(self.longest, time.monotonic() - began)

    def drop(self) -> None:
        while self._open:
            self._open.pop().close()

    def split(self) -> dict[int, int]:
        """Sessions by worker."""
        return {pid: sessions(pid, self._node.smtp[1]) for pid in self._node.workers()}


def sessions(pid: int, port: int) -> int:
    found = psutil.Process(pid).net_connections("tcp")
    return sum(one.laddr[1] == port and one.status == psutil.CONN_ESTABLISHED for one in found)


def loads_of(node: Node) -> WorkerLoads:
    """The sessions that its workers tell each other."""
    assert node.process is not None
    descriptors = pathlib.Path(f"/proc/{node.process.pid}/fd")
    (memory,) = [each for each in descriptors.iterdir() if "floodgate-loads" in _target(each)]
    with memory.open("r+b") as file:
        return WorkerLoads.at(LoadSlot(file.fileno(), 0))


def _target(link: pathlib.Path) -> str:
    try:
        return os.readlink(link)
    except FileNotFoundError:  # closed meanwhile
        return ""


@contextlib.contextmanager
def node_of(folder: pathlib.Path, workers: int) -> Iterator[tuple[Node, Clients]]:
    node = Node(folder, workers=workers)
    with running(node):
        clients = Clients(node)
        try:
            yield node, clients
        finally:
            clients.drop()


def test_three_workers_have_about_a_third_each(tmp_path: pathlib.Path) -> None:
    with node_of(tmp_path, 3) as (_, clients):
        most = []
        for _ in range(5):
            clients.add(42)
            split = clients.split()
            assert sum(split.values()) == 42
            most.append(max(split.values()))
            clients.drop()
            until(lambda: not any(clients.split().values()))
        # 25 where chance decides. A worker that a busy machine lets stand still gets none for a while.
        assert statistics.median(most) <= 19, most


def test_one_that_stands_still_holds_no_client_up_and_one_that_is_back_catches_up(tmp_path: pathlib.Path) -> None:
    with node_of(tmp_path, 2) as (node, clients):
        still, other = node.workers()

        def new_ones(split: dict[int, int]) -> int:
            return sum(many for pid, many in split.items() if pid != other)

        with standing_still(still):
            clients.add(60)
            assert clients.longest < 8.0
            assert sessions(other, node.smtp[1]) == 60
        until(lambda: clients.add(1) or sessions(still, node.smtp[1]))
        # It gets most of those that come, so it comes nearer and nearer; by chance it would stay 60 behind.
        until(lambda: clients.add(5) or sessions(still, node.smtp[1]) >= sessions(other, node.smtp[1]) - 30)
        split = clients.split()

        told = loads_of(node)
        until(lambda: sorted(told.sessions(), key=str) == sorted(clients.split().values(), key=str))
        os.kill(still, signal.SIGKILL)
        until(lambda: sorted(told.sessions(), key=str) == [split[other], None])  # it takes no place any more
        clients.add(1)
        until(lambda: len(node.workers()) == 2 and still not in node.workers() and None not in told.sessions())
        # The new one, which has none, gets more of those that come, once it does not stand still on a busy machine.
        until(lambda: clients.add(5) or new_ones(clients.split()) >= 8 + clients.split()[other] - split[other])
        assert clients.longest < 8.0
