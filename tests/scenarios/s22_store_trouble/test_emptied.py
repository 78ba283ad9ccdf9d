"""A store that loses everything while the node runs, or between two runs of it."""

import signal
from pathlib import Path

import pytest

from tests.scenarios.s22_store_trouble.conftest import Troubled
from tests.support.node import Node, running, until
from tests.support.rest import ask
from tests.support.valkey import Valkey

METRIC = b"floodgate_store_emptied "


def metric(node: Node) -> bytes:
    lines = ask(node.ready["api"], "GET", "/metrics").body.splitlines()
    return next(line for line in lines if line.startswith(METRIC)).removeprefix(METRIC)


def gaps(node: Node) -> dict[str, str]:
    """Reasons by event: the journal lost its place with the store, and may write an event again."""
    return {event["event"]: event["reason"] for event in node.events() if event["type"] == "Gap"}


def empty(valkey: Valkey, how: str) -> None:
    if how == "FLUSHALL":
        valkey.ask("FLUSHALL")
        return
    valkey.stop(signal.SIGKILL)
    for file in valkey.folder.rglob("appendonly.aof.*"):
        file.unlink()
    valkey.start()


@pytest.mark.parametrize("how", ["FLUSHALL", "comes back empty"])
def test_k5_an_emptied_store_is_said_until_acknowledged_and_works_on(place: Troubled, how: str) -> None:
    node, mark = place.node, place.mark()
    assert metric(node) == b"0.0"
    before = gaps(node)
    empty(place.valkey, how)
    until(lambda: "the store was found emptied" in node.errors()[mark:])
    until(lambda: node.call("GET", "/v1/workers")[0] == 200)  # the token is known again
    body = until(lambda: (said := place.readyz())[0] == 503 and "emptied" in said[1]["reason"] and said[1])
    assert "POST /v1/store/acknowledge" in body["reason"]
    assert metric(node) == b"1.0"
    place.delivers(f"after-{how.split()[0]}@k5.example")  # mail goes on all the same
    (reason,) = until(lambda: [gaps(node)[id_] for id_ in gaps(node).keys() - before.keys()])
    assert "the store was found emptied" in reason
    assert [line for line in place.lines_since(mark) if "the store was found emptied" in line and "CRITICAL" in line]
    assert place.readyz()[0] == 503
    status, answer = node.call("POST", "/v1/store/acknowledge")
    assert (status, bool(answer["emptied_at"])) == (200, True)
    until(lambda: place.readyz()[0] == 200)
    assert metric(node) == b"0.0"
    assert node.call("POST", "/v1/store/acknowledge") == (200, {"emptied_at": None})
    assert len(gaps(node)) == len(before) + 1
    assert sum("was found emptied: mail" in line for line in place.lines_since(mark)) == 1


def test_k5_a_store_emptied_while_the_node_was_down_is_noticed_and_neither_a_new_one_nor_a_restart_is(
    tmp_path: Path,
) -> None:
    valkey = Valkey(tmp_path / "valkey")
    node = Node(tmp_path / "n1", redis=valkey.url, node__roles=["api"])
    with running(valkey):
        for _ in range(2):  # a new store, and the same one again
            with running(node):
                until(lambda: node.call("GET", "/readyz")[0] == 200)
        assert "emptied" not in node.errors()
        valkey.ask("FLUSHALL")
        with running(node):
            until(lambda: "emptied" in node.call("GET", "/readyz")[1].get("reason", ""))
            assert node.call("POST", "/v1/store/acknowledge")[0] == 200
            until(lambda: node.call("GET", "/readyz")[0] == 200)
