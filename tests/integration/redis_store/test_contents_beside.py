"""Contents go to the store beside the step that accepts their messages: a refused message leaves none behind."""

import pytest

from mta.model.errors import BacklogFull, SessionLost, StoreAway, StoreError, StoreFull
from mta.model.ids import message_of
from mta.ports.queueing import AcceptanceDecision, Settled
from mta.redis_store import keys
from mta.redis_store.topology import one_server
from tests.support.stores import ended, message

CONTENT = keys.lane_key(0, b"content")
REFS = keys.lane_key(0, b"refs")


@pytest.fixture(autouse=True)
def _none_is_light(monkeypatch):
    """Else contents would have to be large to go beside the step."""
    monkeypatch.setattr(one_server, "_LIGHT", 0)


async def kept(store):
    """The messages whose content is in the store."""
    return set(await store.link.command("HKEYS", CONTENT))


def batch():
    """One recipient, two, and content in pieces."""
    big = message(content=bytes(i * 7919 % 251 for i in range(600_000)))
    return [message(), message(to=("a@example.com", "b@example.com")), big]


@pytest.mark.parametrize("light", [True, False])
async def test_contents_go_in_a_transaction_where_they_are_much_and_it_can_carry_them(
    open_store, server, monkeypatch, light
):
    monkeypatch.setattr(one_server, "_LIGHT", 1000)
    store = await open_store()
    server.ask("CONFIG", "RESETSTAT")
    sent = message(content=b"x" * (900 if light else 1100))
    await store.queues.accept(0, [sent])
    transactions = b"cmdstat_exec:calls=1," in server.ask("INFO", "commandstats")
    assert transactions is not (light or server.cluster)
    assert await kept(store) == {sent.id}


async def test_a_batch_that_ran_before_keeps_what_lives_and_no_more(open_store):
    store = await open_store()
    sent = batch()
    await store.queues.accept(0, sent)
    claimed = sorted(await store.claim(0), key=lambda one: one.id)
    [gone] = [one for one in claimed if message_of(one.id) == sent[0].id]
    first, second = [one for one in claimed if message_of(one.id) == sent[1].id]
    assert await store.queues.settle(0, [ended(gone), ended(first)]) == [Settled.OK] * 2
    store.queues._numbers[0] -= 1
    with pytest.raises(StoreError, match="DUP"):
        await store.queues.accept(0, sent)
    assert await kept(store) == {sent[1].id, sent[2].id}
    assert await store.content.get(sent[1].id, second.record) == sent[1].content
    assert await store.queues.settle(0, [ended(second)]) == [Settled.OK]
    store.queues._numbers[0] -= 1
    with pytest.raises(StoreError, match="DUP"):
        await store.queues.accept(0, sent[:2])
    assert await kept(store) == {sent[2].id}


async def test_the_only_delivery_left_of_several_may_be_any(open_store):
    """Nobody counts the deliveries of a message of which the door left one: records tell that it lives."""
    store = await open_store()
    sent = message(to=("a@example.com", "b@example.com", "c@example.com"))
    await store.queues.accept(0, [sent])
    claimed = sorted(await store.claim(0), key=lambda one: one.id)
    await store.queues.settle(0, [ended(one) for one in claimed[:2]])
    await store.link.command("HDEL", REFS, sent.id)
    store.queues._numbers[0] -= 1
    with pytest.raises(StoreError, match="DUP"):
        await store.queues.accept(0, [sent])
    assert await store.content.get(sent.id, claimed[2].record) == sent.content


async def test_what_was_voided_leaves_no_content(open_store):
    store = await open_store()
    await store.link.call(b"void", store.queues._void_keys(0, store.session.id), [store.session.id, 1, 0])
    with pytest.raises(StoreError, match="VOID"):
        await store.queues.accept(0, batch())
    assert await kept(store) == set()


async def test_a_session_given_up_leaves_no_content(open_store):
    dead, other = await open_store(), await open_store("n2")
    await other.queues.reclaim(0, dead.session.id, 100)
    with pytest.raises(SessionLost):
        await dead.queues.accept(0, batch())
    assert await kept(other) == set()


async def test_a_full_backlog_leaves_no_content(open_store):
    store = await open_store(backlog_hard=1)
    sent = message()
    await store.queues.accept(0, [sent])
    with pytest.raises(BacklogFull):
        await store.queues.accept(0, batch())
    assert await kept(store) == {sent.id}


async def test_old_rules_leave_no_content_and_a_late_copy_takes_none(open_store):
    store = await open_store()
    await store.rules.raise_barrier(4)
    sent = batch()
    assert await store.queues.accept(0, sent, AcceptanceDecision(3)) is None
    assert await kept(store) == set()
    assert await store.queues.accept(0, sent, AcceptanceDecision(4)) is not None
    store.queues._numbers[0] = 0  # the copy of the one that was refused
    with pytest.raises(StoreError, match="DUP"):
        await store.queues.accept(0, sent, AcceptanceDecision(3))
    assert await kept(store) == {one.id for one in sent}


@pytest.mark.parametrize("ran", [True, False])
async def test_after_a_lost_answer_contents_are_there_once_and_whole(open_store, monkeypatch, ran):
    store = await open_store()
    call, lost = store.link.call, [True]

    async def lossy(function, step_keys, args, **more):
        if lost.pop() if lost else False:
            if ran:
                await call(function, step_keys, args, **more)
            raise StoreAway("the reply was lost")
        return await call(function, step_keys, args, **more)

    monkeypatch.setattr(store.link, "call", lossy)
    sent = batch()
    assert await store.queues.accept(0, sent) is not None
    assert await kept(store) == {one.id for one in sent}
    assert (await store.books.total())["accepted"] == 4


async def test_a_full_server_takes_neither_step_nor_content(open_store, server):
    store = await open_store()
    await store.queues.accept(0, [message()])
    [claimed] = await store.claim(0)
    server.ask("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(StoreFull):
            await store.queues.accept(0, [message(), message()])
    finally:
        server.ask("CONFIG", "SET", "maxmemory", "0")
    assert await kept(store) == {message_of(claimed.id)}
    assert (await store.books.total())["accepted"] == 1
    assert await store.queues.accept(0, [message()]) is not None


async def test_a_server_without_the_library_gets_it_and_has_the_batch_once(open_store, server):
    store = await open_store()
    server.ask("FUNCTION", "FLUSH")
    sent = batch()
    assert await store.queues.accept(0, sent) is not None
    assert await kept(store) == {one.id for one in sent}
    server.ask("FUNCTION", "FLUSH")
    store.queues._numbers[0] -= 1
    with pytest.raises(StoreError, match="DUP"):
        await store.queues.accept(0, sent)
    assert await kept(store) == {one.id for one in sent}
    assert (await store.books.total())["accepted"] == 4
