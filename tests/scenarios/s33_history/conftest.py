import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.history import HistoryView, history_of
from tests.support.node import until
from tests.support.node_and_sink import NodeAndSink, shared


class Place(NodeAndSink):
    """A node with history in files."""

    history: HistoryView

    def caught_up(self) -> None:
        """History has every event of the log."""

        def same() -> bool:
            with self.node.log.open("rb") as log:
                lines = sum(1 for _ in log)
            return len(self.history.events()) == lines

        until(same, what="history does not follow the log")

    def lines(self) -> list[dict[str, Any]]:
        """Of the log."""
        return [json.loads(line) for line in self.node.log.read_text().rpartition("\n")[0].splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with shared(Place(tmp_path_factory.mktemp("s33"))) as made, history_of(made.node.folder) as history:
        made.history = history
        yield made
