"""A message of a higher priority class, or of another tenant, leaves at once beside a deep queue of the same pool and
domain; judged by the destination, which would need far longer for the queue."""

import pathlib
import time
from collections.abc import Iterator

import pytest

from tests.support.deep_queue import fill
from tests.support.node import running, until
from tests.support.node_and_sink import NodeAndSink
from tests.support.recount import assert_balanced

DEEP = 25_000
DOT = 0.002  # seconds that the destination takes for a message, one after the other: the whole takes 100 s
MOST = 4000  # messages of the queue that may leave before a single one: those of 8 s


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeAndSink]:
    limits = {"domains": '{ "deep.test" = { connections = 20 } }'}
    place = NodeAndSink(tmp_path_factory.mktemp("shares"), **limits)
    place.sink.script(".", slow)
    with running(place):
        url = place.node.ready["redis"]
        fill(url, "deep.test", DEEP, "bulk")
        fill(url, "deep.test", DEEP, "big", tenant="big")
        until(lambda: len(place.taken("deep.test")) > 100, what="the queue does not drain")
        yield place


def slow(*_: object) -> None:
    time.sleep(DOT)


def left_before(place: NodeAndSink, name: str, **headers: str) -> int:
    """The messages that the destination takes from the client's first command to this one."""
    before = len(place.taken("deep.test"))
    place.node.send(f"{name}@deep.test", ("single",), **headers)

    def arrived() -> int | None:
        taken = (number for number, one in enumerate(place.taken("deep.test")) if f"{name}@deep.test" in one.recipients)
        return next(taken, None)

    return int(until(arrived, what=f"{name} does not arrive")) - before


@pytest.mark.parametrize(
    "headers",
    [{"X_MQ_Priority": "2"}, {"X_MQ_Tenant": "small"}, {"X_MQ_Tenant": "big", "X_MQ_Priority": "1"}],
    ids=["a priority of 2", "another tenant", "a priority of the same tenant"],
)
def test_a_single_message_leaves_beside_a_deep_queue(place: NodeAndSink, headers: dict[str, str]) -> None:
    left = []
    for number in range(8):
        left.append(left_before(place, f"single{number}{'-'.join(headers.values())}", **headers))
        time.sleep(0.05)
    before = len(place.taken("deep.test"))
    assert before < 2 * DEEP, "the queue was not deep"
    assert max(left) < MOST, left
    until(lambda: len(place.taken("deep.test")) > before + 50, what="the deep queue stands still")


def test_deep_shares_take_turns(place: NodeAndSink) -> None:
    """Of mail without a tenant and of a tenant's the same number leaves, while both wait."""
    seen = len(place.taken("deep.test"))
    before = {tag: place.node.statement(tag)["delivered"] for tag in ("bulk", "big")}  # the one was queued first
    until(lambda: len(place.taken("deep.test")) > seen + 2000, what="the queue does not drain")
    answer = place.call("GET", "/v1/queues?domain=deep.test")
    [queue] = answer["queues"]
    bulk, big = place.node.statement("bulk"), place.node.statement("big")
    lately = [bulk["delivered"] - before["bulk"], big["delivered"] - before["big"]]
    assert max(lately) - min(lately) < 0.2 * sum(lately), lately
    assert queue["due"] + queue["claimed"] <= bulk["queued"] + big["queued"] + 5000, (queue, bulk, big)


def test_an_order_meets_every_share_of_the_queue(place: NodeAndSink, tmp_path: pathlib.Path) -> None:
    """Last: it empties the queue."""
    rule = place.order("swept", domain="deep.test")
    done = place.complete(rule)
    assert done["queued"] == 0, done
    for tag in ("bulk", "big", "single"):
        place.rests(tag, queued=0)
    place.lift(rule)
    assert_balanced(place.node.ready["redis"])
