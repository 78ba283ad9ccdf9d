import asyncio
from bisect import bisect_left

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.model.destination_settings import DomainSettings, LimitSettings, SiteSettings
from mta.model.errors import StoreAway
from mta.model.limit_orders import LimitOrder
from mta.model.paths import SendingPath
from mta.policy.shaping import Shaping
from mta.ports.delivery import HeldSlots, TokensTaken
from mta.scheduling.limits import _POLL, SharedLimits, _Rate
from tests.support.scheduling import QUEUE, SETTINGS, until

PATH = SendingPath("big", QUEUE.domain, QUEUE.pool)
OTHER = SendingPath("big", "other.test", "other")


class Slots:
    """The slots of one site by scope and session, shared by the stores of several processes."""

    def __init__(self):
        self.held = {}


class Store:
    def __init__(self, now=lambda: 0.0, slots=None):
        self.now, self.next, self.calls = now, {}, 0
        self.slots = slots or Slots()
        self.lose_answer = False

    @property
    def out(self):
        return sum(sum(held.values()) for held in self.slots.held.values())

    async def hold_slots(self, site, wanted):
        self.calls += 1
        await asyncio.sleep(0)
        binds, granted, kept = None, [], []
        for number, (scope, limit, most, least) in enumerate(wanted):
            held = self.slots.held.setdefault(scope, {})
            others = sum(held.values()) - held.get(self, 0)
            granted.append(max(least, min(most, limit - others)))
            kept.append(max(least, min(most, held.get(self, 0))))
            if binds is None and most > least and granted[-1] == least:
                binds = number
        answer = granted if binds is None else kept
        for (scope, _, _, _), count in zip(wanted, answer, strict=True):
            self.slots.held[scope][self] = count
        if self.lose_answer:
            self.lose_answer = False
            raise StoreAway("the answer was lost")
        return HeldSlots(answer, binds)

    async def take_tokens(self, site, kind, scopes, most, ahead_ms):
        self.calls += 1
        now = self.now() * 1000
        first = max(now, *(self.next.get(scope, 0.0) for scope, _ in scopes))
        if first > now + ahead_ms:
            return TokensTaken(int(now), first, 0, 0)
        many = min(most, int((now + ahead_ms - first) / max(interval for _, interval in scopes)) + 1)
        for scope, interval in scopes:
            self.next[scope] = first + many * interval
        return TokensTaken(now, first, many, 0)


def taken(answers):
    """The shares among the answers; the others are seconds to wait."""
    return [answer for answer in answers if not isinstance(answer, float)]


def limited(**limits):
    return Shaping(msgspec.structs.replace(SETTINGS, sites={"big": SiteSettings(**limits)}))


async def test_no_limit_costs_no_call():
    store = Store()
    limits = SharedLimits(store, Shaping(SETTINGS))
    assert (await limits.take_connection(PATH), limits.take_message(PATH), store.calls) == (("big", ()), 0.0, 0)


async def test_slots_are_never_exceeded_and_come_back():
    slots = Slots()
    one, two = (SharedLimits(Store(slots=slots), limited(connections=20)) for _ in range(2))
    got = await asyncio.gather(*(limits.take_connection(PATH) for limits in (one, two) for _ in range(30)))
    assert len(taken(got)) == 20
    for limits, results in ((one, got[:30]), (two, got[30:])):
        for share in taken(results):
            limits.give_connection(share)
        await limits.drain()
    assert not any(sum(held.values()) for held in slots.held.values())


async def test_an_answer_that_was_lost_costs_no_slot():
    store = Store()
    limits = SharedLimits(store, limited(connections=2))
    store.lose_answer = True
    with pytest.raises(StoreAway):
        await limits.take_connection(PATH)
    first, second = taken([await limits.take_connection(PATH) for _ in range(3)])
    limits.give_connection(first)
    store.lose_answer = True
    await limits.drain()
    assert await limits.take_connection(PATH) == second
    assert store.out == 2


