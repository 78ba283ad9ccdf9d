"""Two nodes of one cluster, and a destination that says which IP and which name each message came from."""

import contextlib
import pathlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.node import Node, running, until
from tests.support.sink import Received
from tests.support.sink_thread import SinkThread
from tests.support.valkey import Valkey


class Cluster:
    """Both nodes hold every address of 127/8, and none of 192.0.2/24."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.valkey, self.sink = Valkey(folder / "valkey"), SinkThread()
        self.nodes: list[Node] = []
        self._stack = contextlib.ExitStack()

    def start(self) -> None:
        with contextlib.ExitStack() as stack:
            for part in (self.valkey, self.sink):
                stack.enter_context(running(part))
            for name, pools in (("n1", "{ default = {}, filed = { ips = '127.0.0.9' } }"), ("n2", "{ default = {} }")):
                sets: dict[str, Any] = {"delivery__route": self.sink.address, "pools": pools}
                node = Node(self.folder / name, name, redis=self.valkey.url, **sets)
                stack.enter_context(running(node))
                self.nodes.append(node)
            self._stack = stack.pop_all()

    def stop(self) -> None:
        self._stack.close()

    def call(self, method: str, path: str, body: Any = None, want: tuple[int, ...] = (200, 201)) -> Any:
        """By the first node."""
        status, answer = self.nodes[0].call(method, path, body)
        assert status in want, (status, answer)
        return answer

    def pool(self, name: str, **fields: Any) -> Any:
        """In force on both nodes."""
        answer = self.call("PUT", f"/v1/pools/{name}?wait=50s", fields)
        assert answer["in_force"], answer
        return answer

    def send(self, domain: str, count: int, pool: str, first: int = 0) -> None:
        """Half of it by each node."""
        text = f"X-MQ-Pool: {pool}\r\nFrom: from@example.org\r\nSubject: test\r\n\r\nhello\r\n"
        for number, node in enumerate(self.nodes):
            with node.sender() as client:
                for n in range(number, count, 2):
                    assert client.sendmail("from@example.org", [f"u{first + n}@{domain}"], text) == {}

    def taken(self, domain: str) -> list[Received]:
        return [message for message in self.sink.to(domain) if message.taken]

    def arrive(self, domain: str, count: int) -> Counter[str]:
        """IP -> messages, once all have arrived."""
        until(lambda: len(self.taken(domain)) >= count, what=lambda: f"{len(self.taken(domain))} of {count}")
        return Counter(message.peer for message in self.taken(domain))


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    place = Cluster(tmp_path_factory.mktemp("pools"))
    with running(place):
        yield place
