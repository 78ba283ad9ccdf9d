"""Suppressions on a real store: kept, found, listed, announced, and gone when their time is over."""

import asyncio
from collections.abc import Callable

from mta.model.status import Reason
from mta.model.suppressions import Suppressed, Suppression, SuppressionKey
from mta.policy.fingerprints import fingerprint
from mta.ports.suppressions import SHARES, SuppressionPlace
from mta.redis_store.suppression_store import StoredSuppressions
from mta.suppressions.watch import SuppressionWatch
from tests.support.eventually import eventually
from tests.support.stores import Store

VALUE = Suppression(Reason.MANUAL, 1, "me", note="why")


def items(*subjects: str, **more: object) -> list[Suppressed]:
    return [Suppressed(SuppressionKey(subject), VALUE) for subject in subjects]


async def listed(table: StoredSuppressions, subject: str = "") -> list[str]:
    found, place = [], SuppressionPlace()
    while place is not None:
        page = await table.page(place, subject)
        found += [item.key.subject for item in page.items]
        place = page.after
    return sorted(found)


async def test_what_is_put_is_found_listed_and_removed(open_store: Callable[..., Store]) -> None:
    store = await open_store()
    table = StoredSuppressions(store.link)
    assert (await table.head()).number == 0
    number, added = await table.put(items("a@x.test", "b@x.test", "x.test"))
    assert (number, added) == (1, 3)
    key = SuppressionKey("a@x.test", "acme", "news")
    assert await table.put([Suppressed(key, VALUE), *items("a@x.test")]) == (2, 1)
    other = SuppressionKey("c@x.test")
    assert dict(await table.find([key, other])) == {key: VALUE}
    assert await listed(table) == ["a@x.test", "a@x.test", "b@x.test", "x.test"]
    assert await listed(table, "a@x.test") == ["a@x.test", "a@x.test"]
    assert await listed(table, "*@x.test") == [], "a pattern is no subject"
    assert await table.remove([SuppressionKey("a@x.test"), other]) == 1
    assert await listed(table, "a@x.test") == ["a@x.test"]
    assert ((await table.head()).number, (await table.head()).removed) == (3, 1)


async def test_many_are_kept_in_all_shares_and_announced_in_pieces(open_store: Callable[..., Store]) -> None:
    store = await open_store()
    table = StoredSuppressions(store.link)
    many = items(*(f"n{number}@x.test" for number in range(2500)))
    assert await table.put(many) == (3, 2500)
    announced = await table.announced(0)
    assert announced is not None
    assert [(number, len(prints)) for number, prints in announced] == [(1, 1000), (2, 1000), (3, 500)]
    wanted = sorted(fingerprint(key.name) for key, _ in many)
    assert sorted(one for _, prints in announced for one in prints) == wanted
    assert sorted(await table.recent()) == wanted
    assert sorted([one for share in range(SHARES) for one in (await table.prints(share, 0))[1]]) == wanted
    assert len(await listed(table)) == 2500
    assert await table.remove([key for key, _ in many]) == 2500


async def test_an_announcement_that_was_trimmed_away_is_missed(open_store: Callable[..., Store]) -> None:
    store = await open_store()
    table = StoredSuppressions(store.link)
    for _ in range(3):
        await table.put(items("a@x.test"))
    await store.link.command("XTRIM", "fg:{supp}:changes", "MINID", "3-0")
    assert await table.announced(1) is None
    assert [number for number, _ in await table.announced(2) or ()] == [3]


async def test_those_whose_time_is_over_are_dropped(open_store: Callable[..., Store]) -> None:
    store = await open_store()
    table = StoredSuppressions(store.link)
    over = Suppression(Reason.MANUAL, 1, expires_at=1000)
    subjects = [f"n{number}@x.test" for number in range(300)]
    await table.put([Suppressed(SuppressionKey(subject), over) for subject in subjects])
    await table.put(items("n7@x.test"))  # without an end now
    assert await table.drop_expired(999) == 0
    assert await table.drop_expired(1000) == 299
    assert await listed(table) == ["n7@x.test"]


async def test_a_watch_hears_of_an_order_at_once(open_store: Callable[..., Store]) -> None:
    store = await open_store()
    table = StoredSuppressions(store.link)
    watch = SuppressionWatch(table)
    store.link.listen()
    task = asyncio.create_task(watch.run())
    await watch.ready()
    a, b = SuppressionKey("a@x.test"), SuppressionKey("b@x.test")
    assert not watch.is_on
    number, _ = await table.put(items("a@x.test"))
    await eventually(lambda: watch.number == number and watch.may_be([a, b]) == [a])
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
