"""Held, spared and canceled deliveries in the store: places, books, and the checker's report."""

import time

import msgspec
import pytest

from mta.model.endings import Final
from mta.model.ids import DeliveryId
from mta.model.outcomes import Class, Stage
from mta.model.rules import NO_HEAD, Rule, Selectors
from mta.orders.order_book import OrderBook
from mta.orders.undo import UndoRuns
from mta.ports.queueing import Move, Settled
from mta.ports.sweeps import MoveAnswer, PlannedMove, SweepMove
from mta.redis_store import keys
from mta.redis_store.checker import Checker
from tests.support.actors import ME
from tests.support.stores import QUEUE, ended, message, queued


async def sound(store):
    report = await Checker(store.link, store.lanes).report()
    assert not report.broken
    assert report.balanced
    return report


async def hold(store, lane=0, pause="p1", generation=1):
    """Everything of the queue, by the sweep's step."""
    _, page = await store.sweeps.scan(lane, QUEUE, 0, 1000)
    matches = [
        PlannedMove(
            q.id,
            QUEUE,
            pause,
            q.record.tags,
            b"hold",
            False,
            q.record.deferred_by,
            msgspec.structs.replace(q.record, held_at=5, deferred_by=""),
            q.reclaims,
            raw=q.raw,
        )
        for q in page
    ]
    return await store.sweeps.move(lane, "", SweepMove.HOLD, generation, matches)


async def test_a_sweep_holds_and_releases_at_the_due_time(open_store):
    store = await open_store()
    batch = [message(due_at=1000 + n) for n in range(30)]
    await store.queues.accept(0, batch)
    assert await hold(store) == (MoveAnswer.OK, 30)
    await sound(store)
    assert (await store.books.tag("red")) | {"accepted": 30} == {"accepted": 30, "queued": 0, "held": 30}
    assert (await store.books.rule("p1"))["held"] == 30
    assert await store.sweeps.pauses(0) == ["p1"]
    assert await store.claim(0) == []
    page = await store.sweeps.first_held(0, "p1", 10)
    assert [q.due_at for q in page] == list(range(1000, 1010))
    assert all(q.queue == QUEUE and q.record.held_at == 5 for q in page)
    page = await store.sweeps.first_held(0, "p1", 100)
    free = [PlannedMove(q.id, q.queue, "", q.record.tags, b"release", False, "", q.record, 0, raw=q.raw) for q in page]
    assert (await store.sweeps.move(0, "p1", SweepMove.RELEASE, 1, free)) == (MoveAnswer.OK, 30)
    assert (await store.sweeps.move(0, "p1", SweepMove.RELEASE, 1, free)) == (MoveAnswer.OK, 0)
    await sound(store)
    rule = await store.books.rule("p1")
    assert (rule["met"], rule["held"], rule["other"]) == (30, 0, 30)
    assert await store.sweeps.pauses(0) == []
    assert len(await store.claim(0)) == 30


async def test_what_a_sweep_leaves_alone_has_no_event(open_store):
    store = await open_store()
    await store.queues.accept(0, [message(due_at=1000 + n) for n in range(4)])
    _, page = await store.sweeps.scan(0, QUEUE, 0, 1000)
    found = [
        PlannedMove(q.id, QUEUE, "r1", q.record.tags, b"event %d" % at, False, final=b"final", raw=q.raw)
        for at, q in enumerate(page)
    ]
    found[1] = found[1]._replace(raw=b"another record")
    gone = found[2]._replace(id=DeliveryId(bytes(18)))
    answer = await store.sweeps.move(0, "", SweepMove.INTERCEPT, 1, [*found[:2], gone, found[3]])
    assert answer == (MoveAnswer.OK, 2)
    assert (await store.outbox.read(0, "0-0", 2**20)).entries[-1].events == (b"event 0", b"event 3")
    await sound(store)


async def test_a_worker_holds_what_it_had_claimed(open_store):
    store = await open_store()
    await store.queues.accept(0, [message() for _ in range(3)])
    one, two, three = await store.claim(0)
    record = msgspec.structs.replace(one.record, held_at=7)
    await store.rules.raise_barrier(3)
    old = queued(one, 5, record, move=Move.HOLD, rule="p1", generation=2)
    fresh = queued(two, 5, record, move=Move.HOLD, rule="p1", generation=3)
    assert await store.queues.settle(0, [old, fresh]) == [Settled.OLD_RULES, Settled.OK]
    await sound(store)
    [held] = await store.sweeps.first_held(0, "p1", 10)
    assert (held.id, held.due_at, held.record.held_at) == (two.id, 5, 7)
    rule = await store.books.rule("p1")
    assert (rule["met"], rule["held"], rule["hits"]) == (1, 1, 1)
    assert await store.queues.settle(0, [ended(one), ended(three)]) == [Settled.OK, Settled.OK]
    await sound(store)


