import asyncio
import itertools

from tests.support.stores import DOMAIN, POOL


async def test_slots_are_never_more_than_the_limit_in_all(open_store):
    one, two = await open_store("n1"), await open_store("n2")
    granted = await asyncio.gather(*(s.limits.take_slots(POOL, DOMAIN, 5, 2) for s in (one, two, one, two)))
    assert sum(granted) == 5
    await one.limits.give_slots(POOL, DOMAIN, 1)
    assert await two.limits.take_slots(POOL, DOMAIN, 5, 3) == 1
    assert await two.limits.take_slots(POOL, DOMAIN, 5, 3) == 0
    await two.limits.forget(one.session.id)
    assert await two.limits.take_slots(POOL, DOMAIN, 5, 5) > 0


async def test_instants_are_given_once_and_at_most_a_second_ahead(open_store):
    one, two = await open_store("n1"), await open_store("n2")
    answers = await asyncio.gather(
        *(s.limits.take_tokens(POOL, DOMAIN, "messages", 100.0, 4) for s in (one, two, one, two))
    )
    instants = sorted(first + i * 100.0 for _, first, many in answers for i in range(many))
    assert len(instants) <= 12
    assert all(later - earlier >= 99.9 for earlier, later in itertools.pairwise(instants))
    assert instants[-1] <= max(now for now, _, _ in answers) + 1100