async def test_who_gives_up_asking_does_not_keep_the_slot():
    store = Store()
    limits = SharedLimits(store, limited(connections=1))
    asking = asyncio.ensure_future(limits.take_connection(PATH))
    await asyncio.sleep(0)
    asking.cancel()
    await until(lambda: store.out == 1)
    assert taken([await limits.take_connection(PATH)])


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from([1, 7, 60, 600, 3000]),
    st.lists(st.floats(0.02, 0.4), min_size=3, max_size=10),
    st.sampled_from([(), (("ip:192.0.2.1", 4000),)]),
)
def test_no_sliding_minute_sees_more_than_the_limit(per_minute, pauses, wider):
    async def run():
        clock = [0.0]
        store = Store(lambda: clock[0])
        rates = [_Rate(store, "big", "messages", (("site", per_minute), *wider), lambda: clock[0]) for _ in range(2)]
        used, turn = [], 0
        while clock[0] < 150 and len(used) < 3 * per_minute:
            for rate in rates:
                while rate.take() == 0.0:
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
        async def hold_slots(self, site, wanted):
            raise StoreAway("away")

    with pytest.raises(StoreAway):
        await SharedLimits(Away(), limited(connections=1)).take_connection(PATH)


async def test_a_slot_is_taken_in_each_scope_or_in_none():
    store = Store()
    shaping = Shaping(
        msgspec.structs.replace(
            SETTINGS,
            sites={"big": SiteSettings(connections=3, per_ip=LimitSettings(connections=2))},
            domains={QUEUE.domain: DomainSettings(connections=1)},
        )
    )
    limits = SharedLimits(store, shaping)
    one, two = (PATH._replace(ip=ip) for ip in ("192.0.2.1", "192.0.2.2"))
    three = OTHER._replace(ip="192.0.2.1")
    given = await limits.take_connection(one)
    assert given == ("big", ("site", f"domain:{QUEUE.pool}:{QUEUE.domain}", "ip:192.0.2.1"))
    assert await limits.take_connection(two) == _POLL, "the domain has one"
    assert taken([await limits.take_connection(three)])
    assert await limits.take_connection(three) == _POLL, "the IP has two"
    assert taken([await limits.take_connection(OTHER._replace(ip="192.0.2.2"))])
    assert await limits.take_connection(OTHER._replace(ip="192.0.2.3")) == _POLL, "the site has three"
    limits.give_connection(given)
    await limits.drain()
    held = {scope: sum(held.values()) for scope, held in store.slots.held.items() if any(held.values())}
    assert held == {"site": 2, "ip:192.0.2.1": 1, "ip:192.0.2.2": 1}


def order(**values):
    found = LimitOrder(site="big", **values)
    return {found.id: found}


async def test_a_limit_order_between_taking_and_giving_back_leaks_no_slot():
    store = Store()
    shaping = limited()
    limits = SharedLimits(store, shaping)
    free = await limits.take_connection(PATH)
    shaping.adopt(order(connections=1), 1)
    counted = await limits.take_connection(PATH)
    assert (free.scopes, counted.scopes) == ((), ("site",))
    assert await limits.take_connection(PATH) == _POLL
    shaping.adopt({}, 2)
    limits.give_connection(free)
    limits.give_connection(counted)
    await limits.drain()
    assert store.out == 0


async def test_a_lower_limit_holds_for_slots_that_are_spare_already():
    store = Store()
    shaping = limited(connections=32)
    limits = SharedLimits(store, shaping)
    first = await limits.take_connection(PATH)
    assert store.out == 4, "three are spare"
    shaping.adopt(order(connections=2), 1)
    second = await limits.take_connection(PATH)
    assert await limits.take_connection(PATH) == _POLL
    for share in (first, second):
        limits.give_connection(share)
    await limits.drain()
    assert store.out == 0


async def test_nothing_leaves_to_a_site_that_is_closed():
    store = Store()
    shaping = limited(connections=5)
    shaping.adopt(order(closed=True), 1)
    assert await SharedLimits(store, shaping).take_connection(PATH) > 0
    assert store.out == 0


async def test_a_connection_that_its_rate_forbids_keeps_no_slot():
    clock = [0.0]
    store = Store(lambda: clock[0])
    limits = SharedLimits(store, limited(connections=8, connections_per_minute=1), clock=lambda: clock[0])
    assert await limits.take_connection(PATH) == 0.01, "no token is here yet"
    await until(lambda: store.next)
    share = await limits.take_connection(PATH)
    assert share.scopes == ("site",)
    for _ in range(20):
        assert isinstance(await limits.take_connection(PATH), float)
    await limits.drain()
    assert store.out == 1
