"""The quota of a tenant on a real store."""

import asyncio
from collections.abc import Callable

from mta.model.quotas import HOUR_MS, Quota, QuotaUse
from mta.redis_store.quota_store import StoredQuotas
from tests.support.stores import Store

HOUR = 490_008  # the first of a day


async def test_a_quota_is_handed_out_once(open_store: Callable[..., Store]) -> None:
    quotas = StoredQuotas((await open_store()).link)
    both = Quota(100, 150)
    assert await quotas.take("acme", both, HOUR, 4, 500) == (10, HOUR, 0), "a sixteenth of those that are left"
    assert await quotas.take("acme", both, HOUR, 90, 500) == (90, HOUR, 0)
    assert await quotas.take("acme", both, HOUR, 1, 500) == (0, HOUR, (HOUR + 1) * HOUR_MS)
    await quotas.give_back("acme", HOUR, 5)
    assert await quotas.used("acme", HOUR) == QuotaUse(HOUR, 95, 95)
    assert await quotas.take("acme", both, HOUR, 9, 0) == (5, HOUR, (HOUR + 1) * HOUR_MS)
    assert await quotas.take("acme", both, HOUR + 1, 60, 0) == (50, HOUR + 1, (HOUR + 24) * HOUR_MS), "the day binds"
    assert await quotas.take("acme", both, HOUR, 1, 0) == (0, HOUR + 1, (HOUR + 24) * HOUR_MS), "an earlier clock"
    await quotas.give_back("acme", HOUR, 7)
    assert await quotas.used("acme", HOUR + 1) == QuotaUse(HOUR + 1, 50, 143), "of an earlier hour of the day"
    assert await quotas.used("acme", HOUR + 24) == QuotaUse(HOUR + 24, 0, 0)
    assert await quotas.take("acme", both, HOUR + 24, 3, 0) == (3, HOUR + 24, 0)
    await quotas.give_back("acme", HOUR + 1, 50)
    assert await quotas.used("acme", HOUR + 24) == QuotaUse(HOUR + 24, 3, 3), "yesterday's change nothing"
    await quotas.give_back("nobody", HOUR, 3)
    assert await quotas.used("nobody", HOUR) == QuotaUse(HOUR, 0, 0)


async def test_processes_side_by_side_never_get_more_than_the_quota(open_store: Callable[..., Store]) -> None:
    stores = [StoredQuotas((await open_store(f"n{n}")).link) for n in range(3)]
    taken = await asyncio.gather(*(stores[n % 3].take("acme", Quota(100), HOUR, 7, 5) for n in range(30)))
    assert sum(one.granted for one in taken) == 100
    assert (await stores[0].used("acme", HOUR)).in_hour == 100
