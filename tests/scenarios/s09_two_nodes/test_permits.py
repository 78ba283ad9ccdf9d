"""Without a fresh rule table nothing begins and no dot goes out; a process known to be dead is not waited for."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from tests.scenarios.s09_two_nodes.conftest import STALENESS
from tests.support.node import Node, running, until
from tests.support.orders import seconds
from tests.support.recount import assert_balanced
from tests.support.sink import HOLD
from tests.support.sink_thread import SinkThread


def test_while_the_store_does_not_answer_no_dot_goes_out_and_nothing_begins(pair: Any):
    sink = pair.sink
    pair.matchers()
    sink.script("DATA", HOLD)
    pair.nodes[0].send("held@permit.test", ("permit",))
    until(lambda: any(session.held for session in list(sink.sink._sessions)))
    pair.nodes[0].send(["w1@permit.test", "w2@permit.test"], ("permit",))
    sink.script("DATA", None)
    pair.valkey.stop(signal.SIGSTOP)
    try:
        frozen = time.monotonic()
        until(
            lambda: time.monotonic() > frozen + STALENESS + 0.7
        )  # by now every permit has run out, and the sink has read all
        begun = len(sink.begun_to("permit.test"))
        assert sink.release("354 go on") >= 1
        before = [r.dot_at for r in sink.to("permit.test")]
        until(lambda: time.monotonic() > frozen + STALENESS + 1.7)
        assert [r.dot_at for r in sink.to("permit.test")] == before
        assert len(sink.begun_to("permit.test")) == begun
    finally:
        pair.valkey.stop(signal.SIGCONT)
    pair.waits("permit", queued=0, delivered=3)
    arrived = sorted(r.recipients[0] for r in sink.to("permit.test"))
    assert arrived == ["held@permit.test", "w1@permit.test", "w2@permit.test"]


def test_an_order_does_not_wait_for_a_worker_whose_process_was_reaped(tmp_path: Path):
    sink = SinkThread().start()
    node = Node(
        tmp_path / "n1", delivery__route=sink.address, rules__max_staleness="20s", delivery__lease="40s", api__wait="5s"
    )
    try:
        with running(node):
            frozen, other = [w for w in node.call("GET", "/v1/workers")[1]["workers"] if "delivery" in w["roles"]]
            os.kill(frozen["pid"], signal.SIGSTOP)
            status, rule = node.call("POST", "/v1/errors?wait=4s", {"code": 554, "tag": "dead"})
            assert (status, rule["workers"]["unconfirmed"]) == (202, [frozen["name"]])
            effective_by = seconds(rule["effective_by"])
            assert effective_by > time.time() + 8.0
            os.kill(frozen["pid"], signal.SIGKILL)
            path = f"/v1/errors/{rule['id']}"
            rule = until(lambda: (r := node.call("GET", path)[1])["effective"] and r)
            assert seconds(rule["effective_at"]) < effective_by - 5.0
            assert rule["workers"]["unconfirmed"] == []
            assert other["name"] in rule["workers"]["confirmed"]
            until(lambda: len(now := node.workers()) == 2 and frozen["pid"] not in now)
            node.send(["a@dead.test", "b@dead.test"], ("dead",))
            until(lambda: sum(node.statement("dead")["intercepted"].values()) == 2)
            assert_balanced(node.ready["redis"])
        assert not sink.to("dead.test")
    finally:
        sink.stop()
