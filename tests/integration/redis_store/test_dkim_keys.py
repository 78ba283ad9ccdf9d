"""DKIM keys on a real store: changes since a version, and no change that overwrites another one."""

import asyncio
from collections.abc import Callable

from msgspec.structs import replace

from mta.model.dkim_keys import KeyState, SealedKey
from mta.ports.dkim import KeyChanges, RecordLook
from mta.redis_store import keys
from mta.redis_store.dkim_keys import StoredDkimKeys, StoredRecordLooks
from tests.support.dkim_keys import entry_of
from tests.support.eventually import eventually
from tests.support.stores import Store

ONE, TWO = entry_of("a.test", "s1"), entry_of("b.test", "s1")


def retired(entry: SealedKey) -> SealedKey:
    return replace(entry, key=replace(entry.key, state=KeyState.RETIRED))


async def changed(table: StoredDkimKeys, since: bytes) -> KeyChanges:
    found = await table.changes(since)
    assert found is not None
    return found


async def test_a_reader_gets_the_changes_since_its_version(open_store: Callable[..., Store]) -> None:
    store = await open_store()
    table = StoredDkimKeys(store.link)
    nothing = await changed(table, b"")
    assert (nothing.keys, nothing.is_whole) == ([], True)
    assert await table.put(ONE, None)
    assert await table.put(TWO, None)
    both = await changed(table, b"")
    assert sorted(entry.key.domain for entry in both.keys) == ["a.test", "b.test"]
    assert await table.changes(both.version) is None
    assert await table.put(retired(ONE), ONE)
    await table.remove(TWO.key.id)
    later = await changed(table, both.version)
    assert (later.keys, later.removed, later.is_whole) == ([retired(ONE)], [TWO.key.id], False)
    assert await table.get(TWO.key.id) is None
    assert await table.get("version") is None


async def test_a_store_that_was_emptied_is_read_as_a_whole(open_store: Callable[..., Store]) -> None:
    store = await open_store()
    table = StoredDkimKeys(store.link)
    for entry in (ONE, TWO):
        assert await table.put(entry, None)
    version = (await changed(table, b"")).version
    for key in (keys.META_DKIM, keys.META_DKIM_CHANGES):
        await store.link.command("DEL", key)
    gone = await changed(table, version)
    assert (gone.keys, gone.is_whole) == ([], True)
    assert await table.put(TWO, None)
    assert (await changed(table, version)).keys == [TWO]


async def test_of_two_changes_of_one_entry_the_first_wins(open_store: Callable[..., Store]) -> None:
    store = await open_store()
    table = StoredDkimKeys(store.link)
    assert await table.put(ONE, None)
    assert await table.put(ONE, None), "the same again, after a lost answer"
    assert not await table.put(retired(ONE), None)
    assert await table.put(retired(ONE), ONE)
    assert not await table.put(replace(ONE, sealed=b"other"), ONE)
    assert await table.get(ONE.key.id) == retired(ONE)


async def test_an_entry_that_cannot_be_read_hides_no_other(open_store: Callable[..., Store]) -> None:
    store = await open_store()
    table = StoredDkimKeys(store.link)
    assert await table.put(ONE, None)
    await store.link.command("HSET", keys.META_DKIM, "newer", b"\x81\xa3abc\x01")
    assert (await changed(table, b"")).keys == [ONE]


async def test_a_change_is_told_to_those_that_follow(open_store: Callable[..., Store]) -> None:
    store = await open_store()
    table, heard = StoredDkimKeys(store.link), asyncio.Event()
    table.on_change(heard.set)
    store.link.listen()
    async with asyncio.timeout(20):
        await heard.wait()  # the subscription came up
        heard.clear()
        assert await StoredDkimKeys((await open_store("n2")).link).put(ONE, None)
        await heard.wait()


async def test_one_process_has_the_turn_to_look(open_store: Callable[..., Store]) -> None:
    ours, theirs = [StoredRecordLooks((await open_store(node)).link) for node in ("n1", "n2")]
    assert await ours.lead("n1/7", 60.0)
    assert await ours.lead("n1/7", 0.05)
    await eventually(lambda: theirs.lead("n2/8", 60.0))
    assert not await ours.lead("n1/7", 60.0)
    look = RecordLook(False, "no record", 5)
    await ours.note("k1", look)
    assert await theirs.looks() == {"k1": look}
    await theirs.forget("k1")
    assert await ours.looks() == {}
