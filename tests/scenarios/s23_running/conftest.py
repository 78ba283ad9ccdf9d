"""A server, a destination and a node beside it, shared by the tests of a module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.node import Node
from tests.support.sink_thread import SinkThread
from tests.support.valkey import Valkey


class Place:
    """Where nodes run: a server, a destination that takes everything, and a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.valkey = Valkey(folder / "valkey")
        self.sink = SinkThread()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("s23"))
    made.valkey.start()
    made.sink.start()
    yield made
    made.sink.stop()
    made.valkey.stop()


@pytest.fixture
def as_users_start_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes are programs of their own."""
    monkeypatch.setattr(Node, "forked", False)
