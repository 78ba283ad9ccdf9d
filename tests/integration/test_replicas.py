"""A replicated store: a write that only a master has, which its replicas do not follow any more, is no confirmation."""

import signal

import pytest

from mta.model.errors import StoreAway
from mta.model.rules import Rule, Selectors
from mta.model.settings import RedisSettings
from mta.redis_store.cluster_settings import ClusterSettings
from mta.redis_store.link import Link
from tests.support.node import until
from tests.support.stores import Store
from tests.support.valkey import SAFE, Valkey


@pytest.fixture
def replicated(tmp_path):
    # Of its own accord this master would go on without its replica for a minute.
    wants = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "60", "--repl-diskless-sync-delay", "0")
    master = Valkey(tmp_path / "master", options=(*SAFE, *wants)).start()
    replica = Valkey(tmp_path / "replica").start()
    replica.ask("REPLICAOF", "127.0.0.1", str(master.port))
    until(lambda: b"state=online" in master.ask("INFO", "replication"))
    until(lambda: b"master_link_status:up" in replica.ask("INFO", "replication"))
    yield master, replica
    for server in (replica, master):
        server.stop()


async def test_a_master_that_lost_its_replicas_confirms_nothing(replicated):
    master, replica = replicated
    link = Link(master.url, RedisSettings(timeout=3.0))
    try:
        await link.open()
        cluster = ClusterSettings(link)
        await cluster.open(5.0, 4)
        store = Store(link, "n1", cluster)
        put, _ = await store.rules.put(Rule("r", Selectors(tag="a"), 554), "c1")
        assert (await store.rules.confirm(1, put.head, (), {})).ok
        replica.stop(signal.SIGSTOP)
        with pytest.raises(StoreAway):
            await store.rules.confirm(2, put.head, (), {})
        with pytest.raises(StoreAway):
            await store.rules.put(Rule("s", Selectors(tag="b"), 554), "c2")
    finally:
        replica.stop(signal.SIGCONT)
        await link.close()
