"""Two nodes on one store: with files one of them holds the history, with PostgreSQL both journals write to it."""

import pathlib
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from mta.model.status import Status
from tests.support.history import HistoryView, as_lines, history_of
from tests.support.needs import needs
from tests.support.node import Node, running, until
from tests.support.postgres import Postgres
from tests.support.sink_thread import SinkThread
from tests.support.valkey import Valkey


class Pair:
    """Two nodes, their destination and their store."""

    def __init__(self, folder: pathlib.Path, stack: ExitStack, url: str) -> None:
        self.sink, self.valkey = SinkThread(), Valkey(folder / "valkey")
        stack.enter_context(running(self.sink))
        stack.enter_context(running(self.valkey))
        self.sets = {"delivery__route": self.sink.address, "history__url": url, "rules__max_staleness": "1s"}
        self.nodes = [self.node(folder / name, name) for name in ("n1", "n2")]
        for node in self.nodes:
            stack.enter_context(running(node))

    def node(self, folder: pathlib.Path, name: str) -> Node:
        return Node(folder, name, redis=self.valkey.url, workers=1, **self.sets)

    def receipts(self) -> list[str]:
        return sorted(one.recipients[0] for one in self.sink.sink.received if one.taken)

    def lines(self) -> int:
        return sum(node.log.read_bytes().count(b"\n") for node in self.nodes if node.log.exists())


def _story(pair: Pair, history: HistoryView, tag: str, many: int = 60) -> None:
    wanted = [f"u{n}@{tag}.test" for n in range(many)]
    for node, some in zip(pair.nodes, (wanted[::2], wanted[1::2]), strict=True):
        node.send(some, (tag,))
    until(
        lambda: len(history.rows(tag=tag, statuses=frozenset({Status.SENT}))) == many,
        what=lambda: f"history lacks some: {[(row.last.recipient, row.standing) for row in history.rows(tag=tag)]}",
    )
    assert sorted(row.last.recipient for row in history.rows(page=9, tag=tag)) == sorted(wanted)
    assert [one for one in pair.receipts() if one.endswith(f"@{tag}.test")] == sorted(wanted)


def test_with_files_one_node_holds_the_history_and_another_url_is_refused(tmp_path: pathlib.Path) -> None:
    with ExitStack() as stack:
        pair = Pair(tmp_path, stack, "sqlite")
        first, second = pair.nodes
        with history_of(first.folder) as history:
            _story(pair, history, "files")
            lines = as_lines(history.events())
        assert {line["node"] for line in lines} == {"n1", "n2"}
        assert not (second.folder / "history").exists()
        pair.sets["history__url"] = ""
        third = pair.node(tmp_path / "n3", "n3")
        refused = subprocess.run(third.words, capture_output=True, text=True, timeout=60, check=False)
        assert refused.returncode != 0
        assert "history.url" in refused.stderr
        assert '"sqlite"' in refused.stderr
        assert "'n3'" in refused.stderr


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    try:
        yield server.start()
    finally:
        server.remove()


@needs("postgres")
def test_with_postgresql_both_journals_write_one_history(tmp_path: pathlib.Path, postgres: Postgres) -> None:
    with ExitStack() as stack:
        pair = Pair(tmp_path, stack, postgres.url)
        with history_of(postgres.url) as history:
            _story(pair, history, "shared")
            until(lambda: len(history.events()) == pair.lines(), what="history lacks events")
            events = history.events(most=7)
            assert len({one.event_id for one in events}) == len(events)
            assert [one.at for one in events] == sorted(one.at for one in events)
