from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.node import Node, running
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


@pytest.fixture(scope="package")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("s26")
    sink = SinkThread().start()
    valkey = Valkey(folder / "valkey")
    sets: dict[str, Any] = {"delivery__route": sink.address, "rules__max_staleness": "1s", "delivery__lease": "5s"}
    node = Node(folder / "n1", "n1", valkey.url, pools__default={}, **sets)
    try:
        with running(valkey, node):
            yield House(node, valkey, sink)
            assert_balanced(valkey.url)
    finally:
        sink.stop()
