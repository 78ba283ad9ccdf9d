import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.node import TOKEN, Node, running
from tests.support.recount import assert_balanced
from tests.support.sink_thread import SinkThread
from tests.support.valkey import Valkey


class House:
    """One node with a server of its own, and its destination; delivery tries again after a second."""

    def __init__(self, node: Node, valkey: Valkey, sink: SinkThread) -> None:
        self.node = node
        self.valkey = valkey
        self.sink = sink

    @property
    def api(self) -> str:
        return str(self.node.ready["api"])

    def floodgate(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """A client command, as a program of its own."""
        environ = os.environ | {"FLOODGATE_URL": self.api, "FLOODGATE_TOKEN": TOKEN}
        command = [sys.executable, "-m", "mta.cli.main", *words]
        return subprocess.run(command, capture_output=True, text=True, env=environ, timeout=30, check=False)

    def scheduled(self, tag: str, domain: str, count: int) -> str:
        """The id of a message to so many recipients, due in an hour."""
        with self.node.client() as client:
            assert client.mail("from@example.org")[0] == 250
            for number in range(count):
                assert client.rcpt(f"r{number}@{domain}")[0] == 250
            lines = [
                f"X-MQ-Tag: {tag}",
                "X-MQ-Delayed: +1h",
                "From: from@example.org",
                "Subject: later",
                "",
                "hello",
                "",
            ]
            code, reply = client.data("\r\n".join(lines).encode())
            assert code == 250, reply
            return str(reply.decode().rpartition(" ")[2])


@pytest.fixture(scope="package")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("s26")
    sink = SinkThread().start()
    valkey = Valkey(folder / "valkey")
    sets: dict[str, Any] = {"delivery__route": sink.address, "rules__max_staleness": "1s", "delivery__lease": "5s"}
    sets |= {"rules__sweep_rate": "300/s", "delivery__retries": ["1s"]}
    node = Node(folder / "n1", "n1", valkey.url, pools__default={}, **sets)
    try:
        with running(valkey, node):
            yield House(node, valkey, sink)
            assert_balanced(valkey.url)
    finally:
        sink.stop()
