"""Mail with a tenant or a priority waits in shares of its queue: every step that moves mail finds it there and keeps it
there, and the checker agrees after each."""

import random

import msgspec
import pytest

from mta.model.endings import Final
from mta.model.ids import lane_of, message_of
from mta.model.mail import QueueKey, QueueShare
from mta.model.outcomes import Class, Stage
from mta.model.rules import Kind, Rule, Selectors
from mta.policy.rule_table import RuleTable
from mta.ports.messages import Place
from mta.ports.queueing import UNDECIDED, Move, Settled
from mta.ports.sweeps import MoveAnswer, SweepMove
from mta.ports.undo import Reinstatement
from mta.redis_store import keys
from mta.redis_store.checker import Checker
from mta.sweeps.sweep_moves import Decider
from mta.timing.clock import wall_ms
from tests.support.actors import ME
from tests.support.stores import POOL, QUEUE, ended, message, queued

FIELDS = {"acme": {"tenant": "acme"}, ".2": {"priority": 2}, "acme.1": {"tenant": "acme", "priority": 1}}
SHARES = pytest.mark.parametrize("share", FIELDS)
FINAL = msgspec.msgpack.encode(Final("a@example.com", 5))


async def sound(store, **classes):
    report = await Checker(store.link, store.lanes).report()
    assert report.broken == []
    assert report.balanced
    for tag in ("", "red"):
        found = {name: count for name, count in report.recounted.get(tag, {}).items() if count}
        assert found == classes, (tag, found)


async def waits_in(store, share):
    """The queue's shares that have something due."""
    shares = [due.share for due in await store.queues.agenda(0, [POOL], 10) if due.queue == QUEUE]
    assert shares == ([share] if share is not None else [])


async def scan(store, share):
    return (await store.sweeps.scan(0, QUEUE, 0, 100, share))[1]


def decider(*rules):
    table = RuleTable.empty()
    return Decider("n1", 600_000, wall_ms), table.rebuilt(table.head, list(rules))


@SHARES
async def test_a_message_is_queued_claimed_retried_and_delivered_in_its_share(open_store, share):
    store = await open_store()
    await store.queues.accept(0, [message(**FIELDS[share])])
    await sound(store, queued=1)
    await waits_in(store, share)
    assert await store.claim(0) == []
    [claimed] = await store.claim(0, share=share)
    assert (claimed.queue, claimed.share, claimed.record.share) == (QUEUE, share, share)
    await sound(store, queued=1)
    await waits_in(store, None)
    changed = msgspec.structs.replace(claimed.record, attempts=1)
    assert await store.queues.settle(0, [queued(claimed, 5, changed)]) == [Settled.OK]
    await waits_in(store, share)
    [again] = await store.claim(0, share=share)
    assert (again.record.attempts, again.record.priority) == (1, FIELDS[share].get("priority", 0))
    assert await store.queues.settle(0, [ended(again)]) == [Settled.OK]
    await sound(store)
    assert await store.link.command("EXISTS", keys.shares_key(b"fg:{0}:", POOL.encode())) == 0
    assert (await store.books.tag("red"))["delivered"] == 1


async def test_shares_of_one_queue_are_claimed_apart_and_a_plain_message_is_as_ever(open_store):
    store = await open_store()
    await store.queues.accept(0, [message(), *(message(**fields) for fields in FIELDS.values())])
    assert {due.share for due in await store.queues.agenda(0, [POOL], 10)} == {"", *FIELDS}
    assert await store.sweeps.pools() == [POOL]
    assert set(await store.sweeps.queues(0, POOL)) == {QueueShare(QUEUE, share) for share in ("", *FIELDS)}
    [plain] = await store.claim(0)
    assert (plain.share, plain.record.share) == ("", "")
    assert await store.link.command("HGET", keys.claimed_key(b"fg:{0}:", store.session.id.encode()), plain.id) == (
        b"%b|default|example.com" % plain.token
    )
    await sound(store, queued=4)


async def test_accept_claims_in_a_share_that_has_nothing_older(open_store):
    store = await open_store()
    await store.queues.accept(0, [message(), message(tenant="acme")])
    urgent, older = message(priority=2), message(tenant="acme")
    room = {QueueShare(QUEUE, ".2"): 1, QueueShare(QUEUE, "acme"): 1, QueueShare(QUEUE): 1}
    claimed = await store.queues.accept(0, [urgent, older, message()], UNDECIDED, room)
    assert list(claimed) == [QueueShare(QUEUE, ".2")]
    [one] = claimed[QueueShare(QUEUE, ".2")]
    assert (one.share, message_of(one.id)) == (".2", urgent.id)
    await sound(store, queued=5)
    assert await store.queues.settle(0, [ended(one)]) == [Settled.OK]
    await sound(store, queued=4)


