"""Calls that cross: a cancel and an undo, a sweep and a worker, an undo and an edit."""

import asyncio
import time

import msgspec
import pytest

from mta.model.endings import Final
from mta.model.ids import message_of
from mta.model.mail import QueueKey
from mta.model.outcomes import Class
from mta.model.rules import NO_HEAD, Head, Kind, Rule, Selectors
from mta.orders.order_book import OrderBook
from mta.orders.undo import UndoRuns
from mta.policy.rule_table import RuleTable
from mta.ports.queueing import (
    AcceptanceDecision,
    ClaimRequest,
    DecidedBy,
    DeciderKind,
    EndedAtAcceptance,
    Move,
    Settled,
)
from mta.ports.sweeps import MoveAnswer
from mta.redis_store import keys
from mta.redis_store.checker import Checker
from mta.sweeps.pace import Pace
from mta.sweeps.release import Releaser
from mta.sweeps.sweep_moves import Decider
from tests.support.actors import ME
from tests.support.eventually import eventually
from tests.support.scheduling import FakeRules
from tests.support.stores import QUEUE, ended, message, queued

FINAL = msgspec.msgpack.encode(Final("a@example.com", 5))
SPARED = {"rule": "r1", "final": FINAL, "spare_ms": 600_000}


def now() -> int:
    return int(time.time() * 1000)


async def sound(store):
    report = await Checker(store.link, store.lanes).report()
    assert not report.broken
    assert report.balanced


async def undo_all(store):
    """An undo of r1, which is no rule any more."""
    orders = OrderBook(store.rules, store.sweeps)
    undo = UndoRuns(orders, store.rules, store.undo_copies, "n1", 600_000)
    try:
        return await undo.undo("r1", None, ME, 60.0)
    finally:
        await undo.stop()
        await orders.stop()


def decided(rule, page):
    """The moves that a sweep plans for the page by a table with this rule only, at generation 2."""
    return Decider("n1", 600_000, now).decide(RuleTable.build(Head(2, "x"), [rule]), page)


async def test_a_pool_that_is_known_from_the_door_alone_can_be_canceled_undone_and_delivered(open_store):
    store = await open_store()
    await store.rules.confirm(1, NO_HEAD, (), {})
    pool, batch = "@10.0.0.9", [message(pool="@10.0.0.9") for _ in range(2)]
    rule = DecidedBy(DeciderKind.RULE, "r1")
    end = EndedAtAcceptance(1, Class.INTERCEPTED, rule, b"event", FINAL, 600_000)
    await store.queues.accept(0, batch, AcceptanceDecision(0, {one.id: [end] for one in batch}))
    await store.messages.cancel(batch[0].id, ME, 0.2)
    assert (await undo_all(store)).reinstated == 1
    assert await store.sweeps.pools() == [pool]
    assert [counts.due for counts in await store.books.queues()] == [1]
    [claimed] = await store.queues.claim(0, [ClaimRequest(QueueKey(pool, "example.com"), 5)], 1 << 20)
    assert message_of(claimed.id) == batch[1].id
    await sound(store)


async def test_a_worker_that_would_intercept_what_somebody_cancels_cancels_it(open_store):
    store = await open_store()
    await store.rules.confirm(1, NO_HEAD, (), {})
    one = message()
    await store.queues.accept(0, [one])
    [claimed] = await store.claim(0)
    await store.messages.cancel(one.id, ME, 0.0)
    intercepted = ended(claimed, Class.INTERCEPTED, stage="queued", **SPARED)
    assert await store.queues.settle(0, [intercepted]) == [Settled.CANCEL]
    assert await store.queues.settle(0, [ended(claimed, Class.CANCELED, final=FINAL)]) == [Settled.OK]
    assert await undo_all(store) is None
    await sound(store)


@pytest.mark.parametrize("kind", list(Kind))
async def test_a_sweep_leaves_alone_what_was_attempted_since_it_looked(open_store, kind):
    store = await open_store()
    await store.queues.accept(0, [message()])
    _, page = await store.sweeps.scan(0, QUEUE, 0, 100)
    [claimed] = await store.claim(0)
    tried = msgspec.structs.replace(claimed.record, attempts=1, uncertain=True, deferred_by="r4")
    await store.queues.settle(0, [queued(claimed, 1000, tried, rule="r4", deferred_by_rule=True, generation=1)])
    rule = Rule("r1", Selectors(tag="red"), 554 if kind is Kind.ERROR else 0, generation=2, kind=kind)
    for move, matches in decided(rule, page).items():
        assert await store.sweeps.move(0, "", move, 2, matches) == (MoveAnswer.OK, 0)
    _, again = await store.sweeps.scan(0, QUEUE, 0, 100)
    for move, matches in decided(rule, again).items():
        assert await store.sweeps.move(0, "", move, 2, matches) == (MoveAnswer.OK, 1)
    assert (await store.books.rule("r4"))["deferred"] == 0
    assert (await store.books.tag("red")).get("uncertain", 0) == (kind is Kind.ERROR)
    await sound(store)