async def test_what_a_pause_holds_is_ended_by_a_forced_error(open_store):
    store = await open_store()
    await store.queues.accept(0, [message() for _ in range(4)])
    await hold(store)
    _, page = await store.sweeps.scan_held(0, "p1", 0, 100)
    matches = [
        PlannedMove(q.id, q.queue, rule, q.record.tags, b"e", False, raw=q.raw)
        for q, rule in zip(page, "rrr1", strict=True)
    ]
    matches[-1] = matches[-1]._replace(rule="p1")  # the pause was made a forced error
    assert await store.sweeps.move(0, "p1", SweepMove.INTERCEPT, 1, matches) == (MoveAnswer.OK, 4)
    await sound(store)
    pause, rule = await store.books.rule("p1"), await store.books.rule("r")
    assert (pause["met"], pause["held"], pause["other"], pause["intercepted:queued"]) == (4, 0, 3, 1)
    assert (rule["met"], rule["intercepted:queued"]) == (3, 3)


@pytest.mark.parametrize("early", [True, False])
async def test_what_is_spared_keeps_record_and_content_until_its_time(open_store, early):
    store = await open_store()
    batch = [message(), message(to=("a@example.com", "b@example.com"))]
    await store.queues.accept(0, batch)
    spare = 60_000 if early else 1
    one, *others = await store.claim(0)
    final = msgspec.msgpack.encode(Final("a@example.com", 5))
    more = {"stage": "attempt", "rule": "r1", "final": final}
    await store.queues.settle(0, [ended(one, Class.INTERCEPTED, spare_ms=spare, **more)])
    await store.queues.settle(0, [queued(c, 5) for c in others])
    _, page = await store.sweeps.scan(0, QUEUE, 0, 100)
    matches = [
        PlannedMove(q.id, QUEUE, "r1", q.record.tags, b"e", True, final=final, spare_ms=spare, raw=q.raw) for q in page
    ]
    await store.sweeps.move(0, "", SweepMove.INTERCEPT, 1, matches)
    await sound(store)
    assert await store.undo_copies.rules(0) == ["r1"]
    while not early and await store.undo_copies.drop(0, "r1", 0) == 0:
        if int(await store.link.command("ZCOUNT", b"fg:{0}:spared:r1", "-inf", int(time.time() * 1000) - 2)) == 3:
            break
    dropped = [await store.undo_copies.drop(0, "r1", 2, early) for _ in range(3)]
    assert dropped == [2, 1, 0]
    await sound(store)
    assert await store.undo_copies.rules(0) == []
    for name in (b"rec", b"content", b"refs"):
        assert await store.link.command("EXISTS", keys.lane_key(0, name)) == 0


async def test_a_late_delivery_takes_back_what_was_spared_or_canceled(open_store):
    dead, live = await open_store("n1"), await open_store("n2")
    await dead.queues.accept(0, [message() for _ in range(2)])
    late = await dead.claim(0)
    assert await live.queues.reclaim(0, dead.session.id, 10) == 2
    spared, canceled = await live.claim(0)
    await live.queues.settle(
        0,
        [
            ended(spared, Class.INTERCEPTED, stage="attempt", rule="r1", uncertain=True, spare_ms=60_000),
            ended(canceled, Class.CANCELED, uncertain=True),
        ],
    )
    await sound(live)
    came = [ended(c, late_event=b"late", delivered_late=True, final=b"f") for c in late]
    assert await dead.queues.settle(0, came) == [Settled.STALE] * 2
    await sound(live)
    books = await live.books.tag("red")
    assert (books["delivered"], books["intercepted:attempt"], books["canceled"], books["uncertain"]) == (2, 0, 0, 0)


async def test_a_marked_delivery_does_not_live_on(open_store):
    store = await open_store()
    await store.queues.accept(0, [message() for _ in range(2)])
    one, two = await store.claim(0)
    for claimed in (one, two):
        await store.link.command("HSET", b"fg:{0}:cancels", claimed.id, "5|ops | (t1)")
    put_back = [queued(one, 5), queued(two, 5, move=Move.HOLD, rule="p1", generation=1)]
    assert await store.queues.settle(0, put_back) == [Settled.CANCEL] * 2
    assert [change.canceled_by for change in put_back] == ["ops | (t1)"] * 2
    assert await store.queues.settle(0, [ended(one, Class.CANCELED)]) == [Settled.OK]
    assert await store.queues.reclaim(0, store.session.id, 10) == 1
    other = await open_store("n2")
    [again] = await other.claim(0)
    assert (again.id, again.canceled_by, again.reclaims) == (two.id, "ops | (t1)", 1)
    assert await other.queues.settle(0, [ended(again, Class.CANCELED, uncertain=True)]) == [Settled.OK]
    await sound(store)
    assert await store.link.command("EXISTS", b"fg:{0}:cancels") == 0
    assert (await store.books.tag("red"))["canceled"] == 2


