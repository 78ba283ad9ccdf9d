"""Nodes of two builds on one store: both deliver, one order stops both, and no rule is read by halves."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mta.redis_store import library
from tests.support import other_build
from tests.support.node import Node, running, until
from tests.support.recount import assert_balanced
from tests.support.sink_thread import SinkThread
from tests.support.valkey import Valkey

SETS: dict[str, Any] = {"rules__max_staleness": "2s", "delivery__lease": "5s", "delivery__retries": ["1h"]}
PROCESSES = 3  # of a node that match rules: two workers, a sweeper


class TwoBuilds:
    def __init__(self, valkey: Valkey, sink: SinkThread, old: Node, new: Node) -> None:
        self.valkey = valkey
        self.sink = sink
        self.old = old
        self.new = new

    def processes(self, node: Node) -> list[dict[str, Any]]:
        """Those that live, as the newer node tells of them."""
        found = self.new.call("GET", "/v1/workers")[1]["workers"]
        return [process for process in found if process["node"] == node.name and not process["dead"]]

    def pids(self, node: Node) -> set[int]:
        return {process["pid"] for process in self.processes(node)}

    def libraries(self) -> set[bytes]:
        answer = self.valkey.ask("FUNCTION", "LIST").split(b"\r\n")
        return {line for line in answer if line.startswith(b"fg_") and b"_" not in line[3:]}

    def reached(self, *recipients: str) -> bool:
        got = {to for message in list(self.sink.sink.received) if message.taken for to in message.recipients}
        return set(recipients) <= got

    def order(self, node: Node, **body: Any) -> dict[str, Any]:
        status, answer = node.call("POST", "/v1/errors?wait=50s", {"code": 554, "extended": "5.7.1"} | body)
        assert status == 201, answer
        return answer


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoBuilds]:
    folder = tmp_path_factory.mktemp("s27")
    valkey, sink = Valkey(folder / "valkey"), SinkThread()
    with running(valkey, sink):
        old, new = (
            Node(folder / name, name, valkey.url, delivery__route=sink.address, **SETS) for name in ("old", "new")
        )
        new.build = other_build.make(folder / "build")
        with running(old, new):
            yield TwoBuilds(valkey, sink, old, new)
            assert_balanced(valkey.url)


def test_k15_two_builds_deliver_side_by_side(place: TwoBuilds):
    libraries = place.libraries()
    assert library.NAME.encode() in libraries
    assert len(libraries) == 2
    until(lambda: len(place.processes(place.old)) == len(place.processes(place.new)) == PROCESSES)
    named = {node.name: {one["library"] for one in place.processes(node)} for node in (place.old, place.new)}
    assert named["old"] == {library.NAME}
    assert named["new"].isdisjoint(named["old"])
    assert {name.encode() for names in named.values() for name in names} == libraries
    for turn, hit in enumerate((place.old, place.new)):
        sent = [f"{node.name}{turn}-{n}@side.test" for node in (place.old, place.new) for n in range(20)]
        place.old.send(sent[:20], tags=("side",))
        place.new.send(sent[20:], tags=("side",))
        until(lambda sent=sent: place.reached(*sent))
        until(lambda: place.new.statement("side")["queued"] == 0)
        victim = next(one["pid"] for one in place.processes(hit) if "delivery" in one["roles"])
        os.kill(victim, signal.SIGKILL)  # its successor loads its library, and replaces none
        until(lambda hit=hit, victim=victim: victim not in (now := place.pids(hit)) and len(now) == PROCESSES)
        assert place.libraries() == libraries
    assert len([message for message in place.sink.sink.received if message.taken]) == 80
    for node in (place.old, place.new):
        statement = until(lambda node=node: (s := node.statement("side"))["queued"] == 0 and s)
        assert (statement["accepted"], statement["delivered"], statement["balanced"]) == (80, 80, True)


@pytest.mark.parametrize("giver", ["old", "new"])
def test_k15_an_order_given_to_either_build_stops_both(place: TwoBuilds, giver: str):
    tag = f"stop-{giver}"
    until(lambda: len(place.processes(place.old)) == len(place.processes(place.new)) == PROCESSES)
    rule = place.order(getattr(place, giver), tag=tag)
    assert rule["effective"], rule
    assert rule["workers"]["unconfirmed"] == []
    for node in (place.old, place.new):
        node.send(f"{node.name}@{giver}.test", tags=(tag,))
    until(lambda: place.old.statement(tag)["intercepted"]["door"] == 2)
    assert not any(place.reached(f"{name}@{giver}.test") for name in ("old", "new"))
    assert getattr(place, giver).call("DELETE", f"/v1/errors/{rule['id']}?wait=50s")[0] == 200


def test_k15_a_rule_of_a_newer_format_is_refused_while_an_older_process_lives(place: TwoBuilds):
    until(lambda: len(place.processes(place.old)) == PROCESSES)
    status, answer = place.new.call("POST", "/v1/errors", {"code": 554, "tag": "any", "colour": "blue"})
    assert (status, answer["error"]["type"]) == (409, "conflict")
    for process in place.processes(place.old):
        assert process["name"] in answer["error"]["message"]
    for process in place.processes(place.new):
        assert process["name"] not in answer["error"]["message"]
    assert place.new.call("GET", "/v1/errors?enabled=all") == (200, [])
    assert place.old.call("POST", "/v1/errors", {"code": 554, "tag": "any", "colour": "blue"})[0] == 400


def test_k15_a_process_that_cannot_read_a_rule_delivers_nothing_and_says_why(place: TwoBuilds):
    old = place.old
    old.stop()
    rule = place.order(place.new, tag="any", colour="blue")
    assert rule["effective"]
    with ThreadPoolExecutor(1) as thread:
        starting = thread.submit(old.start)
        try:
            blind = until(lambda: len(found := place.processes(old)) == PROCESSES and found)
            assert {one["generation"] for one in blind} == {0}
            for one in blind:
                assert rule["id"] in one["unreadable"]
                assert "unknown field `colour`" in one["unreadable"]
            assert {one["unreadable"] for one in place.processes(place.new)} == {None}
            another = place.order(place.new, tag="another")
            assert another["effective"]
            waited_for = {one["name"] for one in blind if "delivery" in one["roles"]}
            assert set(another["workers"]["unconfirmed"]) == waited_for
            assert any(min(waited_for) in words and rule["id"] in words for words in another["warnings"])
            place.new.send("through@new.test")
            until(lambda: place.reached("through@new.test"))
            assert not starting.done(), "a node that may deliver nothing is not ready"
            until(lambda: rule["id"] in old.errors())
            assert old.errors().count("confirms no rules and delivers nothing") == 1, "said once for the node"
        finally:
            assert place.new.call("DELETE", f"/v1/errors/{rule['id']}?wait=50s")[0] == 200
            starting.result()
    until(lambda: len(place.processes(old)) == PROCESSES)
    old.send("again@old.test")
    until(lambda: place.reached("again@old.test"))
