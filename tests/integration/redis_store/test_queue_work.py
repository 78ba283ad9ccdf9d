"""Waiting mail listed, made due, and moved to another pool (O12): each step keeps the books, whatever crosses it."""

import asyncio
import random
import time

import msgspec
import pytest

from mta.model.entries import unframed
from mta.model.events import Event, EventType
from mta.model.ids import lane_of, message_of
from mta.model.mail import QueueKey, QueueShare
from mta.model.outcomes import Class
from mta.model.rules import Bound, Head, Kind, Rule, Selectors
from mta.orders.queue_work import QueueWorker
from mta.policy.rule_effect import is_counting
from mta.policy.rule_table import RuleTable
from mta.ports.queue_work import MailSelection, WorkPlace
from mta.ports.queueing import ClaimRequest, Settled
from mta.ports.sweeps import SweepMove
from mta.redis_store import keys
from mta.redis_store.checker import Checker
from mta.sweeps.sweep_moves import Decider
from mta.timing.clock import wall_ms
from tests.support.actors import ME
from tests.support.stores import DOMAIN, POOL, QUEUE, FewSites, ended, message, queued

LATER = 3_600_000  # ms
ALL = MailSelection()
START = WorkPlace()
_event = msgspec.msgpack.Decoder(Event).decode


def worker(store, *rules, generation=0):
    table = RuleTable.build(Head(generation, "x"), rules)

    async def current():
        return table

    return QueueWorker(store.queue_work, store.sweeps, store.load, current, FewSites(), "n1", 1 << 30)


def soon(seconds=20.0):
    return time.monotonic() + seconds


async def sound(store, **classes):
    report = await Checker(store.link, store.lanes).report()
    assert report.broken == []
    assert report.balanced
    for tag in ("", "red"):
        assert {name: count for name, count in report.recounted.get(tag, {}).items() if count} == classes, tag


async def waits(store, selection=ALL, most=100):
    page = await worker(store).waiting(selection, None, most)
    assert page.behind is None
    return page.deliveries


async def put_later(store, lane=0, **fields):
    """A delivery that was attempted once and waits for its next attempt."""
    [new] = [message(lane, **fields)]
    await store.queues.accept(lane, [new])
    queue = QueueKey(fields.get("pool", POOL), new.recipients[0].domain)
    [claimed] = await store.queues.claim(lane, [ClaimRequest(queue, 1, new.share)], 1 << 20)
    tried = msgspec.structs.replace(claimed.record, attempts=1, seq=claimed.record.seq + 1)
    assert await store.queues.settle(lane, [queued(claimed, wall_ms() + LATER, tried)]) == [Settled.OK]
    return claimed.id


async def events_of(store, lane=0):
    rows = await store.link.command("XRANGE", keys.lane_key(lane, b"events"), "-", "+")
    found = []
    for _, fields in rows:
        given = dict(zip(fields[::2], fields[1::2], strict=True))
        found += [_event(raw) for raw in unframed(given[b"e"], given.get(b"s", b"")) if raw != b"event"]
    return found


# The list


async def test_o12_waiting_mail_is_listed_by_queue_and_due_time_over_lanes_and_shares(open_store):
    store, now = await open_store(), wall_ms()
    for lane, at in ((0, 3), (1, 1), (2, 2)):
        await store.queues.accept(lane, [message(lane, due_at=now + LATER + at)])
    await store.queues.accept(3, [message(3, due_at=now + LATER, tenant="acme", priority=1)])
    await store.queues.accept(0, [message(0, to=("x@b.test",), due_at=now)])
    found = await waits(store)
    assert [one.queue.domain for one in found] == ["b.test", *[DOMAIN] * 4]
    assert [one.due_at - now - LATER for one in found[1:]] == [0, 1, 2, 3]
    assert found[1].share == "acme.1"
    assert [one.record.tenant for one in await waits(store, MailSelection(tenant="acme"))] == ["acme"]


