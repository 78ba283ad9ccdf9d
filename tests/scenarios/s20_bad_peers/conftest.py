"""One node for a module, and a scripted peer for each domain that the module sends to."""

import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.support.node import Node, running, until
from tests.support.scripted_peer import Peers, ScriptedPeer

ENDS = ("Delivery", "Bounce", "Expiration")


class Town:
    """A node whose domains lead to peers: `<name>.test` to the peer of that name."""

    def __init__(self, folder: pathlib.Path, peers: Mapping[str, ScriptedPeer], **sets: Any) -> None:
        self.peers = dict(peers)
        self._folder = folder
        self._sets = {
            "delivery__command_timeout": "8s",
            "delivery__dot_timeout": "8s",
            "delivery__retries": ["1s"],
        } | sets
        self._threads = Peers(*self.peers.values())

    def start(self) -> "Town":
        self._threads.start()
        routes = ", ".join(f'"{name}.test" = "{peer.address}"' for name, peer in self.peers.items())
        self.node = Node(self._folder, delivery__routes=f"{{{routes}}}", **self._sets)
        self.node.start()
        return self

    def stop(self) -> None:
        try:
            if hasattr(self, "node"):
                self.node.stop()
        finally:
            self._threads.stop()

    def send(self, name: str, *, attempts: int = 0, text: str = "hello") -> str:
        headers = {"X_MQ_MaxAttempts": str(attempts)} if attempts else {}
        return self.node.send(f"a@{name}.test", text=text, **headers)[0]

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The log of the domain, receptions aside."""
        return [e for e in self.node.events() if e.get("domain") == f"{name}.test" and e["type"] != "Reception"]

    def first(self, name: str, *types: str) -> dict[str, Any]:
        """The first line of one of these types; of any type when none is given."""
        return until(
            lambda: next((line for line in self.lines(name) if not types or line["type"] in types), None),
            what=f"no {types} for {name}: {json.dumps(self.lines(name))}",
        )

    def end(self, name: str) -> dict[str, Any]:
        """The line that ends the one delivery to the domain."""
        return self.first(name, *ENDS)


@pytest.fixture(scope="module")
def town(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """Of the module's PEERS, and its SETS if it has some."""
    place = Town(tmp_path_factory.mktemp("node"), request.module.PEERS, **getattr(request.module, "SETS", {}))
    with running(place):
        yield place
        assert "Traceback" not in place.node.errors()
