"""Brakes and their counts on a real store."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from mta.model.brakes import Brake, Metric, Pull, RateCount
from mta.model.errors import BadValue
from mta.model.outcomes import Class
from mta.model.rules import Kind, Rule, Selectors
from mta.ports.brakes import Rate
from mta.ports.queueing import Settled
from mta.redis_store import brake_store
from mta.redis_store.brake_store import StoredBrakes
from tests.support.eventually import eventually
from tests.support.stores import Store, ended, message

PAUSE = Rule("", Selectors(tag="any"), kind=Kind.PAUSE)
BRAKE = Brake("b1", Metric.HARD_BOUNCE, 0.05, 80, 600.0, PAUSE, tag="red")
RED = ("b1", "red")


def count(least: int, counted: list[int], hits: list[int], bucket_ms: int = 60_000, name: str = "red") -> RateCount:
    return RateCount(name, "b1", bucket_ms, least, counted, hits)


async def keys_of(store: Store, pattern: str) -> list[bytes]:
    found: list[bytes] = await store.link.command("KEYS", pattern)
    return sorted(found)


async def settle(store: Store, lane: int, number: int, *rates: RateCount) -> None:
    """`number` deliveries, the last of which is a bounce."""
    await store.queues.accept(lane, [message(lane, tags=("red", "blue")) for _ in range(number)])
    claimed = await store.claim(lane)
    changes = [ended(one, Class.BOUNCED if n == number else Class.DELIVERED) for n, one in enumerate(claimed, 1)]
    assert await store.queues.settle(lane, changes, rates) == [Settled.OK] * number


async def test_counts_of_all_lanes_are_added_up(open_store: Callable[..., Store]) -> None:
    store = await open_store()
    brakes = StoredBrakes(store.link, store.queues.lanes)
    await settle(store, 0, 3, count(1, [1, 2, 3], [3]))
    await settle(store, 1, 2, count(1, [1, 2], [2]))
    assert await brakes.touched(False) == {RED}
    assert await brakes.rates([(RED, 60_000)]) == {RED: Rate(2, 5)}
    await brakes.clear(RED)
    assert await brakes.rates([(RED, 60_000)]) == {RED: Rate(0, 0)}


async def test_a_tag_is_counted_once_it_has_had_enough_mail_in_the_lane(open_store: Callable[..., Store]) -> None:
    """A tag of a few deliveries makes no key."""
    store = await open_store()
    await settle(store, 0, 3, count(5, [1, 2, 3], [3]))
    assert await keys_of(store, "fg:{0}:rate*") == []
    await settle(store, 0, 2, count(5, [1, 2], [2]))
    assert await keys_of(store, "fg:{0}:rate*") == [b"fg:{0}:rate:b1:red", b"fg:{0}:rates"]
    brakes = StoredBrakes(store.link, store.queues.lanes)
    assert await brakes.rates([(RED, 60_000)]) == {RED: Rate(1, 2)}


async def test_a_settlement_that_is_not_carried_out_is_not_counted(open_store: Callable[..., Store]) -> None:
    """Nor is one that is asked for again after a lost answer."""
    store = await open_store()
    await store.queues.accept(0, [message(), message()])
    claimed = await store.claim(0)
    first = [ended(claimed[0], Class.BOUNCED)]
    assert await store.queues.settle(0, first, [count(1, [1], [1])]) == [Settled.OK]
    both = [ended(claimed[0], Class.BOUNCED), ended(claimed[1])]
    answer = await store.queues.settle(0, both, [count(1, [1, 2], [1])])
    assert answer == [Settled.STALE, Settled.OK]
    brakes = StoredBrakes(store.link, store.queues.lanes)
    assert await brakes.rates([(RED, 60_000)]) == {RED: Rate(1, 2)}


async def test_what_is_older_than_the_window_goes(open_store: Callable[..., Store]) -> None:
    store = await open_store()
    brakes = StoredBrakes(store.link, store.queues.lanes)
    await settle(store, 0, 2, count(1, [1, 2], [2], bucket_ms=20))

    async def gone() -> bool:
        return await brakes.rates([(RED, 20)]) == {RED: Rate(0, 0)} and await keys_of(store, "fg:{0}:rate:*") == []

    await eventually(gone)


async def test_touched_tags_are_told_once_more_to_one_that_begins(open_store: Callable[..., Store]) -> None:
    store = await open_store()
    one, two = (StoredBrakes(store.link, store.queues.lanes) for _ in range(2))
    await settle(store, 0, 1, count(1, [1], []), count(1, [1], [], name="blue"))
    assert await one.touched(False) == {RED, ("b1", "blue")}
    assert await two.touched(True) == {RED, ("b1", "blue")}
    await one.forget_older(-1)
    assert await two.touched(True) == set()


async def test_brakes_have_a_version_and_a_limit(
    open_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brake_store, "MOST", 1)
    brakes = StoredBrakes((await open_store()).link, 4)
    assert await brakes.brakes(b"0|") is None
    await brakes.add(BRAKE)
    found = await brakes.brakes(b"0|")
    assert found is not None
    assert found.brakes == {"b1": BRAKE}
    with pytest.raises(BadValue, match="there are 1 brakes already"):
        await brakes.add(Brake("b2", Metric.BLOCK, 0.05, 80, 600.0, PAUSE))


async def test_a_pull_is_noted_once_and_replaces_the_one_before(open_store: Callable[..., Store]) -> None:
    store = await open_store()
    brakes = StoredBrakes(store.link, 4)
    first, other = Pull("b1", "red", "", 1, 5, 6, 80), Pull("b1", "red", "", 1, 9, 7, 90)
    assert await brakes.note(first) == first
    assert await brakes.note(other) == first
    second = Pull("b1", "red", "", 2, 50, 7, 90)
    await brakes.note(second)
    assert await brakes.pulls("b1") == [second]
    assert await store.link.command("HLEN", "fg:{meta}:brakes:pulls") == 1
    await brakes.add(BRAKE)
    await brakes.remove("b1")
    assert await brakes.pulls() == []


async def test_one_process_leads(open_store: Callable[..., Store]) -> None:
    store = await open_store()
    one, two = (StoredBrakes(store.link, 4) for _ in range(2))
    assert await one.lead("w1", 30.0)
    assert not await two.lead("w2", 30.0)
    assert await one.lead("w1", 30.0)


async def test_a_brake_of_a_newer_release_is_left_alone(open_store: Callable[..., Store], caplog: Any) -> None:
    store = await open_store()
    brakes = StoredBrakes(store.link, 4)
    await brakes.add(BRAKE)
    await store.link.command("HSET", "fg:{meta}:brakes", "b9", b'{"id": "b9", "metric": "smell"}')
    found = await brakes.brakes()
    assert found is not None
    assert list(found.brakes) == ["b1"]
    assert "the brake b9 was made by a newer release" in caplog.text


async def test_a_token_of_a_tenant_makes_a_tenth_of_the_brakes_at_most(
    open_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_store()
    table = StoredBrakes(store.link, 1)
    monkeypatch.setattr(brake_store, "MOST_OF_TENANT", 1)
    mine = replace(BRAKE, tenant="acme", owner="acme")
    await table.add(mine)
    with pytest.raises(BadValue, match="there are 1 brakes of the tenant acme already"):
        await table.add(replace(mine, id="b2"))
    await table.add(replace(mine, id="b3", owner=""))