@pytest.mark.parametrize("same_time", [True, False])
async def test_o12_pages_neither_repeat_nor_leave_out_a_delivery(open_store, same_time):
    store, now = await open_store(), wall_ms() + LATER
    for lane in range(4):
        some = [message(lane, due_at=now + (0 if same_time else random.randrange(20))) for _ in range(60)]
        await store.queues.accept(lane, some)
    await store.queues.accept(1, [message(1, to=("x@b.test",), due_at=now) for _ in range(9)])
    seen, behind = [], None
    while True:
        page = await worker(store).waiting(ALL, behind, 7)
        seen += page.deliveries
        behind = page.behind
        if behind is None:
            break
        assert len(page.deliveries) == 7
    assert [(one.queue, one.due_at, one.id) for one in seen] == sorted((o.queue, o.due_at, o.id) for o in seen)
    assert len({one.id for one in seen}) == len(seen) == 249


async def test_o12_a_page_goes_on_where_its_last_delivery_stood_although_that_one_has_gone(open_store):
    store = await open_store()
    await store.queues.accept(0, [message() for _ in range(10)])
    first = await worker(store).waiting(ALL, None, 4)
    gone = await store.claim(0, most=6)
    rest = await worker(store).waiting(ALL, first.behind, 10)
    assert len(rest.deliveries) == 4
    assert not {one.id for one in rest.deliveries} & {one.id for one in gone}
    await store.queues.settle(0, [ended(one) for one in gone])


async def test_o12_the_list_shows_the_mail_of_one_tag_pool_or_domain(open_store):
    store = await open_store()
    await store.queues.accept(0, [message(tags=("red", "x")), message(tags=("red",)), message(to=("a@b.test",))])
    await store.queues.accept(0, [message(pool="other")])
    assert len(await waits(store, MailSelection(tag="x"))) == 1
    assert len(await waits(store, MailSelection(domain="b.test"))) == 1
    assert [one.queue.domain for one in await waits(store, MailSelection(site="big"))] == ["b.test"]
    assert [one.queue.pool for one in await waits(store, MailSelection(pool="other"))] == ["other"]
    assert await waits(store, MailSelection(domain="c.test")) == []


# Retry


async def test_o12_a_retry_makes_waiting_mail_due_and_workers_claim_it(open_store):
    store = await open_store()
    ids = {await put_later(store, lane) for lane in (0, 1, 3)}
    ids.add(await put_later(store, 2, tenant="acme"))
    assert await store.claim(0) == []
    done = await worker(store).retry(MailSelection(domain=DOMAIN), START, soon())
    assert (done.moved, done.seen, done.rest) == (4, 4, None)
    claimed = [one for lane in (0, 1, 3) for one in await store.claim(lane)] + await store.claim(2, share="acme")
    assert {one.id for one in claimed} == ids
    await sound(store, queued=4)
    again = await worker(store).retry(ALL, START, soon())
    assert (again.moved, again.rest) == (0, None)


async def test_o12_after_a_retry_the_agenda_has_the_queue_as_due_now(open_store):
    store = await open_store()
    await put_later(store)
    assert await store.queues.agenda(0, [POOL], 10) == [], "it is due much later"
    await worker(store).retry(ALL, START, soon())
    [after] = await store.queues.agenda(0, [POOL], 10)
    assert after.at <= wall_ms()


async def test_o12_a_retry_keeps_the_time_that_a_sender_asked_for(open_store):
    store = await open_store()
    at = wall_ms() + LATER
    await store.queues.accept(0, [message(due_at=at)])
    tried = await put_later(store)
    done = await worker(store).retry(ALL, START, soon())
    assert done.moved == 1
    assert {one.id: one.due_at == at for one in await waits(store)}[tried] is False
    assert len([one for one in await waits(store) if one.due_at == at]) == 1


@pytest.mark.parametrize(
    "pick", [{"tag": "x"}, {"tenant": "acme"}, {"pool": "other"}, {"domain": "b.test"}, {"site": "big"}]
)
async def test_o12_a_retry_touches_what_is_selected_alone(open_store, pick):
    store = await open_store()
    await put_later(store)
    there = {"to": ("a@b.test",)}
    fields = {"tag": {"tags": ("x",)}, "domain": there, "site": there}.get(*pick, dict(pick))
    chosen = await put_later(store, **fields)
    done = await worker(store).retry(MailSelection(**pick), START, soon())
    assert done.moved == 1
    assert [one.id for one in await waits(store) if one.due_at <= wall_ms()] == [chosen]