@SHARES
async def test_lost_claims_go_back_to_the_share(open_store, share):
    store, other = await open_store(), await open_store("n2")
    await store.queues.accept(0, [message(**FIELDS[share]) for _ in range(3)])
    [_, _, _] = await store.claim(0, share=share)
    assert await other.queues.reclaim(0, store.session.id, 10) == 3
    await sound(store, queued=3)
    await waits_in(other, share)
    assert len(await other.claim(0, share=share)) == 3
    await other.queues.farewell()
    await sound(store, queued=3)
    await waits_in(store, share)


@SHARES
async def test_a_pause_holds_and_releases_in_the_share(open_store, share):
    store = await open_store()
    await store.queues.accept(0, [message(**FIELDS[share]) for _ in range(3)])
    decide, table = decider(Rule("p1", Selectors(tag="red"), kind=Kind.PAUSE))
    [(move, matches)] = decide.decide(table, await scan(store, share)).items()
    assert move is SweepMove.HOLD
    assert await store.sweeps.move(0, "", move, 0, matches) == (MoveAnswer.OK, 3)
    await sound(store, held=3)
    await waits_in(store, None)
    [counts] = await store.books.queues()
    assert (counts.queue, counts.held) == (QUEUE, 3)
    page = await store.sweeps.first_held(0, "p1", 10)
    assert {(one.queue, one.share) for one in page} == {(QUEUE, share)}
    [(move, matches)] = decide.decide(RuleTable.empty(), page, "p1").items()
    assert await store.sweeps.move(0, "p1", move, 0, matches) == (MoveAnswer.OK, 3)
    await sound(store, queued=3)
    await waits_in(store, share)


@SHARES
async def test_a_worker_holds_parks_and_intercepts_in_the_share(open_store, share):
    store = await open_store()
    await store.queues.accept(0, [message(**FIELDS[share]) for _ in range(3)])
    one, two, three = await store.claim(0, share=share)
    more = {"stage": "attempt", "rule": "r1", "final": FINAL, "spare_ms": 600_000}
    changes = [
        queued(one, 5, one.record, move=Move.HOLD, rule="p1"),
        queued(two, 5, move=Move.PARK),
        ended(three, Class.INTERCEPTED, **more),
    ]
    assert await store.queues.settle(0, changes) == [Settled.OK] * 3
    await sound(store, held=1, parked=1)
    [held] = await store.sweeps.first_held(0, "p1", 10)
    [copy] = await store.undo_copies.copies(0, "r1", 10)
    assert (held.share, copy.share, copy.queue) == (share, share, QUEUE)
    places = [(await store.message_store.find(message_of(each.id), 1))[0] for each in (one, two, three)]
    assert [found.place for found in places] == [Place.HELD, Place.PARKED, Place.SPARED]
    assert {(found.queue, found.share) for found in places} == {(QUEUE, share)}


@SHARES
async def test_an_undo_returns_mail_to_its_share(open_store, share):
    store = await open_store()
    await store.queues.accept(0, [message(**FIELDS[share]) for _ in range(2)])
    decide, table = decider(Rule("r1", Selectors(tag="red"), 554))
    [(move, matches)] = decide.decide(table, await scan(store, share)).items()
    assert await store.sweeps.move(0, "", move, 0, matches) == (MoveAnswer.OK, 2)
    await sound(store)
    await waits_in(store, None)
    copies = await store.undo_copies.copies(0, "r1", 10)
    assert {(one.stage, one.share) for one in copies} == {(Stage.QUEUED, share)}
    assert await store.undo_copies.kept(0, "r1", copies) == {one.id for one in copies}
    back = [Reinstatement(one, one.record, 5, b"e") for one in copies]
    assert await store.undo_copies.reinstate(0, "r1", back) == 2
    await sound(store, queued=2)
    await waits_in(store, share)


@SHARES
@pytest.mark.parametrize("where", ["due", "held", "claimed"])
async def test_a_message_of_a_share_is_found_and_canceled(open_store, share, where):
    store = await open_store()
    sent = message(**FIELDS[share])
    await store.queues.accept(0, [sent])
    if where == "held":
        decide, table = decider(Rule("p1", Selectors(tag="red"), kind=Kind.PAUSE))
        [(move, matches)] = decide.decide(table, await scan(store, share)).items()
        await store.sweeps.move(0, "", move, 0, matches)
    claimed = await store.claim(0, share=share) if where == "claimed" else []
    [found] = await store.message_store.find(sent.id, 1)
    assert (found.place.value, found.queue, found.share) == (where, QUEUE, share)
    [status] = await store.messages.cancel(sent.id, ME, 0.0)
    if where == "claimed":
        assert status.asked_at
        assert await store.queues.settle(0, [queued(claimed[0], 5)]) == [Settled.CANCEL]
        assert await store.queues.settle(0, [ended(claimed[0], Class.CANCELED)]) == [Settled.OK]
    else:
        assert status.state is Class.CANCELED
    await sound(store)
    await waits_in(store, None)
    assert (await store.books.tag("red"))["canceled"] == 1


