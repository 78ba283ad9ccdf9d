import asyncio
from bisect import bisect_left

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.model.errors import StoreAway
from mta.model.settings import DomainSettings
from mta.policy.shaping import Shaping
from mta.scheduling.limits import SharedLimits, _Rate
from tests.support.scheduling import QUEUE, SETTINGS, until


class Slots:
    """The slots of one queue, shared by the stores of several processes."""

    def __init__(self):
        self.held = {}


class Store:
    def __init__(self, now=lambda: 0.0, slots=None):
        self.now, self.next, self.calls = now, 0.0, 0
        self.slots = slots or Slots()
        self.lose_answer = False

    @property
    def out(self):
        return sum(self.slots.held.values())

    async def hold_slots(self, pool, domain, limit, wanted, least):
        self.calls += 1
        await asyncio.sleep(0)
        others = self.out - self.slots.held.get(self, 0)
        self.slots.held[self] = max(least, min(wanted, limit - others))
        if self.lose_answer:
            self.lose_answer = False
            raise StoreAway("the answer was lost")
        return self.slots.held[self]

    async def take_tokens(self, pool, domain, kind, interval_ms, most):
        self.calls += 1
        now = self.now() * 1000
        first = max(now, self.next)
        if first > now + 1000:
            return int(now), first, 0
        self.next = first + most * interval_ms
        return now, first, most


def limited(**limits):
    return Shaping(msgspec.structs.replace(SETTINGS, domains={QUEUE.domain: DomainSettings(**limits)}))


async def test_no_limit_costs_no_call():
    store = Store()
    limits = SharedLimits(store, Shaping(SETTINGS))
    assert (await limits.take_connection(QUEUE), limits.take_message(QUEUE), store.calls) == (0.0, 0.0, 0)


async def test_slots_are_never_exceeded_and_come_back():
    slots = Slots()
    one, two = (SharedLimits(Store(slots=slots), limited(connections=20)) for _ in range(2))
    got = await asyncio.gather(*(limits.take_connection(QUEUE) for limits in (one, two) for _ in range(30)))
    assert got.count(0.0) == 20
    for limits, results in ((one, got[:30]), (two, got[30:])):
        for _ in range(results.count(0.0)):
            limits.give_connection(QUEUE)
        await limits.drain()
    assert not sum(slots.held.values())


async def test_an_answer_that_was_lost_costs_no_slot():
    store = Store()
    limits = SharedLimits(store, limited(connections=2))
    store.lose_answer = True
    with pytest.raises(StoreAway):
        await limits.take_connection(QUEUE)
    assert [await limits.take_connection(QUEUE) for _ in range(3)].count(0.0) == 2
    limits.give_connection(QUEUE)
    store.lose_answer = True
    await limits.drain()
    assert await limits.take_connection(QUEUE) == 0.0
    assert store.out == 2


async def test_who_gives_up_asking_does_not_keep_the_slot():
    store = Store()
    limits = SharedLimits(store, limited(connections=1))
    asking = asyncio.ensure_future(limits.take_connection(QUEUE))
    await asyncio.sleep(0)
    asking.cancel()
    await until(lambda: store.out == 1)
    assert await limits.take_connection(QUEUE) == 0.0


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([1, 7, 60, 600, 3000]), st.lists(st.floats(0.02, 0.4), min_size=3, max_size=10))
def test_no_sliding_minute_sees_more_than_the_limit(per_minute, pauses):
    async def run():
        clock = [0.0]
        store = Store(lambda: clock[0])
        rates = [_Rate(store, QUEUE, "messages", lambda: clock[0]) for _ in range(2)]
        used, turn = [], 0
        while clock[0] < 150 and len(used) < 3 * per_minute:
            for rate in rates:
                while rate.take(per_minute) == 0.0:
                    used.append(clock[0])
            await asyncio.sleep(0)
            turn += 1
            clock[0] += pauses[turn % len(pauses)] / (1 if per_minute < 600 else 20)
        return used

    used = asyncio.run(run())
    assert used
    for begin, at in enumerate(used):
        assert bisect_left(used, at + 60.0) - begin <= per_minute


async def test_without_the_store_no_connection_is_ours():
    class Away(Store):
        async def hold_slots(self, pool, domain, limit, wanted, least):
            raise StoreAway("away")

    with pytest.raises(StoreAway):
        await SharedLimits(Away(), limited(connections=1)).take_connection(QUEUE)