async def test_o12_long_work_goes_on_where_it_stopped(open_store):
    store, later = await open_store(), wall_ms() + LATER
    for lane in range(4):
        await store.queues.accept(lane, [message(lane, pool="old") for _ in range(250)])
        for domain in ("b.test", "c.test"):
            await store.queues.accept(lane, [message(lane, pool="old", to=(f"a@{domain}",), due_at=later)])
    moved, rest, calls = 0, START, 0
    while rest is not None:
        done = await worker(store).move(MailSelection(pool="old"), "new", rest, 0.0)  # its time is over at once
        moved, rest, calls = moved + done.moved, done.rest, calls + 1
    assert moved == 1008
    assert calls > 12
    assert {one.queue.pool for one in await waits(store, most=2000)} == {"new"}
    await sound(store, queued=1008)


# Move


async def test_o12_moved_mail_keeps_its_due_time_its_share_and_its_counts(open_store):
    store = await open_store()
    later = await put_later(store, tenant="acme", priority=2)
    await store.queues.accept(0, [message()])
    before = {one.id: one for one in await waits(store)}
    done = await worker(store).move(MailSelection(pool=POOL), "new", START, soon())
    assert (done.moved, done.kept, done.rest) == (2, 0, None)
    after = {one.id: one for one in await waits(store)}
    assert {id_: (one.due_at, one.share) for id_, one in after.items()} == {
        id_: (one.due_at, one.share) for id_, one in before.items()
    }
    assert {one.queue for one in after.values()} == {QueueKey("new", DOMAIN)}
    assert after[later].record == msgspec.structs.replace(before[later].record, seq=before[later].record.seq + 1)
    await sound(store, queued=2)
    due = await store.queues.agenda(0, ["new"], 10)
    assert [(one.queue.pool, one.share) for one in due] == [("new", "")], "the other is due later"
    assert await store.queues.agenda(0, [POOL], 10) == []
    [claimed] = await store.queues.claim(0, [ClaimRequest(QueueKey("new", DOMAIN), 9)], 1 << 20)
    assert await store.queues.settle(0, [ended(claimed)]) == [Settled.OK]


async def test_o12_a_move_leaves_one_event_for_each_delivery(open_store):
    store = await open_store()
    await store.queues.accept(0, [message() for _ in range(3)])
    await worker(store).move(ALL, "new", START, soon())
    moved = [event for event in await events_of(store) if event.type is EventType.MOVED]
    assert {event.id for event in moved} == {one.id for one in await waits(store)}
    assert {(event.pool, event.reason, event.seq) for event in moved} == {("new", f"from pool {POOL}", 2)}


async def test_o12_held_mail_moves_and_stays_held_until_its_pause_is_lifted(open_store):
    store = await open_store()
    pause = Rule("p1", Selectors(pool=POOL), kind=Kind.PAUSE, generation=1)
    await store.queues.accept(0, [message(), message(tenant="acme")])
    table = RuleTable.build(Head(1, "x"), [pause])
    for share in ("", "acme"):
        page = (await store.sweeps.scan(0, QUEUE, 0, 100, share))[1]
        planned = Decider("n1", 0, wall_ms).decide(table, page)[SweepMove.HOLD]
        await store.sweeps.move(0, "", SweepMove.HOLD, 1, planned)
    done = await worker(store, pause, generation=1).move(MailSelection(pool=POOL), "new", START, soon())
    assert (done.moved, done.kept) == (2, 0)
    await sound(store, held=2)
    found = await store.messages.show(message_of((await store.sweeps.first_held(0, "p1", 5))[0].id))
    assert [(one.state, one.pool) for one in found] == [(Class.HELD, "new")]
    page = await store.sweeps.first_held(0, "p1", 5)
    free = Decider("n1", 0, wall_ms).decide(RuleTable.empty(), page, "p1")[SweepMove.RELEASE]
    await store.sweeps.move(0, "p1", SweepMove.RELEASE, 1, free)
    assert {one.queue.pool for one in await waits(store)} == {"new"}
    await sound(store, queued=2)


