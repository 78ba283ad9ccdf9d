"""The depth of pools: measured beside requests, used for a while, in a bounded set of labels."""

import asyncio

from control_api.pool_depths import MOST, OTHERS, PERIOD, MeasuredDepths, named
from mta.model.errors import StoreAway
from mta.ports.books import PoolDepth


class Store:
    def __init__(self) -> None:
        self.now = 0.0
        self.takes = 0.0
        self.reads = 0
        self.away = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def read(self) -> dict[str, PoolDepth]:
        self.reads += 1
        await self.gate.wait()
        self.now += self.takes
        if self.away:
            raise StoreAway("no answer")
        return {"default": PoolDepth(due=self.reads)}


async def test_r9_scrapes_share_a_measurement_until_its_time_is_over():
    store = Store()
    depths = MeasuredDepths(store.read, lambda: store.now)
    for _ in range(5):
        said = await depths.latest()
        assert said is not None
        assert (said.depths["default"].due, store.reads) == (1, 1)
    store.now += PERIOD
    said = await depths.latest()
    assert said is not None
    assert said.depths["default"].due == 1, "the last one, while the next is made"
    assert said.age == PERIOD
    await asyncio.sleep(0)
    assert (await depths.latest()).depths["default"].due == 2  # type: ignore[union-attr]


async def test_r9_a_measurement_that_takes_long_is_used_for_as_long():
    store = Store()
    store.takes = 100.0
    depths = MeasuredDepths(store.read, lambda: store.now)
    await depths.latest()
    store.now += 99.0
    assert (await depths.latest()).age == 199.0  # type: ignore[union-attr]
    assert store.reads == 1
    store.now += 1.0
    await depths.latest()
    await asyncio.sleep(0)
    assert store.reads == 2
    await depths.stop()


async def test_r9_a_store_that_is_away_leaves_the_last_measurement_and_its_age():
    store = Store()
    store.away = True
    depths = MeasuredDepths(store.read, lambda: store.now)
    assert await depths.latest() is None
    store.away, store.now = False, PERIOD
    await depths.latest()
    store.away, store.now = True, 5 * PERIOD
    await depths.latest()
    await asyncio.sleep(0)
    assert (await depths.latest()).age == 4 * PERIOD  # type: ignore[union-attr]


async def test_r9_a_measurement_under_way_ends_with_the_process():
    store = Store()
    store.gate.clear()
    depths = MeasuredDepths(store.read, lambda: store.now)
    waiting = asyncio.create_task(depths.latest())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert store.reads == 1
    await depths.stop()
    assert await waiting is None


def test_r9_pools_of_the_settings_come_first_then_the_deepest():
    depths = {f"@192.0.2.{n}": PoolDepth(due=n, oldest=1000 - n) for n in range(1, 40)}
    depths["gold"] = PoolDepth(held=1)
    found = named(depths, ("gold", "default"))
    assert len(found) == MOST + 1
    assert next(iter(found)) == "gold"
    assert found["@192.0.2.39"].due == 39
    rest = sum(range(1, 40)) - sum(found[pool].due for pool in found if pool not in ("gold", OTHERS))
    assert (found[OTHERS].due, found[OTHERS].oldest) == (rest, 1000 - 20)
    assert named({}, ("gold",)) == {}
