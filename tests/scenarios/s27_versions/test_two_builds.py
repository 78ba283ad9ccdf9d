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

SETS: dict[str, Any] = {"rules__max_staleness": "1s", "delivery__lease": "5s", "delivery__retries": ["1h"]}
PROCESSES = 3  # of a node that match rules: two workers, a sweeper


class House:
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
        status, answer = node.call("POST", "/v1/errors?wait=10s", {"code": 554, "extended": "5.7.1"} | body)
        assert status == 201, answer
        return answer


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("s27")
    valkey, sink = Valkey(folder / "valkey"), SinkThread()
    with running(valkey, sink):
        old, new = (
            Node(folder / name, name, valkey.url, delivery__route=sink.address, **SETS) for name in ("old", "new")
        )
        new.build = other_build.make(folder / "build")
        with running(old, new):
            yield House(valkey, sink, old, new)
            assert_balanced(valkey.url)


def test_k15_two_builds_deliver_side_by_side(house: House):
    libraries = house.libraries()
    assert library.NAME.encode() in libraries
    assert len(libraries) == 2
    until(lambda: len(house.processes(house.old)) == len(house.processes(house.new)) == PROCESSES)
    named = {node.name: {one["library"] for one in house.processes(node)} for node in (house.old, house.new)}
    assert named["old"] == {library.NAME}
    assert named["new"].isdisjoint(named["old"])
    assert {name.encode() for names in named.values() for name in names} == libraries
    for turn, hit in enumerate((house.old, house.new)):
        sent = [f"{node.name}{turn}-{n}@side.test" for node in (house.old, house.new) for n in range(20)]
        house.old.send(sent[:20], tags=("side",))
        house.new.send(sent[20:], tags=("side",))
        until(lambda sent=sent: house.reached(*sent))
        until(lambda: house.new.statement("side")["queued"] == 0)
        victim = next(one["pid"] for one in house.processes(hit) if "delivery" in one["roles"])
        os.kill(victim, signal.SIGKILL)  # its successor loads its library, and replaces none
        until(lambda hit=hit, victim=victim: victim not in (now := house.pids(hit)) and len(now) == PROCESSES)
        assert house.libraries() == libraries
    assert len([message for message in house.sink.sink.received if message.taken]) == 80
    for node in (house.old, house.new):
        statement = until(lambda node=node: (s := node.statement("side"))["queued"] == 0 and s)
        assert (statement["accepted"], statement["delivered"], statement["balanced"]) == (80, 80, True)


@pytest.mark.parametrize("giver", ["old", "new"])
def test_k15_an_order_given_to_either_build_stops_both(house: House, giver: str):
    tag = f"stop-{giver}"
    until(lambda: len(house.processes(house.old)) == len(house.processes(house.new)) == PROCESSES)
    rule = house.order(getattr(house, giver), tag=tag)
    assert rule["effective"], rule
    assert rule["workers"]["unconfirmed"] == []
    for node in (house.old, house.new):
        node.send(f"{node.name}@{giver}.test", tags=(tag,))
    until(lambda: house.old.statement(tag)["intercepted"]["door"] == 2)
    assert not any(house.reached(f"{name}@{giver}.test") for name in ("old", "new"))
    assert getattr(house, giver).call("DELETE", f"/v1/errors/{rule['id']}?wait=10s")[0] == 200


def test_k15_a_rule_of_a_newer_format_is_refused_while_an_older_process_lives(house: House):
    until(lambda: len(house.processes(house.old)) == PROCESSES)
    status, answer = house.new.call("POST", "/v1/errors", {"code": 554, "tag": "any", "colour": "blue"})
    assert (status, answer["error"]["type"]) == (409, "conflict")
    for process in house.processes(house.old):
        assert process["name"] in answer["error"]["message"]
    for process in house.processes(house.new):
        assert process["name"] not in answer["error"]["message"]
    assert house.new.call("GET", "/v1/errors?enabled=all") == (200, [])
    assert house.old.call("POST", "/v1/errors", {"code": 554, "tag": "any", "colour": "blue"})[0] == 400


def test_k15_a_process_that_cannot_read_a_rule_delivers_nothing_and_says_why(house: House):
    old = house.old
    old.stop()
    rule = house.order(house.new, tag="any", colour="blue")
    assert rule["effective"]
    with ThreadPoolExecutor(1) as thread:
        starting = thread.submit(old.start)
        try:
            blind = until(lambda: len(found := house.processes(old)) == PROCESSES and found)
            assert {one["generation"] for one in blind} == {0}
            for one in blind:
                assert rule["id"] in one["unreadable"]
                assert "unknown field `colour`" in one["unreadable"]
            assert {one["unreadable"] for one in house.processes(house.new)} == {None}
            another = house.order(house.new, tag="another")
            assert another["effective"]
            assert set(another["workers"]["unconfirmed"]) == {one["name"] for one in blind}
            assert any(blind[0]["name"] in words and rule["id"] in words for words in another["warnings"])
            house.new.send("through@new.test")
            until(lambda: house.reached("through@new.test"))
            assert not starting.done(), "a node that may deliver nothing is not ready"
            until(lambda: rule["id"] in old.errors())
            assert old.errors().count("confirms no rules and delivers nothing") == 1, "said once for the node"
        finally:
            assert house.new.call("DELETE", f"/v1/errors/{rule['id']}?wait=10s")[0] == 200
            starting.result()
    assert len(house.processes(old)) == PROCESSES
    old.send("again@old.test")
    until(lambda: house.reached("again@old.test"))