async def undone(store, wall=None):
    """An undo of r1, as it is now."""
    orders = OrderBook(store.rules, store.sweeps)
    undo = UndoRuns(
        orders, store.rules, store.undo_copies, "n1", 600_000, wall=wall or (lambda: int(time.time() * 1000))
    )
    rules = {rule.id: rule for rule in (await store.rules.load())[1]}
    try:
        return await undo.undo("r1", rules.get("r1"), ME, 60.0)
    finally:
        await undo.stop()
        await orders.stop()


async def test_an_undo_puts_each_back_once_and_where_it_was_scheduled(open_store):
    store = await open_store()
    await store.rules.confirm(1, NO_HEAD, (), {})
    later = int(time.time() * 1000) + 3_600_000
    await store.queues.accept(0, [message(), message(to=("a@example.com", "b@example.com"))])
    await store.queues.accept(0, [message(due_at=later)])
    one, two = await store.claim(0, most=2)
    final = msgspec.msgpack.encode(Final("a@example.com", 5))
    more = {"rule": "r1", "final": final, "spare_ms": 600_000}
    await store.queues.settle(
        0,
        [
            ended(one, Class.INTERCEPTED, stage="attempt", **more),
            ended(two, Class.INTERCEPTED, stage="before_dot", uncertain=True, **more),
        ],
    )
    _, page = await store.sweeps.scan(0, QUEUE, 0, 100)
    matches = [
        PlannedMove(q.id, QUEUE, "r1", q.record.tags, b"e", False, final=final, spare_ms=600_000, raw=q.raw)
        for q in page
    ]
    await store.sweeps.move(0, "", SweepMove.INTERCEPT, 1, matches)
    await sound(store)
    assert await store.undo_copies.count("r1", later - 3_600_000) == 4
    spared = await store.undo_copies.copies(0, "r1", 10)
    assert {(s.stage, s.uncertain) for s in spared} == {
        (Stage.ATTEMPT, False),
        (Stage.BEFORE_DOT, True),
        (Stage.QUEUED, False),
    }
    done = await undone(store)
    assert (done.effect, done.reinstated, done.left, done.done) == (None, 4, 0, True)
    await sound(store)
    books, rule = await store.books.tag("red"), await store.books.rule("r1")
    assert (books["queued"], books["intercepted:attempt"], books["intercepted:queued"], books["uncertain"]) == (
        4,
        0,
        0,
        0,
    )
    assert (rule["met"], rule["undone"], rule.get("other", 0), rule["uncertain"]) == (4, 4, 0, 0)
    assert books["undone"] == 4
    _, page = await store.sweeps.scan(0, QUEUE, 0, 100)
    assert sorted(q.due_at > time.time() * 1000 for q in page) == [False, False, False, True]
    assert [q.id for q in page if q.record.uncertain] == [two.id]
    ended_keys = await store.link.scan(b"fg:{0}:ended:", 0, 1000)
    assert ended_keys[1] == []
    assert await undone(store) is None


async def test_an_undo_disables_the_rule_first_and_what_was_ended_grows_no_older(open_store):
    store = await open_store()
    await store.queues.accept(0, [message()])
    await store.rules.put(Rule("r1", Selectors(tag="red"), 554), "c1")
    [claimed] = await store.claim(0)
    more = {"stage": "attempt", "rule": "r1", "final": b"", "spare_ms": 600_000}
    await store.queues.settle(0, [ended(claimed, Class.INTERCEPTED, **more)])
    [spared] = await store.undo_copies.copies(0, "r1", 10)
    done = await undone(store, lambda: spared.until - 600_000 + 5000)
    assert (done.effect.rule.enabled, done.effect.rule.generation, done.reinstated) == (False, 2, 1)
    assert await store.link.command("HGET", b"fg:{0}:lane", "barrier") == b"2"
    _, [back] = await store.sweeps.scan(0, QUEUE, 0, 10)
    assert back.record.expires_at == claimed.record.expires_at + 5000
