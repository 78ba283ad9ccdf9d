from collections.abc import Callable, Iterator
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

    def order(self, wait: str = "5s", goal: str = "effective", **rule: Any) -> dict[str, Any]:
        """The rule as POST answered it; it must have become what was waited for."""
        status, answer = self.node.call("POST", f"/v1/errors?wait={wait}&until={goal}", {"code": 554} | rule)
        assert status in (200, 201), answer
        assert answer["effective"], answer
        return answer

    def lift(self, rule: dict[str, Any]) -> None:
        status, answer = self.node.call("DELETE", f"/v1/errors/{rule['id']}?wait=5s")
        assert (status, answer["effective"]) == (200, True), answer

    def account(self, rule: dict[str, Any]) -> dict[str, Any]:
        status, found = self.node.call("GET", f"/v1/errors/{rule['id']}/statement")
        assert status == 200, found
        return found

    def complete(self, rule: dict[str, Any]) -> dict[str, Any]:
        """The rule's statement once its sweep is done; it must balance then."""

        def look() -> dict[str, Any] | None:
            found = self.account(rule)
            assert found["balanced"] in ((True,) if found["complete"] else (None, True)), found
            return found if found["complete"] else None

        return until(look, 10.0, f"the sweep of {rule} is not done")

    def log_of(self, tag: str, kind: str = "") -> list[dict[str, Any]]:
        return [e for e in self.node.events() if tag in e.get("tags", ()) and (not kind or e["type"] == kind)]

    def logged(self, tag: str, kind: str, count: int) -> list[dict[str, Any]]:
        """The tag's lines of that type, once there are as many; never more."""
        found = until(lambda: (f := self.log_of(tag, kind)) and len(f) >= count and f, 10.0, f"{kind} of {tag}")
        assert len(found) == count, found
        return found

    def waits(self, tag: str, count: int, **classes: int) -> dict[str, Any]:
        """The tag's statement once that many are queued and none is claimed."""
        return until(
            lambda: (
                (s := self.node.statement(tag))["queued"] == count
                and all(s[name] == number for name, number in classes.items())
                and s
            ),
            10.0,
            f"{tag}: {self.node.statement(tag)}",
        )


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    sink = SinkThread().start()
    node = Node(
        tmp_path_factory.mktemp("s08") / "n1",
        delivery__route=sink.address,
        delivery__retries=["1h"],
        delivery__lease="5s",
        delivery__connections=40,
        rules__max_staleness="1s",
        pools__default={},
        pools__gold__ips=["127.0.0.2"],
        pools__pair__ips=["127.0.0.3", "127.0.0.4"],
    )
    try:
        with running(node):
            yield House(node, sink)
            assert_balanced(node.ready["redis"])
    finally:
        sink.stop()


@pytest.fixture
def deferring(house: House) -> Iterator[Callable[[str], None]]:
    """`deferring("example.test")`: recipients there and below it get 450 until the test ends."""
    domains: list[str] = []

    def answer(_: int, argument: str) -> str | None:
        domain = argument.partition("@")[2].partition(">")[0]
        slow = any(domain == name or domain.endswith("." + name) for name in domains)
        return "450 4.2.1 later" if slow else None

    house.sink.script("RCPT", answer)
    yield domains.append
    house.sink.script("RCPT", None)
