"""The watch over suppressions: what it may take for suppressed, while it reads, follows and reads anew."""

import asyncio
from typing import Any

from mta.model.status import Reason
from mta.model.suppressions import Suppressed, Suppression, SuppressionKey
from mta.suppressions.watch import SuppressionWatch
from tests.support.eventually import eventually
from tests.support.suppressions import MemorySuppressions

VALUE = Suppression(Reason.MANUAL, 1)
A, B, C = (SuppressionKey(f"{letter}@x.test") for letter in "abc")


async def put(store: MemorySuppressions, *keys: SuppressionKey) -> int:
    return (await store.put([Suppressed(key, VALUE) for key in keys]))[0]


async def settled(watch: SuppressionWatch) -> None:
    await watch.look()
    await eventually(lambda: watch._reading is None)


async def test_an_empty_store_costs_nothing() -> None:
    store = MemorySuppressions()
    watch = SuppressionWatch(store)
    await settled(watch)
    assert not watch.is_on
    assert (store.readings, watch.number) == (0, 0)
    await watch.ready()


async def test_until_all_is_read_everything_may_be_suppressed_then_only_what_is() -> None:
    store = MemorySuppressions()
    await put(store, A)
    watch = SuppressionWatch(store)
    assert not watch.is_on
    await watch.look()
    assert watch.is_on
    assert watch.may_be([A, B]) == [A, B]
    await settled(watch)
    assert watch.is_on
    assert watch.may_be([A, B]) == [A]
    assert (watch.number, len(watch), store.readings) == (1, 1, 1)


async def test_what_is_announced_is_in_force_with_the_next_look() -> None:
    store = MemorySuppressions()
    await put(store, A)
    watch = SuppressionWatch(store)
    await settled(watch)
    for key in (B, C, C):
        await put(store, key)
    await watch.look()
    assert (watch.may_be([A, B, C]), watch.number, store.readings) == ([A, B, C], 4, 1)


async def test_what_is_announced_during_a_reading_is_not_lost() -> None:
    """The page of its share was read before it was kept."""
    store = MemorySuppressions()
    await put(store, A)
    watch, gate, read = SuppressionWatch(store), asyncio.Event(), store.prints

    async def slowly(share: int, cursor: int) -> Any:
        found = await read(share, cursor)
        await gate.wait()
        return found

    store.prints = slowly  # type: ignore[method-assign]
    await watch.look()
    await asyncio.sleep(0)
    await put(store, B)
    await watch.look()
    gate.set()
    await eventually(lambda: watch._reading is None)
    assert watch.may_be([A, B, C]) == [A, B]


async def test_what_was_announced_just_before_a_reading_is_known_although_it_is_kept_later() -> None:
    store = MemorySuppressions()
    await put(store, A, B)
    del store.kept[B]
    store.young = 1
    watch = SuppressionWatch(store)
    await settled(watch)
    assert watch.may_be([A, B, C]) == [A, B]


async def test_a_process_that_missed_announcements_or_meets_another_store_reads_anew() -> None:
    store = MemorySuppressions()
    await put(store, A)
    watch = SuppressionWatch(store)
    await settled(watch)
    for key in (B, C, C):
        await put(store, key)
    store.first = 4
    await watch.look()
    assert watch.may_be([B, SuppressionKey("d@x.test")]) == [B, SuppressionKey("d@x.test")], "nothing is known"
    await settled(watch)
    assert (watch.may_be([B, SuppressionKey("d@x.test")]), store.readings) == ([B], 2)
    store.kept, store.tellings, store.first, store.born = {}, [], 1, b""
    await settled(watch)
    assert not watch.is_on


async def test_many_removals_are_forgotten_by_a_reading() -> None:
    store = MemorySuppressions()
    keys = [SuppressionKey(f"{number}@x.test") for number in range(1500)]
    await put(store, *keys)
    watch = SuppressionWatch(store)
    await settled(watch)
    await store.remove(keys[:3])
    await settled(watch)
    assert (len(watch), store.readings) == (1500, 1), "the store is asked about these and has none"
    await store.remove(keys[3:])
    await settled(watch)
    assert (len(watch), store.readings, watch.is_on) == (0, 2, False)
