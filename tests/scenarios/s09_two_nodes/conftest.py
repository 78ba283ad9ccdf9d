from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.node import Node, running, until
from tests.support.recount import assert_balanced
from tests.support.sink_thread import SinkThread
from tests.support.valkey import Valkey

LANES = 4
STALENESS = 2  # seconds


class Pair:
    """Two nodes with two workers each, on one server, and their destination."""

    def __init__(self, valkey: Valkey, nodes: tuple[Node, Node], sink: SinkThread) -> None:
        self.valkey = valkey
        self.nodes = nodes
        self.sink = sink

    def sessions(self) -> dict[str, dict[str, Any]]:
        """By name of the process, those that live."""
        return {w["name"]: w for w in self.nodes[0].call("GET", "/v1/workers")[1]["workers"] if not w["dead"]}

    def matchers(self) -> list[str]:
        return until(lambda: len(found := sorted(self.sessions())) == 6 and found, what=f"{self.sessions()}")

    def delivering(self) -> list[str]:
        """The matchers that orders wait for."""
        return [name for name in self.matchers() if "delivery" in name]

    def claims(self, session: str) -> int:
        """How many deliveries the session holds."""
        return sum(
            int(self.valkey.ask("HLEN", f"fg:{{{lane}}}:claimed:{session}").strip()[1:]) for lane in range(LANES)
        )

    def holders(self) -> dict[str, int]:
        """Name of each process that holds claims -> how many."""
        return {name: n for name, w in self.sessions().items() if (n := self.claims(w["session"]))}

    def log(self, kind: str) -> list[dict[str, Any]]:
        return [e for node in self.nodes for e in node.events() if e["type"] == kind]

    def waits(self, tag: str, **classes: int) -> dict[str, Any]:
        """The tag's statement once its classes are these."""
        return until(
            lambda: (s := self.nodes[0].statement(tag)) and all(s[name] == n for name, n in classes.items()) and s,
            what=f"{tag}: {self.nodes[0].statement(tag)}",
        )

    def complete(self, rule: dict[str, Any]) -> dict[str, Any]:
        """The rule's statement once it is complete, as the second node tells it."""

        def look() -> Any:
            status, found = self.nodes[1].call("GET", f"/v1/errors/{rule['id']}/statement")
            assert status == 200, found
            return found if found["complete"] else None

        return until(look, what=f"the account of {rule} is not complete")


@pytest.fixture(scope="package")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("s09")
    sink = SinkThread().start()
    valkey = Valkey(folder / "valkey")
    limits = ", ".join(f'"d{n}.camp.test" = {{ messages_per_minute = 2400 }}' for n in range(4))
    nodes = tuple(
        Node(
            folder / name,
            name,
            valkey.url,
            delivery__route=sink.address,
            delivery__lease="8s",
            delivery__retries=["1h"],
            rules__max_staleness=f"{STALENESS}s",
            domains=f"{{ {limits} }}",  # so that a campaign lasts longer than its injection
        )
        for name in ("n1", "n2")
    )
    try:
        with running(valkey, *nodes):
            yield Pair(valkey, (nodes[0], nodes[1]), sink)
            assert_balanced(valkey.url)
    finally:
        sink.stop()
