"""A stopped worker holds no order up for longer than S + 0.5 s, and delivers nothing that matches when it goes on."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.scenarios.s09_two_nodes.conftest import STALENESS
from tests.support.canaries import figures, flight_on
from tests.support.node import Node, until
from tests.support.orders import assert_accounted, seconds
from tests.support.sink import HOLD


def freeze(node: Node, worker: int) -> None:
    """Its supervisor, too, which would replace a worker that stands still for longer than the lease."""
    for pid in (node.process.pid, worker):
        os.kill(pid, signal.SIGSTOP)


def thaw(node: Node, worker: int) -> None:
    for pid in (worker, node.process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


class Frozen:
    """One worker that holds mail of the tag between DATA and dot, and mail of others, and is stopped then."""

    def __init__(self, pair: Any, tag: str) -> None:
        self.pair = pair
        self.tag = tag
        self.others: list[str] = []
        pair.matchers()
        pair.sink.script("DATA", HOLD)
        pair.nodes[0].send(f"{tag}@{tag}.test", (tag,))
        (self.name,) = until(pair.holders)
        self.session = pair.sessions()[self.name]["session"]
        self.pid = int(self.name.rpartition("/")[2])
        self.home = next(node for node in pair.nodes if self.name.startswith(node.name + "/"))
        until(self._has_neighbours)
        until(lambda: sum(s.held for s in list(pair.sink.sink._sessions)) == len(self.others) + 1)
        freeze(self.home, self.pid)
        pair.sink.script("DATA", None)

    def _has_neighbours(self) -> bool:
        name = f"o{len(self.others)}@{self.tag}-o{len(self.others)}.test"
        self.others.append(name)
        self.home.send(name, (f"{self.tag}-other",))  # what a worker accepts it delivers
        until(lambda: sum(self.pair.holders().values()) == len(self.others) + 1)
        return bool(self.pair.claims(self.session) >= 3)

    def order(self) -> dict[str, Any]:
        """A rule that the frozen worker cannot confirm, once it is effective all the same."""
        node = next(node for node in self.pair.nodes if not self.name.startswith(node.name + "/"))
        everyone = self.pair.delivering()
        asked = time.time()
        status, rule = node.call("POST", "/v1/errors?wait=0s", {"code": 554, "tag": self.tag})
        assert (status, rule["effective"], rule["past_dot"]) == (202, False, [])
        assert self.name in rule["workers"]["unconfirmed"]
        assert asked + STALENESS + 0.4 <= seconds(rule["effective_by"]) <= time.time() + STALENESS + 0.6
        path = f"/v1/errors/{rule['id']}"
        later = until(lambda: (r := node.call("GET", path)[1])["effective"] and r)
        assert asked <= seconds(later["effective_at"]) <= seconds(rule["effective_by"])
        assert (later["past_dot"], later["workers"]["unconfirmed"]) == ([], [self.name])
        assert later["workers"]["confirmed"] == [name for name in everyone if name != self.name]
        return rule | later

    def go_on(self) -> None:
        thaw(self.home, self.pid)

    def assert_told(self, rule: dict[str, Any], *, taken_back: bool) -> dict[str, Any]:
        """Nothing of the tag arrived, everything else did, once; the accounts say so."""
        sink = self.pair.sink
        self.pair.waits(f"{self.tag}-other", queued=0, delivered=len(self.others))
        statement = self.pair.waits(self.tag, accepted=1, queued=0)
        assert (statement["delivered"], sum(statement["intercepted"].values())) == (0, 1)
        assert statement["uncertain"] == int(taken_back)
        until(lambda: self.pair.sessions().get(self.name, {}).get("lag") == 0)
        assert not [r for r in list(sink.sink.received) if f"{self.tag}@{self.tag}.test" in r.recipients]
        arrived = [r.recipients[0] for r in sink.sink.taken if r.recipients[0] in self.others]
        assert sorted(arrived) == sorted(self.others)
        account = self.pair.complete(rule)
        assert_accounted(account)
        assert (account["matched"], account["delivered"]["after"]) == (1, 0)
        return account


@pytest.fixture
def frozen(pair: Any, request: pytest.FixtureRequest) -> Iterator[Frozen]:
    one = Frozen(pair, request.node.name.partition("_that_")[2][:12].replace("_", "-").strip("-"))
    yield one
    one.go_on()
    pair.sink.release("354 go on")


def test_a_worker_that_is_frozen_is_named_by_the_canary(pair: Any, frozen: Frozen):
    flight = asyncio.run(flight_on(pair.nodes[0].ready["redis"], STALENESS))
    assert flight is not None
    assert (flight.unconfirmed, flight.seconds >= 1.0) == ((frozen.name,), True), flight
    assert frozen.name.startswith(frozen.home.name + "/"), "the name says which node"
    other = next(node for node in pair.nodes if node is not frozen.home)
    shown = figures(other.ready["api"])
    assert (shown["floodgate_canary_unconfirmed"], shown["floodgate_canary_effective_seconds"]) == (1, flight.seconds)
    pair.sink.release("354 go on")
    frozen.go_on()
    until(lambda: pair.sessions().get(frozen.name, {}).get("lag") == 0)
    healthy = asyncio.run(flight_on(pair.nodes[0].ready["redis"], STALENESS))
    assert healthy is not None
    assert healthy.unconfirmed == ()
    assert figures(other.ready["api"])["floodgate_canary_unconfirmed"] == 0
    pair.waits(f"{frozen.tag}-other", queued=0, delivered=len(frozen.others))
    pair.waits(frozen.tag, delivered=1)


def test_a_worker_that_goes_on_after_the_order_aborts_what_waited_for_its_dot(pair: Any, frozen: Frozen):
    rule = frozen.order()
    pair.sink.release("354 go on")
    frozen.go_on()
    account = frozen.assert_told(rule, taken_back=False)
    assert account["intercepted"]["before_dot"] == 1


def test_a_worker_that_slept_beyond_its_lease_finds_its_claims_taken_and_sends_none_again(pair: Any, frozen: Frozen):
    rule = frozen.order()
    pair.sink.release("354 go on")
    until(lambda: not pair.claims(frozen.session), what="the claims were not taken back")
    pair.waits(f"{frozen.tag}-other", queued=0, delivered=len(frozen.others))
    pair.waits(frozen.tag, queued=0)
    assert frozen.session not in {w["session"] for w in pair.sessions().values()}
    frozen.go_on()
    account = frozen.assert_told(rule, taken_back=True)
    assert account["intercepted"]["attempt"] + account["intercepted"]["queued"] == 1
    names = pair.delivering()
    assert frozen.name in names
    status, second = pair.nodes[0].call("POST", "/v1/errors?wait=50s", {"code": 554, "tag": frozen.tag + "-2"})
    assert (status, second["workers"]) == (201, {"confirmed": names, "unconfirmed": []})


def test_a_reply_that_is_read_after_the_claims_were_taken_back_turns_intercepted_into_delivered(pair: Any):
    pair.matchers()
    pair.sink.script(".", lambda _, recipient: HOLD if recipient == "a@late.test" else None)
    (id_,) = pair.nodes[0].send("a@late.test", ("late",))
    receipt = until(lambda: pair.sink.to("late.test"))[0]
    (name,) = until(pair.holders)
    session, pid = pair.sessions()[name]["session"], int(name.rpartition("/")[2])
    home = next(node for node in pair.nodes if name.startswith(node.name + "/"))
    freeze(home, pid)
    try:
        pair.sink.release("250 2.0.0 taken")
        node = next(node for node in pair.nodes if not name.startswith(node.name + "/"))
        status, rule = node.call("POST", "/v1/errors?wait=50s", {"code": 554, "tag": "late"})
        assert (status, rule["effective"], rule["workers"]["unconfirmed"]) == (201, True, [name])
        assert receipt.dot_at < seconds(rule["effective_at"])
        until(lambda: not pair.claims(session), what="the claim was not taken back")
        statement = pair.waits("late", queued=0, uncertain=1)
        assert (sum(statement["intercepted"].values()), statement["delivered"]) == (1, 0)
    finally:
        thaw(home, pid)
        pair.sink.script(".", None)
    statement = pair.waits("late", delivered=1, uncertain=0)
    assert (sum(statement["intercepted"].values()), statement["balanced"]) == (0, True)
    (line,) = until(lambda: [e for e in pair.log("LateOutcome") if e["recipient"] == "a@late.test"])
    assert (line["id"], line["code"], line["origin"]) == (f"{id_}.1", 250, "remote")
    account = pair.complete(rule)
    assert_accounted(account)
    assert (account["matched"], account["delivered"]["after"], account["uncertain"]) == (1, 1, 0)
    assert len(pair.sink.to("late.test")) == 1
