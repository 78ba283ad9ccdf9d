"""Limit orders on a real store."""

from collections.abc import Callable

from mta.model.limit_orders import LimitOrder
from mta.redis_store.limit_orders import StoredLimitOrders
from tests.support.stores import Store

ORDER = LimitOrder(site="big", connections=2, since=5, by="me")
LATER = LimitOrder(site="big", connections=2, since=9, by="you")


async def test_of_two_processes_that_give_the_same_order_one_makes_it(open_store: Callable[..., Store]) -> None:
    store = await open_store()
    one, two = StoredLimitOrders(store.link), StoredLimitOrders(store.link)
    assert await one.orders(b"0|") is None
    made = [await table.edit(ORDER.id, lambda was: None if was else ORDER) for table in (one, two)]
    assert made == [ORDER, None]
    found = await two.orders()
    assert found is not None
    assert found.orders == {ORDER.id: ORDER}
    assert await one.orders(found.version) is None
    assert await two.edit(ORDER.id, lambda was: LATER) == LATER
    assert not await one.remove(ORDER), "it is another one by now"
    assert await one.remove(LATER)
    after = await one.orders(found.version)
    assert after is not None
    assert after.orders == {}
