from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.node import Node, running
from tests.support.recount import assert_balanced
from tests.support.sink_thread import SinkThread
from tests.support.valkey import Valkey


class Place:
    """One node with a server of its own, and its destination."""

    def __init__(self, node: Node, valkey: Valkey, sink: SinkThread) -> None:
        self.node = node
        self.valkey = valkey
        self.sink = sink

    @property
    def api(self) -> str:
        return str(self.node.ready["api"])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("s10")
    sink = SinkThread().start()
    valkey = Valkey(folder / "valkey")
    sets: dict[str, Any] = {"delivery__route": sink.address, "delivery__lease": "5s", "rules__max_staleness": "1s"}
    node = Node(folder / "n1", "n1", valkey.url, pools__default={}, pools__gold__ips=["127.0.0.2"], **sets)
    try:
        with running(valkey, node):
            yield Place(node, valkey, sink)
            assert_balanced(valkey.url)
    finally:
        sink.stop()