@pytest.mark.parametrize(
    "rule",
    [
        Rule("r", Selectors(pool="new"), 554, generation=1),
        Rule("r", Selectors(pool=POOL), 554, generation=1),
        Rule("r", Selectors(tag="red"), kind=Kind.PAUSE, generation=1),
    ],
    ids=["ends_there", "ends_here", "holds"],
)
async def test_o12_mail_that_a_rule_decides_about_stays_for_its_sweep(open_store, rule):
    store = await open_store()
    await store.queues.accept(0, [message()])
    done = await worker(store, rule, generation=1).move(ALL, "new", START, soon())
    assert (done.moved, done.seen, done.kept) == (0, 1, 1)
    assert [one.queue for one in await waits(store)] == [QUEUE]


async def test_o12_a_rule_of_4xx_keeps_no_mail(open_store):
    store = await open_store()
    await store.queues.accept(0, [message()])
    defers = Rule("r", Selectors(tag="red"), 450, generation=1)
    assert (await worker(store, defers, generation=1).move(ALL, "new", START, soon())).moved == 1


async def test_a_move_decided_by_a_table_below_the_barrier_is_decided_again(open_store):
    store = await open_store()
    await store.queues.accept(0, [message()])
    await store.rules.raise_barrier(2)
    rule = Rule("r", Selectors(pool="new"), 554, generation=2)
    tables = [RuleTable.build(Head(1, "x"), []), RuleTable.build(Head(2, "y"), [rule])]

    async def current():
        return tables.pop(0) if len(tables) > 1 else tables[0]

    work = QueueWorker(store.queue_work, store.sweeps, store.load, current, FewSites(), "n1", 1 << 30)
    done = await work.move(ALL, "new", START, soon())
    assert (done.moved, done.kept) == (0, 1), "the newer table has a rule for the new pool"


# Calls that cross


async def test_a_delivery_that_was_claimed_since_it_was_read_is_left_to_its_worker(open_store):
    store = await open_store()
    await store.queues.accept(0, [message()])
    [seen] = await waits(store)
    of = QueueShare(seen.queue)
    [claimed] = await store.claim(0)
    change = worker(store)._change(seen, "new", wall_ms())
    assert await store.queue_work.change_pool(0, "", 0, "new", of, [change]) == 0
    assert await store.queue_work.make_due(0, of, wall_ms() + LATER, [seen]) == 0
    assert [event for event in await events_of(store) if event.type is EventType.MOVED] == []
    assert await store.queues.settle(0, [ended(claimed)]) == [Settled.OK]


async def test_only_deliveries_that_moved_leave_an_event(open_store):
    store = await open_store()
    await store.queues.accept(0, [message(), message()])
    seen = await waits(store)
    [claimed] = await store.claim(0, most=1)
    changes = [worker(store)._change(one, "new", wall_ms()) for one in seen]
    assert await store.queue_work.change_pool(0, "", 0, "new", QueueShare(seen[0].queue), changes) == 1
    [moved] = [event for event in await events_of(store) if event.type is EventType.MOVED]
    assert moved.id not in (None, claimed.id)
    assert await store.queues.settle(0, [ended(claimed)]) == [Settled.OK]


async def test_a_lost_answer_may_be_asked_for_again_and_moves_nothing_twice(open_store):
    store = await open_store()
    await store.queues.accept(0, [message()])
    [seen] = await waits(store)
    change = worker(store)._change(seen, "new", wall_ms())
    of = QueueShare(seen.queue)
    assert await store.queue_work.change_pool(0, "", 0, "new", of, [change]) == 1
    assert await store.queue_work.change_pool(0, "", 0, "new", of, [change]) == 0
    await sound(store, queued=1)


