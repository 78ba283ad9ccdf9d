import asyncio
import json
import re

import pytest

from mta.model.events import Event, EventType
from mta.ports.journal import JournalState
from mta.timing.clock import wall_ms
from tests.support.eventually import eventually
from tests.support.stores import ended, message

ROOM = 2**20


async def blocked(store) -> int:
    """How many clients of the server wait for something to come."""
    said = bytes(await store.link.command("INFO", "clients"))
    return int(said.partition(b"blocked_clients:")[2].split()[0])


async def looks(store) -> int:
    """How often the server was asked for a range of a stream."""
    said = bytes(await store.link.command("INFO", "commandstats"))
    return int((re.search(rb"cmdstat_xrange:calls=(\d+)", said) or [0, 0])[1])


async def looked_since(store, before: int) -> bool:
    return await looks(store) > before


async def test_one_journal_at_a_time_has_a_lane(open_store):
    store = await open_store()
    assert await store.outbox.lease(0, "a", 5)
    assert not await store.outbox.lease(0, "b", 5)
    assert await store.outbox.lease(0, "a", 0.1)
    await eventually(lambda: store.outbox.lease(0, "b", 5))
    assert not await store.outbox.done(0, "a", "5-0")
    await store.outbox.release(0, "b")
    assert await store.outbox.lease(0, "a", 5)


async def test_events_are_read_in_order_and_trimmed_behind_what_is_durable(open_store):
    store = await open_store()
    for _ in range(3):
        await store.queues.accept(0, [message(), message()])
    assert await store.outbox.backlog(0) == 3
    entries, more = await store.outbox.read(0, "0-0", ROOM)
    assert ([len(entry.events) for entry in entries], more) == ([2, 2, 2], False)
    await store.outbox.lease(0, "a", 5)
    assert await store.outbox.done(0, "a", entries[1].id)
    assert await store.outbox.backlog(0) == 1
    [last] = (await store.outbox.read(0, await store.outbox.position(0), ROOM)).entries
    for claimed in await store.claim(0):
        await store.queues.settle(0, [ended(claimed, event=claimed.id)])
    assert len((await store.outbox.read(0, last.id, ROOM)).entries) == 6


@pytest.mark.parametrize("size", [100, 100_000])
async def test_what_is_read_at_once_is_bounded_by_bytes_however_large_the_entries_are(open_store, size):
    store = await open_store()
    for _ in range(60):
        await store.queues.note(0, [b"e" * size])
    read, position, pages = 0, "0-0", []
    while True:
        entries, more = await store.outbox.read(0, position, ROOM)
        pages.append(sum(len(event) for entry in entries for event in entry.events))
        read += len(entries)
        if not more:
            break
        position = entries[-1].id
    assert read == 60
    assert max(pages) <= ROOM + 4 * size
    assert len(pages) == (1 if size == 100 else 6)


async def test_who_waits_is_woken_by_an_event_of_any_lane_and_may_give_up(open_store):
    store = await open_store()
    positions = dict.fromkeys(range(store.outbox.lanes), "0-0")
    assert not await asyncio.wait_for(store.outbox.wait(positions, 0.05), 30.0)
    waiting = asyncio.create_task(store.outbox.wait(positions, 10.0))
    await eventually(lambda: blocked(store))
    await store.queues.note(3, [b"event"])
    assert await asyncio.wait_for(waiting, 30.0)
    positions[3] = (await store.outbox.read(3, "0-0", ROOM)).entries[-1].id
    given_up = asyncio.create_task(store.outbox.wait(positions, 10.0))
    await eventually(lambda: blocked(store))
    given_up.cancel()
    await asyncio.wait([given_up])
    assert await store.outbox.backlog(3) == 1, "the connection that was given up is used by nobody else"


async def test_an_entry_stands_in_its_stream_until_it_is_trimmed(open_store):
    store = await open_store()
    await store.queues.note(1, [b"event"])
    [entry] = (await store.outbox.read(1, "0-0", ROOM)).entries
    assert entry.events == (b"event",)
    assert await store.outbox.has(1, entry.id)
    assert not await store.outbox.has(0, entry.id)
    await store.outbox.lease(1, "a", 5)
    await store.outbox.done(1, "a", entry.id)
    assert not await store.outbox.has(1, entry.id)


async def test_a_journals_figures_replace_those_of_its_nodes_last_one_and_are_forgotten(open_store):
    store = await open_store()
    now = wall_ms()
    for state in (JournalState("n1", 5, now - 9, {"a": 1}), JournalState("n1", 6, now, {"a": 2.0})):
        await store.outbox.tell(state)
    await store.outbox.tell(JournalState("gone", 7, now - 61_000, {}))
    assert await store.outbox.journals() == [JournalState("n1", 6, now, {"a": 2.0})]


def events(*ids):
    return [(event_id, Event(EventType.DELIVERY, 5)) for event_id in ids]


def ids(found):
    return [json.loads(line)["event"] for _, line in found]


async def test_watchers_follow_from_where_they_were(open_store):
    store = await open_store()
    assert not await store.tail.watched()
    await store.tail.watch()
    assert await store.tail.watched()
    await store.tail.feed(events("old"))
    start = await store.tail.newest()
    await store.tail.feed(events("one", "two"))
    found = await store.tail.follow(start, 10, 1.0)
    assert ids(found) == ["one", "two"]
    assert ids(await store.tail.follow(found[0][0], 10, 1.0)) == ["two"]
    before = await looks(store)
    waiting = asyncio.create_task(store.tail.follow("$", 10, 10.0))
    await eventually(lambda: looked_since(store, before))  # and so it knows where to begin
    await store.tail.feed(events("three"))
    assert ids(await waiting) == ["three"]


async def test_the_end_of_a_stream_counts_what_was_trimmed_and_an_epoch_is_raised_once(open_store):
    store = await open_store()
    born = (await store.outbox.end(0, "0-0")).born
    assert int(born) > 0
    assert await store.outbox.end(0, "0-0") == (1, "0-0", 0, born)
    for _ in range(3):
        await store.queues.accept(0, [message()])
    entries = (await store.outbox.read(0, "0-0", ROOM)).entries
    assert await store.outbox.end(0, entries[1].id) == (1, entries[2].id, 2, born)
    await store.outbox.lease(0, "a", 5)
    await store.outbox.done(0, "a", entries[1].id)
    assert await store.outbox.end(0, entries[1].id) == (1, entries[2].id, 2, born)
    await store.outbox.done(0, "a", entries[2].id)
    assert await store.outbox.end(0, entries[2].id) == (1, entries[2].id, 3, born)
    assert [await store.outbox.raise_epoch(0, 1) for _ in range(2)] == [2, 2]
    assert (await store.outbox.end(0, entries[2].id)).epoch == 2
    assert (await store.outbox.end(1, "0-0")).epoch == 1
