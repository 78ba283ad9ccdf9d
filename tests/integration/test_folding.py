"""Counters of tags at rest go to history, and the store is back at its baseline."""

import asyncio
import pathlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mta.history.files import SqliteFiles
from mta.history.reader import HistoryReader
from mta.history.sqlite_writer import SqliteWriter
from mta.journal.folding import Folding
from mta.model.mail import tenants_tag
from mta.model.shares import share_of
from mta.redis_store.books import StoredBooks
from mta.redis_store.resting_tags import StoredRestingTags
from tests.support.eventually import eventually
from tests.support.stores import Store, ended, message

MANY = 3000


async def _day(store: Store, first: int, many: int) -> None:
    """`many` messages, each with a tag of its own, accepted and delivered."""
    for at in range(first, first + many, 100):
        batch = [message(0, tags=(f"user_{n}", "all"), tenant="acme" if n % 2 else "") for n in range(at, at + 100)]
        await store.queues.accept(0, batch)
        claimed = [*await store.claim(0), *await store.claim(0, share=share_of("acme", 0))]
        await store.queues.settle(0, [ended(one) for one in claimed])


async def _fold(store: Store, folder: pathlib.Path) -> int:
    writer = SqliteWriter(str(folder), 86400.0)
    writer.open()
    threads = ThreadPoolExecutor(1)

    folding = Folding(StoredRestingTags(store.link), 1.0, lambda: range(store.lanes), writer, threads.submit)

    async def all_folded() -> bool:
        folding.look()
        await asyncio.sleep(0.05)
        return not await _tag_keys(store)

    await eventually(all_folded)
    await folding.stop()
    writer.close()
    return folding.folded


async def _tag_keys(store: Store) -> list[bytes]:
    found, cursor = [], 0
    while True:
        cursor, page = await store.link.scan(b"fg:{0}:tag:", cursor, 10_000)
        found += page
        if not cursor:
            return found


async def _keys(store: Store) -> int:
    return sum([await master.command("DBSIZE") for master in store.link._topology.every_master()])


async def test_a_day_of_tags_of_one_message_each_leaves_the_store_as_it_was(
    open_store: Callable[..., Any], tmp_path: pathlib.Path
) -> None:
    store = await open_store()
    await _day(store, 0, 100)
    await _fold(store, tmp_path / "history")
    baseline = await _keys(store)
    await _day(store, 100, MANY)
    assert await _keys(store) > baseline + MANY
    books = StoredBooks(store.link, store.lanes)
    before = {tag: await books.tag(tag) for tag in ("all", "user_107")}
    assert await _fold(store, tmp_path / "history") > MANY
    assert await _keys(store) == baseline
    assert await books.tag("user_107") == {}
    reader = HistoryReader(SqliteFiles(str(tmp_path / "history")))
    books = StoredBooks(store.link, store.lanes, reader)
    assert await books.tag("user_107") == before["user_107"] == await books.tag("user_107", "acme")
    assert (await books.tag("all"))["delivered"] == MANY + 100
    await _day(store, MANY + 100, 100)  # new epochs beside those that were folded
    found = await books.tag("all")
    assert (found["accepted"], found["delivered"], found["queued"]) == (MANY + 200, MANY + 200, 0)
    await reader.close()


async def test_counters_of_tags_whose_mail_waits_stay(open_store: Callable[..., Any]) -> None:
    store = await open_store()
    await _day(store, 0, 100)
    await store.queues.accept(0, [message(0, tags=("waits",))])
    await store.queues.accept(0, [message(0, tags=("rests",))])
    resting = set()
    [claimed] = [one for one in await store.claim(0) if "rests" in one.record.tags]
    await store.queues.settle(0, [ended(claimed)])

    async def all_rest() -> bool:
        cursor = 0
        while True:
            found, cursor = await StoredRestingTags(store.link).at_rest(0, cursor, 1)
            resting.update(one.tag for one in found)
            if not cursor:
                return "rests" in resting

    await eventually(all_rest)
    assert "user_99" in resting
    assert "waits" not in resting


async def test_counters_that_stand_in_both_places_count_once_and_those_that_changed_stay(
    open_store: Callable[..., Any], tmp_path: pathlib.Path
) -> None:
    store = await open_store()
    await _day(store, 0, 100)
    tags, writer = StoredRestingTags(store.link), SqliteWriter(str(tmp_path), 86400.0)

    async def some_at_rest() -> Any:
        """Those of one step, as soon as the server has counted a second for which they rest."""
        cursor = 0
        while True:
            found, cursor = await tags.at_rest(0, cursor, 1)
            if found or not cursor:
                return found

    found = await eventually(some_at_rest)
    writer.keep(found)
    reader = HistoryReader(SqliteFiles(str(tmp_path)))
    books = StoredBooks(store.link, store.lanes, reader)
    one = found[0]
    assert await books.tag(one.tag, one.tenant) == one.counts
    name = tenants_tag(one.tag, one.tenant) if one.tenant else one.tag
    await store.link.command("HINCRBY", f"fg:{{0}}:tag:{name}", "late", 1)
    assert await tags.drop(0, found) == len(found) - 1
    assert (await books.tag(one.tag, one.tenant))["late"] == 1
    await store.link.command("HDEL", f"fg:{{0}}:tag:{name}", "late")  # no class of the books
    writer.close()
    await reader.close()
