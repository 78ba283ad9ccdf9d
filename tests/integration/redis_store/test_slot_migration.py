"""A step whose keys are on their way to another node of a Cluster: the server looks at all of them before it runs."""

import contextlib
import pathlib
import time

import pytest

from mta.model.errors import StoreAway
from mta.model.settings import RedisSettings
from mta.ports.queueing import Settled
from mta.redis_store.checker import Checker
from mta.redis_store.cluster_settings import ClusterSettings
from mta.redis_store.keys import lane_key
from mta.redis_store.link import Link
from tests.support.stores import Store, ended, message
from tests.support.valkey import SAFE, Valkey


def told(server: Valkey, *words: str) -> str:
    """Its answer: one line, or a bulk string."""
    return server.ask(*words).decode().splitlines()[-1].lstrip(":+")


def until(server: Valkey, what: str) -> None:
    deadline = time.monotonic() + 10
    while what.encode() not in server.ask("CLUSTER", "NODES"):
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.fixture
def pair(tmp_path: pathlib.Path):
    """A node with all slots, and one without any."""
    with contextlib.ExitStack() as stack:
        full = Valkey(tmp_path / "full", cluster=True)
        empty = Valkey(tmp_path / "empty", options=(*SAFE, "--cluster-enabled", "yes"))
        for server in (full, empty):
            stack.callback(server.start().stop)
        full.ask("CLUSTER", "MEET", "127.0.0.1", str(empty.port))
        until(full, told(empty, "CLUSTER", "MYID"))
        until(empty, told(full, "CLUSTER", "MYID"))
        yield full, empty


async def test_a_step_does_nothing_while_some_of_its_keys_are_elsewhere(pair):
    full, empty = pair
    link = Link(full.url, RedisSettings(timeout=1.0))
    try:
        await link.open()
        cluster = ClusterSettings(link)
        await cluster.open(5.0)
        store = Store(link, "n1", cluster)
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
        report = await Checker(link, store.lanes).report()
        assert report.balanced
        assert not report.broken
    finally:
        await link.close()
