from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.node import Node, running, until
from tests.support.recount import assert_balanced
from tests.support.sink_thread import SinkThread


class House:
    """One node and its destination; tests share them and keep apart by domain and tag."""

    def __init__(self, node: Node, sink: SinkThread) -> None:
        self.node = node
        self.sink = sink

    def call(self, method: str, path: str, body: Any = None, want: tuple[int, ...] = (200, 201)) -> Any:
        status, answer = self.node.call(method, path, body)
        assert status in want, (status, answer)
        return answer

    def pause(self, **fields: Any) -> Any:
        answer = self.call("POST", "/v1/pauses?wait=5s", fields)
        assert answer["effective"], answer
        return answer

    def held(self, pause: Any, count: int) -> None:
        """It holds exactly so many, and says so everywhere."""
        path = f"/v1/pauses/{pause['id']}"
        until(lambda: self.call("GET", path)["held"] == count, 10.0, f"{self.node.call('GET', path)}")

    def account(self, path: str) -> Any:
        """The statement once it is complete; it must balance then."""
        return until(
            lambda: (s := self.call("GET", path + "/statement"))["complete"] and s["balanced"] and s, 10.0, path
        )

    def arrived(self, domain: str) -> list[str]:
        """Recipients in the order in which their mail was taken."""
        return [received.recipients[0] for received in self.sink.to(domain) if received.taken]

    def log_of(self, tag: str, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.node.events() if tag in event.get("tags", ()) and event["type"] == kind]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    sink = SinkThread().start()
    node = Node(
        tmp_path_factory.mktemp("s15") / "n1",
        delivery__route=sink.address,
        delivery__retries=["1h"],
        delivery__lease="5s",
        delivery__connections=1,
        rules__max_staleness="1s",
        pools__default={},
    )
    try:
        with running(node):
            yield House(node, sink)
            assert_balanced(node.ready["redis"])
    finally:
        sink.stop()
