import asyncio
import itertools

from tests.support.stores import DOMAIN, POOL


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
    assert await two.limits.hold_slots(POOL, DOMAIN, 2, 5, 3) == 3, "what is in use cannot be taken away"


async def test_instants_are_given_once_and_at_most_a_second_ahead(open_store):
    one, two = await open_store("n1"), await open_store("n2")
    answers = await asyncio.gather(
        *(s.limits.take_tokens(POOL, DOMAIN, "messages", 100.0, 4) for s in (one, two, one, two))
    )
    instants = sorted(first + i * 100.0 for _, first, many in answers for i in range(many))
    assert len(instants) <= 12
    assert all(later - earlier >= 99.9 for earlier, later in itertools.pairwise(instants))
    assert instants[-1] <= max(now for now, _, _ in answers) + 1100
