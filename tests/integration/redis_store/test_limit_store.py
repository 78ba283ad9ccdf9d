import asyncio
import itertools

import pytest

from mta.ports.delivery import SlotsWanted
from mta.ports.sites import SiteNote
from mta.redis_store import keys
from mta.redis_store.checker import Checker
from mta.redis_store.site_notes import StoredSiteNotes
from tests.support.stores import DOMAIN, POOL, message

SITE = "big"


async def hold(store, limit, wanted, least, site=SITE, scope="site"):
    found = await store.limits.hold_slots(site, [SlotsWanted(scope, limit, wanted, least)])
    return found.held[0]


async def test_slots_are_never_more_than_the_limit_in_all(open_store):
    one, two = await open_store("n1"), await open_store("n2")
    granted = await asyncio.gather(*(hold(store, 5, 4, 0) for store in (one, two)))
    assert sum(granted) == 5
    assert await hold(one, 5, granted[0], granted[0]) == granted[0], "repeated, nothing changes"
    assert await hold(two, 5, 5, granted[1]) == granted[1]
    assert await hold(one, 5, 1, 1) == 1
    assert await hold(two, 5, 5, granted[1]) == 4
    await two.limits.forget(one.session.id)
    assert await hold(two, 5, 9, 4) == 5
    assert await hold(two, 2, 5, 3) == 3, "slots in use cannot be taken away"


async def test_every_scope_gives_a_slot_or_none_does_and_the_one_that_binds_is_told(open_store):
    one, two = await open_store("n1"), await open_store("n2")

    async def ask(store, *wanted):
        return await store.limits.hold_slots(SITE, [SlotsWanted(*scope) for scope in wanted])

    assert await ask(one, ("site", 3, 2, 0), ("ip:192.0.2.1", 1, 1, 0)) == ([2, 1], None)
    assert await ask(two, ("site", 3, 2, 0), ("ip:192.0.2.1", 1, 1, 0)) == ([0, 0], 1)
    assert await ask(two, ("site", 3, 2, 0), ("ip:192.0.2.2", 1, 1, 0)) == ([1, 1], None)
    assert await ask(two, ("site", 3, 2, 1), ("ip:192.0.2.3", 1, 1, 0)) == ([1, 0], 0)
    assert await two.limits.holders() == {one.session.id, two.session.id}


async def test_instants_are_given_once_and_at_most_a_second_ahead(open_store):
    one, two = await open_store("n1"), await open_store("n2")
    answers = await asyncio.gather(
        *(s.limits.take_tokens(SITE, "messages", [("site", 100.0)], 4, 1000.0) for s in (one, two, one, two))
    )
    instants = sorted(answer.first + i * 100.0 for answer in answers for i in range(answer.many))
    seconds = (max(answer.now for answer in answers) - min(answer.now for answer in answers)) / 1000
    assert len(instants) <= 12 + 10 * seconds, "a second ahead, and those of the time in which they asked"
    assert all(later - earlier >= 99.9 for earlier, later in itertools.pairwise(instants))
    assert instants[-1] <= max(answer.now for answer in answers) + 1100


async def test_instants_of_several_scopes_are_given_together(open_store):
    store = await open_store("n1")
    scopes = [("site", 10.0), ("ip:192.0.2.1", 20_000.0)]
    first = await store.limits.take_tokens(SITE, "messages", scopes, 4, 5.0)
    assert first.many == 1
    refused = await store.limits.take_tokens(SITE, "messages", scopes, 4, 5.0)
    assert (refused.many, refused.binds, refused.first) == (0, 1, first.first + 20_000.0)
    swapped = await store.limits.take_tokens(SITE, "messages", scopes[::-1], 4, 5.0)
    assert (swapped.many, swapped.binds, swapped.first) == (0, 0, first.first + 20_000.0), "wherever it stands"
    other = await store.limits.take_tokens(SITE, "messages", [("site", 10.0), ("ip:192.0.2.2", 20_000.0)], 4, 50.0)
    assert other.many == 1, "the site has more than this IP could take"
    assert other.first <= max(other.now, first.first + 10.0)


@pytest.mark.parametrize(
    ("site", "scope"),
    [("[IPv6:2001:db8::2]", "site"), ("big", "ip:2001:db8::1"), ("big", "domain:@2001:db8::1:[IPv6:2001:db8::2]")],
)
async def test_k16_slots_of_a_dead_session_are_freed_whatever_the_names_hold(open_store, site, scope):
    one, two = await open_store("n1"), await open_store("n2")
    assert await hold(one, 2, 2, 2, site, scope) == 2
    assert await hold(two, 2, 1, 0, site, scope) == 0
    assert await two.limits.holders() == {one.session.id}
    await two.limits.forget(one.session.id)
    assert await two.limits.holders() == set()
    assert await hold(two, 2, 1, 0, site, scope) == 1


async def test_the_first_note_of_a_site_is_in_force_until_its_time(open_store):
    one, two = await open_store("n1"), await open_store("n2")
    now = [1000]
    first, second = (StoredSiteNotes(store.link, lambda: now[0]) for store in (one, two))
    assert await first.note({"a.test": "big", "b.test": "b.test"}, 2000) == {
        "a.test": SiteNote("big", 2000),
        "b.test": SiteNote("b.test", 2000),
    }
    assert await second.note({"a.test": "other"}, 3000) == {"a.test": SiteNote("big", 2000)}
    assert await second.find(["a.test", "c.test"]) == {"a.test": SiteNote("big", 2000)}
    now[0] = 2000
    assert await second.find(["a.test"]) == {}
    assert await second.note({"a.test": "other"}, 3000) == {"a.test": SiteNote("other", 3000)}
    assert await one.link.command("HKEYS", keys.META_SITES) == [b"a.test"], "notes that are over are dropped"


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
