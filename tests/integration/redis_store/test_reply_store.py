"""Reply entries and unknown replies on a real store."""

import asyncio
from collections.abc import Callable

import pytest

from mta.model.replies import ReplyEntry, UnknownReply
from mta.redis_store import reply_store
from mta.redis_store.reply_store import StoredReplies
from tests.support.stores import Store

ENTRY = ReplyEntry(pattern="moon", category="policy", fault="peer", reaction="retry")
OTHER = ReplyEntry(code=("55x",), category="size", fault="sender", reaction="bounce")


async def test_entries_have_a_version(open_store: Callable[..., Store]) -> None:
    store = await open_store()
    table = StoredReplies(store.link)
    assert await table.entries(b"0|") is None
    assert await table.put("b", ENTRY)
    assert await table.put("a", OTHER)
    assert not await table.put("b", OTHER), "there was one"
    found = await table.entries()
    assert found is not None
    assert list(found.entries.items()) == [("a", OTHER), ("b", OTHER)]
    assert await table.entries(found.version) is None
    assert await table.remove("a")
    assert not await table.remove("a")
    assert not await table.remove("version")
    after = await table.entries(found.version)
    assert after is not None
    assert list(after.entries) == ["b"]


async def test_readers_hear_of_a_change(open_store: Callable[..., Store]) -> None:
    store = await open_store()
    table, heard = StoredReplies(store.link), asyncio.Event()
    table.on_change(heard.set)
    store.link.listen()
    async with asyncio.timeout(20):
        await heard.wait()  # the subscription came up
        heard.clear()
        await table.put("a", ENTRY)
        await heard.wait()


async def test_unknown_replies_are_added_up_and_the_oldest_go(
    open_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reply_store, "_MOST_UNKNOWN", 2)
    store = await open_store()
    table = StoredReplies(store.link)
    one, two, three = (UnknownReply("x.test", 554, "", text) for text in ("one", "two", "three"))
    await table.note_unknown({one: 5, two: 1}, 1)
    await table.note_unknown({two: 2}, 2)
    assert [(found.reply.text, found.many, found.last_at) for found in await table.unknown()] == [
        ("one", 5, 1),
        ("two", 3, 2),
    ]
    await table.note_unknown({three: 1}, 3)
    assert [found.reply.text for found in await table.unknown()] == ["two", "three"]
