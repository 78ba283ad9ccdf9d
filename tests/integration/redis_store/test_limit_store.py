import asyncio
import itertools

import pytest

from mta.redis_store.checker import Checker
from tests.support.stores import DOMAIN, POOL, message


async def test_slots_are_never_more_than_the_limit_in_all(open_store):
    one, two = await open_store("n1"), await open_store("n2")
    granted = await asyncio.gather(*(s.limits.hold_slots(POOL, DOMAIN, 5, 4, 0) for s in (one, two)))
    assert sum(granted) == 5
    assert await one.limits.hold_slots(POOL, DOMAIN, 5, granted[0], granted[0]) == granted[0], (
        "repeated, nothing changes"
    )
    assert await two.limits.hold_slots(POOL, DOMAIN, 5, 5, granted[1]) == granted[1]
    assert await one.limits.hold_slots(POOL, DOMAIN, 5, 1, 1) == 1
    assert await two.limits.hold_slots(POOL, DOMAIN, 5, 5, granted[1]) == 4
    await two.limits.forget(one.session.id)
    assert await two.limits.hold_slots(POOL, DOMAIN, 5, 9, 4) == 5
    assert await two.limits.hold_slots(POOL, DOMAIN, 2, 5, 3) == 3, "slots in use cannot be taken away"


async def test_instants_are_given_once_and_at_most_a_second_ahead(open_store):
    one, two = await open_store("n1"), await open_store("n2")
    answers = await asyncio.gather(
        *(s.limits.take_tokens(POOL, DOMAIN, "messages", 100.0, 4) for s in (one, two, one, two))
    )
    instants = sorted(first + i * 100.0 for _, first, many in answers for i in range(many))
    assert len(instants) <= 12
    assert all(later - earlier >= 99.9 for earlier, later in itertools.pairwise(instants))
    assert instants[-1] <= max(now for now, _, _ in answers) + 1100


@pytest.mark.parametrize(
    ("pool", "domain"),
    [("@2001:db8::1", DOMAIN), (POOL, "[IPv6:2001:db8::2]"), ("@2001:db8::1", "[IPv6:2001:db8::2]")],
)
async def test_k16_slots_of_a_dead_session_are_freed_whatever_the_names_hold(open_store, pool, domain):
    one, two = await open_store("n1"), await open_store("n2")
    assert await one.limits.hold_slots(pool, domain, 2, 2, 2) == 2
    assert await two.limits.hold_slots(pool, domain, 2, 1, 0) == 0
    assert await two.limits.holders() == {one.session.id}
    await two.limits.forget(one.session.id)
    assert await two.limits.holders() == set()
    assert await two.limits.hold_slots(pool, domain, 2, 1, 0) == 1


async def test_k16_the_checker_finds_the_agenda_of_such_a_queue(open_store):
    store = await open_store()
    batch = [
        message(pool=pool, to=(f"a@{domain}",))
        for pool in ("@2001:db8::1", POOL)
        for domain in (DOMAIN, "[IPv6:2001:db8::2]")
    ]
    await store.queues.accept(0, batch)
    report = await Checker(store.link, store.lanes).report()
    assert report.broken == []
    assert report.recounted[""]["queued"] == 4