@pytest.mark.parametrize("seed", range(4))
async def test_o12_work_crosses_claims_sweeps_and_cancels_and_the_books_stay_sound(open_store, seed):
    """Mail goes to and fro between two pools while workers claim and settle it, a sweep ends some and single messages
    are canceled: nothing is lost, nothing ends twice."""
    store, chance = await open_store(), random.Random(seed)
    batches = {
        lane: [message(lane, tags=("red", chance.choice("ab")), tenant=chance.choice(("", "acme"))) for _ in range(90)]
        for lane in range(4)
    }
    for lane, batch in batches.items():
        await store.queues.accept(lane, batch)
    rule = Rule("r1", Selectors(tag="a"), 554, generation=1)
    table = RuleTable.build(Head(1, "x"), [rule])
    delivered, canceled = 0, 0
    over = asyncio.Event()

    async def move():
        pools = [POOL, "new"]
        while not over.is_set():
            await worker(store, generation=1).move(MailSelection(pool=pools[0]), pools[1], START, soon())
            await worker(store).retry(ALL, START, soon())
            pools.reverse()

    async def deliver():
        nonlocal delivered
        for _ in range(60):
            lane = chance.randrange(4)
            wants = [ClaimRequest(QueueKey(pool, DOMAIN), 2, share) for pool in (POOL, "new") for share in ("", "acme")]
            some = await store.queues.claim(lane, wants, 1 << 20)
            await asyncio.sleep(0.002)
            ends = [one for one in some if one.record.attempts or chance.random() < 0.6]
            tries = [one for one in some if one not in ends]
            changes = [ended(one) for one in ends]
            changes += [
                queued(one, wall_ms() + 50, msgspec.structs.replace(one.record, attempts=1, seq=one.record.seq + 1))
                for one in tries
            ]
            if changes:
                answers = await store.queues.settle(lane, changes)
                delivered += answers[: len(ends)].count(Settled.OK)
                redo = [one for one, said in zip(ends + tries, answers, strict=True) if said is Settled.CANCEL]
                assert not [said for said in answers if said is Settled.STALE]
                if redo:
                    await store.queues.settle(lane, [ended(one, Class.CANCELED) for one in redo])

    async def sweep():
        for _ in range(3):
            for lane in range(4):
                for pool in await store.sweeps.pools():
                    for queue, share in await store.sweeps.queues(lane, pool):
                        page = (await store.sweeps.scan(lane, queue, 0, 100, share))[1]
                        for how, some in Decider("n1", 0, wall_ms).decide(table, page).items():
                            await store.sweeps.move(lane, "", how, 1, some[:100])

    async def cancel():
        nonlocal canceled
        for lane in range(4):
            for one in chance.sample(batches[lane], 5):
                [after] = await store.messages.cancel(one.id, ME, 0.0)
                canceled += after.state is Class.CANCELED

    mover = asyncio.ensure_future(move())
    await asyncio.gather(deliver(), sweep(), cancel())
    over.set()
    await mover
    total = await store.books.total()
    assert total["accepted"] == 360
    assert total["delivered"] >= delivered > 0
    assert total["intercepted:queued"] > 0
    assert total.get("canceled", 0) >= canceled
    await sound(store, queued=total["queued"])
    ids = {one.id for one in await waits(store, most=1000)}
    assert len(ids) == total["queued"], {lane_of(message_of(id_)) for id_ in ids}


async def test_o12_held_mail_that_an_order_with_a_bound_counts_stays(open_store):
    store = await open_store()
    pause = Rule("p1", Selectors(pool=POOL), kind=Kind.PAUSE, generation=1)
    await store.queues.accept(0, [message()])
    page = (await store.sweeps.scan(0, QUEUE, 0, 100))[1]
    planned = Decider("n1", 0, wall_ms).decide(RuleTable.build(Head(1, "x"), [pause]), page)[SweepMove.HOLD]
    await store.sweeps.move(0, "", SweepMove.HOLD, 1, planned)
    counting = Rule("b1", Selectors(tag="red"), 554, kind=Kind.PAUSE, generation=2, bound=Bound(max_matches=5))
    assert is_counting(counting)
    done = await worker(store, pause, counting, generation=2).move(ALL, "new", START, soon())
    assert (done.moved, done.kept) == (0, 1)
    assert (await worker(store, pause, generation=2).move(ALL, "new", START, soon())).moved == 1
