"""The pools of the cluster on a real store."""

from collections.abc import Callable

from mta.model.pools import SharedPool
from mta.redis_store.pool_store import StoredPools
from tests.support.stores import Store

ONE, TWO = SharedPool(ips=("192.0.2.1",), weights={"192.0.2.1": 2}), SharedPool(description="two")


async def test_of_two_changes_that_saw_the_same_pools_one_is_made(open_store: Callable[..., Store]) -> None:
    store = await open_store()
    table = StoredPools(store.link)
    nothing = await table.shared()
    assert (nothing.number, nothing.pools) == (0, {})
    assert await table.changed(nothing.version) is None
    assert await table.put("version", ONE, nothing.version), "a pool may have any name"
    assert not await table.put("b", TWO, nothing.version)
    found = await table.changed(nothing.version)
    assert found is not None
    assert (found.number, found.pools) == (1, {"version": ONE})
    assert await table.put("b", TWO, found.version)
    both = await table.shared()
    assert await table.put("version", None, both.version)
    assert (await table.shared()).pools == {"b": TWO}
