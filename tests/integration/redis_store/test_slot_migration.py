"""A step whose keys are on their way to another node of a Cluster: the server looks at all of them before it runs."""

import contextlib
import pathlib
from functools import partial

import pytest

from mta.model.errors import StoreAway
from mta.ports.queueing import Settled
from mta.redis_store.keys import lane_key
from tests.support.node import until
from tests.support.stores import ended, message
from tests.support.valkey import SAFE, Valkey


def told(server: Valkey, *words: str) -> str:
    """Its answer: one line, or a bulk string."""
    return server.ask(*words).decode().splitlines()[-1].lstrip(":+")


def knows(server: Valkey, other: str) -> bool:
    return other.encode() in server.ask("CLUSTER", "NODES")


@pytest.fixture
def pair(tmp_path: pathlib.Path):
    """A node with all slots, and one without any."""
    with contextlib.ExitStack() as stack:
        full = Valkey(tmp_path / "full", cluster=True)
        empty = Valkey(tmp_path / "empty", options=(*SAFE, "--cluster-enabled", "yes"))
        for server in (full, empty):
            stack.callback(server.start().stop)
        full.ask("CLUSTER", "MEET", "127.0.0.1", str(empty.port))
        for one, other in ((full, empty), (empty, full)):
            until(partial(knows, one, told(other, "CLUSTER", "MYID")))
        yield full, empty


@pytest.fixture
def server(pair):
    """The store is on the first."""
    return pair[0]


async def test_a_step_does_nothing_while_some_of_its_keys_are_elsewhere(pair, open_store):
    full, empty = pair
    store = await open_store(timeout=1.0)
    await store.queues.accept(0, [message(), message()])
    claimed = await store.claim(0)
    books = await store.books.total()
    slot = told(full, "CLUSTER", "KEYSLOT", lane_key(0, b"lane").decode())
    full.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", told(empty, "CLUSTER", "MYID"))
    with pytest.raises(StoreAway):  # `cancels` and others are not there: they may be at the other node already
        await store.queues.settle(0, [ended(c) for c in claimed])
    with pytest.raises(StoreAway):
        await store.claim(0)
    with pytest.raises(StoreAway):
        await store.queues.accept(0, [message()])
    full.ask("CLUSTER", "SETSLOT", slot, "STABLE")
    assert await store.books.total() == books
    assert await store.queues.settle(0, [ended(c) for c in claimed]) == [Settled.OK] * 2