async def disabled(store, rule: str) -> bool:
    return not (await store.rules.rule(rule)).enabled


async def test_an_undo_goes_on_when_its_rule_changes_again(open_store):
    store, worker = await open_store(), await open_store("w")
    put, _ = await store.rules.put(Rule("r1", Selectors(tag="red"), 554), "c1")
    await worker.rules.confirm(1, put.head, (), {})
    await store.queues.accept(0, [message()])
    [claimed] = await store.claim(0)
    await store.queues.settle(0, [ended(claimed, Class.INTERCEPTED, stage="attempt", **SPARED)])
    orders = OrderBook(store.rules, store.sweeps)
    undo = UndoRuns(orders, store.rules, store.undo_copies, "n1", 600_000)
    try:
        waiting = asyncio.create_task(undo.undo("r1", put.rule, ME, 60.0))
        await eventually(lambda: disabled(store, "r1"))
        await orders.edit("r1", lambda rule: msgspec.structs.replace(rule, reason="edited"), ME, 0.0, "effective")
        await worker.rules.confirm(2, await store.rules.head(), (), {})
        done = await waiting
        assert (done.done, done.reinstated, done.left) == (True, 1, 0)
    finally:
        await undo.stop()
        await orders.stop()


async def test_what_has_had_its_time_is_not_undone(open_store):
    store = await open_store()
    await store.rules.confirm(1, NO_HEAD, (), {})
    await store.queues.accept(0, [message(), message()])
    await store.queues.settle(
        0, [ended(one, Class.INTERCEPTED, stage="attempt", **SPARED) for one in await store.claim(0)]
    )
    [old, _] = await store.undo_copies.copies(0, "r1", 10)
    key = keys.spared_key(b"fg:{0}:", b"r1")
    [member, _] = await store.link.command("ZRANGE", key, 0, -1)
    await store.link.command("ZADD", key, now() - 1, member)
    assert (await undo_all(store)).reinstated == 1
    [shown] = await store.messages.show(message_of(old.id))
    assert shown.state is Class.INTERCEPTED
    assert await store.undo_copies.drop(0, "r1", 10) == 1
    await sound(store)


async def test_what_nobody_can_read_is_released_to_be_parked(open_store):
    store = await open_store()
    await store.queues.accept(0, [message(tags=()), message(tags=())])
    one, two = await store.claim(0)
    sane = await store.link.command("HGET", b"fg:{0}:rec", one.id)
    held = [queued(c, 5, c.record, move=Move.HOLD, rule="p1", generation=1) for c in (one, two)]
    await store.queues.settle(0, held)
    await store.link.command("HSET", b"fg:{0}:rec", one.id, b"\0\xc1")
    releaser = Releaser(store.sweeps, FreeRules(), Decider("n1", 0, now), Pace(store.load, 0.0, 10**9))
    await releaser.look(0)
    assert await store.sweeps.pauses(0) == []
    claimed = {c.id: c.reclaims for c in await store.claim(0)}
    assert claimed == {one.id: 255, two.id: 0}
    await store.link.command("HSET", b"fg:{0}:rec", one.id, sane)
    await sound(store)


class FreeRules(FakeRules):
    """Rules of a table without any."""

    def on_change(self, abort):
        pass


async def test_o8_an_account_contradicts_itself_at_no_moment_of_an_undo(open_store):
    store, reader = await open_store(), await open_store("api")
    await store.rules.confirm(1, NO_HEAD, (), {})
    for lane in range(store.lanes):
        await store.queues.accept(lane, [message() for _ in range(300)])
        claims = await store.claim(lane, most=300)
        await store.queues.settle(lane, [ended(one, Class.INTERCEPTED, stage="attempt", **SPARED) for one in claims])
    whole = 300 * store.lanes
    undo = asyncio.create_task(undo_all(store))
    seen = set()
    while not undo.done():
        said = await reader.books.account("r1", "red", now())
        counts, of_tag = said.counts, said.of_tag
        assert said.undoable == counts["intercepted:attempt"] == of_tag["intercepted:attempt"]
        assert counts.get("undone", 0) == of_tag.get("undone", 0) == of_tag["queued"]
        assert whole == counts["met"] == counts["intercepted:attempt"] + counts.get("undone", 0)
        assert (said.undo_until > now()) is (said.undoable > 0)
        seen.add(said.undoable)
        await asyncio.sleep(0)
    assert (await undo).reinstated == whole
    assert len(seen) > 3, "it was read while the undo was under way"
    await sound(store)