async def test_the_books_of_a_queue_sum_its_shares(open_store):
    store = await open_store()
    later = wall_ms() + 3_600_000
    every = [{}, *FIELDS.values()]
    for lane in range(store.lanes):
        await store.queues.accept(lane, [message(lane, **fields) for fields in every])
    await store.queues.accept(0, [message(0, due_at=later, **fields) for fields in every])
    await store.claim(0, share=".2")
    [counts] = await store.books.queues()
    many = len(every) * store.lanes
    assert (counts.queue, counts.due, counts.scheduled) == (QUEUE, many - 1, len(every))
    depth = (await store.books.depths())[POOL]
    assert (depth.due, depth.scheduled) == (many - 1, len(every))
    assert await store.books.unmet(["example.com", "*.com", "other.example"]) == ["other.example"]
    await store.queues.accept(1, [message(1, to=("x@only.example",), tenant="shop")])
    assert [one.queue.domain for one in await store.books.queues()] == ["example.com", "only.example"]
    assert await store.books.unmet(["only.example"]) == []
    await store.queues.accept(1, [message(1, pool="quiet", due_at=later, tenant="shop")])
    assert await store.books.earliest(["quiet"]) == {"quiet": later}


async def test_a_tag_is_counted_in_total_and_for_each_tenant(open_store):
    store = await open_store()
    await store.queues.accept(0, [message(tenant="acme"), message(tenant="shop"), message()])
    await store.queues.accept(1, [message(1, tenant="acme", priority=1)])
    assert (await store.books.tag("red"))["accepted"] == 4
    assert (await store.books.tag("red", "acme"))["accepted"] == 2
    assert (await store.books.tag("red", "shop")) == {"accepted": 1, "queued": 1}
    assert await store.books.tag("red", "nobody") == {}
    assert (await store.books.tags(10, ""))[0].count("red") == 2  # once a lane
    assert set((await store.books.tags(10, ""))[0]) == {"red"}
    [claimed] = await store.claim(0, share="acme")
    await store.queues.settle(0, [ended(claimed)])
    assert (await store.books.tag("red", "acme")) == {"accepted": 2, "queued": 1, "delivered": 1}
    assert (await store.books.tag("red"))["delivered"] == 1
    await sound(store, queued=3)


@pytest.mark.parametrize("seed", range(3))
async def test_any_order_of_steps_keeps_the_books(open_store, seed):
    """A walk by chance over all steps, with several shares and domains."""
    chance, store = random.Random(seed), await open_store()
    shares, domains = ["", *FIELDS], ["example.com", "example.net"]
    decide, pausing = decider(Rule("p1", Selectors(tag="red"), kind=Kind.PAUSE))
    _, ending = decider(Rule("r1", Selectors(tag="red"), 554))
    claimed = []
    for _ in range(60):
        share, queue = chance.choice(shares), QueueKey(POOL, chance.choice(domains))
        step = chance.randrange(7)
        if step <= 1:
            fields = FIELDS.get(share, {})
            to = tuple(f"{at}@{queue.domain}" for at in range(chance.randint(1, 3)))
            room = {QueueShare(queue, share): chance.randint(0, 2)}
            claims = await store.queues.accept(0, [message(to=to, **fields) for _ in range(3)], UNDECIDED, room)
            claimed += [one for some in claims.values() for one in some]
        elif step == 2:
            claimed += await store.claim(0, chance.randint(1, 4), share=share)
        elif step == 3 and claimed:
            one = claimed.pop(chance.randrange(len(claimed)))
            more = {"stage": "attempt", "rule": "r1", "final": FINAL, "spare_ms": 600_000}
            way = chance.choice([ended(one), queued(one, 5), queued(one, 5, one.record, move=Move.HOLD, rule="p1"),
                                 ended(one, Class.INTERCEPTED, **more)])  # fmt: skip
            assert await store.queues.settle(0, [way]) == [Settled.OK]
        elif step == 4:
            _, page = await store.sweeps.scan(0, queue, 0, 100, share)
            for move, matches in decide.decide(chance.choice([pausing, ending]), page[:3]).items():
                await store.sweeps.move(0, "", move, 0, matches)
        elif step == 5:
            page = await store.sweeps.first_held(0, "p1", 3)
            for move, matches in decide.decide(RuleTable.empty(), page, "p1").items():
                await store.sweeps.move(0, "p1", move, 0, matches)
        else:
            some = await store.undo_copies.copies(0, "r1", 2)
            if some:
                await store.undo_copies.reinstate(0, "r1", [Reinstatement(one, one.record, 5, b"") for one in some])
        report = await Checker(store.link, store.lanes).report()
        assert report.broken == []
        assert report.balanced
    assert all(lane_of(message_of(one.id)) == 0 for one in claimed)
