"""One message in the store: where its deliveries stand, and its cancellation from every place they can be in."""

import asyncio
import random
import time

import msgspec
import pytest

from mta.model.endings import Final
from mta.model.events import Event, EventType, OrderedEvent
from mta.model.ids import message_of, new_message_id
from mta.model.mail import QueueKey
from mta.model.outcomes import Class, Reply
from mta.model.rules import NO_HEAD
from mta.ports.queueing import ClaimRequest, Move, Settled
from mta.ports.sweeps import PlannedMove, SweepMove
from mta.redis_store import keys
from mta.redis_store.checker import Checker
from tests.support.actors import ME
from tests.support.stores import POOL, QUEUE, ended, message, queued

LATER = 9_999_999_999_999


async def sound(store):
    report = await Checker(store.link, store.lanes).report()
    assert not report.broken
    assert report.balanced
    assert not await store.link.command("HLEN", keys.lane_key(0, b"cancels"))


async def events(store):
    entries = (await store.outbox.read(0, "0-0", 2**20)).entries
    return [msgspec.msgpack.decode(raw, type=Event) for entry in entries for raw in entry.events if len(raw) > 10]


def final(claimed, **more):
    fields = {"recipients": claimed.record.recipients} | more
    return msgspec.msgpack.encode(Final(claimed.record.recipient, int(time.time() * 1000), **fields))


def intercepted(claimed, spare_ms=60_000, uncertain=False):
    more = {"stage": "before_dot", "rule": "r1", "final": final(claimed), "spare_ms": spare_ms, "uncertain": uncertain}
    return ended(claimed, Class.INTERCEPTED, **more)


async def test_a_message_that_nobody_knows_is_no_message(open_store):
    store = await open_store()
    for lane in (0, store.lanes, 1023):  # of a store with more lanes, too
        unknown = new_message_id(lane, int(time.time() * 1000))
        assert await store.messages.show(unknown) == []
        assert await store.messages.cancel(unknown, ME, 0) == []
    assert not await store.link.command("EXISTS", keys.RULES_CANCELS)


async def test_each_place_is_told_apart(open_store):
    store = await open_store()
    addresses = ("due@b.example", "claimed@example.com", "parked@example.com", "held@example.com", "d@example.com")
    sent = message(to=(*addresses, "i@example.com", "b@example.com", "e@example.com"))
    await store.queues.accept(0, [sent])
    claimed = {c.record.recipient.partition("@")[0]: c for c in await store.claim(0)}
    record = msgspec.structs.replace(claimed["held"].record, held_at=7, uncertain=True)
    answers = await store.queues.settle(
        0,
        [
            ended(claimed["parked"], move=Move.PARK),
            queued(claimed["held"], 77, record, move=Move.HOLD, rule="p1"),
            ended(claimed["d"], final=final(claimed["d"], relayed=True)),
            intercepted(claimed["i"], uncertain=True),
            ended(claimed["b"], Class.BOUNCED, final=final(claimed["b"], reply=Reply(550, "5.1.1", "no"))),
            ended(claimed["e"], Class.EXPIRED),
        ],
    )
    assert answers == [Settled.OK] * 6
    shown = {s.id: s for s in await store.messages.show(sent.id)}
    assert [int.from_bytes(id_[16:], "big") for id_ in shown] == [1, 2, 3, 4, 5, 6, 7, 8]
    by_name = dict(zip(("due", "claimed", "parked", "held", "d", "i", "b", "e"), shown.values(), strict=True))
    assert {name: s.state.value for name, s in by_name.items()} == {
        "due": "queued",
        "claimed": "queued",
        "parked": "parked",
        "held": "held",
        "d": "delivered",
        "i": "intercepted",
        "b": "bounced",
        "e": "expired",
    }
    assert (by_name["due"].due_at, by_name["claimed"].due_at) == (sent.due_at, 0)
    assert (by_name["held"].record.held_at, by_name["held"].uncertain) == (7, True)
    assert (by_name["d"].record, by_name["d"].final.relayed) == (None, True)
    assert (by_name["i"].uncertain, by_name["i"].final.recipient) == (True, "i@example.com")
    assert by_name["b"].final.reply == Reply(550, "5.1.1", "no")
    assert by_name["e"].final is None, "of a version that kept the status alone"


async def test_one_delivery_is_canceled_alone_wherever_it_is_and_names_the_author(open_store):
    store = await open_store()
    sent = message(to=tuple(f"r{n}@example.com" for n in range(250)))
    await store.queues.accept(0, [sent])
    waiting = await store.messages.show(sent.id)
    [only] = await store.messages.show(sent.id, 249)
    assert only == waiting[248]
    [done] = await store.messages.cancel(sent.id, ME, 0, 249)
    assert (done.id, done.state) == (only.id, Class.CANCELED)
    left = [one.state for one in await store.messages.show(sent.id)]
    assert left.count(Class.CANCELED) == 1
    entries = (await store.outbox.read(0, "0-0", 2**20)).entries
    last = msgspec.msgpack.decode(entries[-1].events[-1], type=OrderedEvent)
    assert (last.id, last.type, last.actor) == (only.id, EventType.CANCELLATION, ME.author)
    assert await store.messages.cancel(sent.id, ME, 0, 251) == []
    await sound(store)


async def test_what_is_due_held_and_parked_is_ended_at_once_and_counted_once(open_store):
    store = await open_store()
    sent = message(to=("due@b.example", "deferred@example.com", "held@example.com", "parked@example.com"))
    other = message()
    await store.queues.accept(0, [sent, other])
    claimed = {c.record.recipient.partition("@")[0]: c for c in await store.claim(0)}
    deferred = msgspec.structs.replace(
        claimed["deferred"].record, attempts=2, deferred_by="r4", last=Reply(450, "4.2.1", "later"), uncertain=True
    )
    held = msgspec.structs.replace(claimed["held"].record, held_at=7)
    parked = msgspec.structs.replace(claimed["parked"].record, uncertain=True)
    await store.queues.settle(
        0,
        [
            queued(claimed["deferred"], LATER, deferred, rule="r4", deferred_by_rule=True),
            queued(claimed["held"], 77, held, move=Move.HOLD, rule="p1"),
            ended(claimed["parked"], move=Move.PARK, record=parked, uncertain=True),
            queued(claimed["a"], 5),
        ],
    )
    before = int(time.time() * 1000)
    shown = await store.messages.cancel(sent.id, ME, 0)
    assert [s.state for s in shown] == [Class.CANCELED] * 4
    assert all(before <= s.final.ended_at <= int(time.time() * 1000) and not s.asked_at for s in shown)
    assert [s.uncertain for s in shown] == [False, True, False, True]
    assert [s.final.reply for s in shown] == [None, Reply(450, "4.2.1", "later"), None, None]
    await sound(store)
    counts = await store.books.tag("red")
    assert (counts["canceled"], counts["queued"], counts["held"], counts["parked"]) == (4, 1, 0, 0)
    assert counts["uncertain"] == 2
    pause, rule = await store.books.rule("p1"), await store.books.rule("r4")
    assert (pause["met"], pause["held"], pause["other"]) == (1, 0, 1)
    assert (rule["met"], rule["deferred"], rule["other"]) == (1, 0, 1)
    assert await store.sweeps.pauses(0) == []
    told = [event for event in await events(store) if event.type is EventType.CANCELLATION]
    assert sorted((e.recipient, e.pool, e.domain, e.attempt, e.node) for e in told) == [
        ("deferred@example.com", POOL, "example.com", 2, "n1"),
        ("due@b.example", POOL, "b.example", 0, "n1"),
        ("held@example.com", POOL, "example.com", 0, "n1"),
        ("parked@example.com", POOL, "example.com", 0, "n1"),
    ]
    assert await store.messages.cancel(sent.id, ME, 0) == shown
    assert (await store.books.tag("red"))["canceled"] == 4
    assert [due.queue.domain for due in await store.queues.agenda(0, [POOL], 5)] == ["example.com"]
    [left] = await store.claim(0)
    assert left.id == claimed["a"].id
    assert not await store.link.command("EXISTS", keys.RULES_CANCELS), "no worker holds any of it"


async def test_a_worker_is_asked_for_what_it_holds_and_may_not_give_it_back(open_store):
    worker, api = await open_store(), await open_store("n2")
    await worker.queues.accept(0, [message()])
    [claimed] = await worker.claim(0)
    assert (await worker.rules.confirm(1, NO_HEAD, (), {})).canceled == {}
    [asked] = await api.messages.cancel(message_of(claimed.id), ME, 0)
    assert (asked.state, asked.asked_at > 0) == (Class.QUEUED, True)
    assert await api.messages.cancel(message_of(claimed.id), ME, 0.05) == [asked], "since the first time"
    assert (await worker.rules.confirm(2, NO_HEAD, (), {})).canceled == {message_of(claimed.id): ME.author}
    assert (await worker.rules.confirm(3, NO_HEAD, (), {})).canceled == {}, "asking again tells nobody again"
    for change in (queued(claimed, 5), queued(claimed, 5, move=Move.HOLD, rule="p1"), ended(claimed, move=Move.PARK)):
        assert await worker.queues.settle(0, [change]) == [Settled.CANCEL]
    step = ended(claimed, Class.CANCELED, final=final(claimed), uncertain=True)
    assert await worker.queues.settle(0, [step]) == [Settled.OK]
    [done] = await api.messages.cancel(message_of(claimed.id), ME, 0)
    assert (done.state, done.uncertain, done.asked_at) == (Class.CANCELED, True, 0)
    await sound(api)
    assert (await api.books.tag("red"))["uncertain"] == 1


async def test_waiting_ends_when_the_worker_has_answered(open_store):
    worker, api = await open_store(), await open_store("n2")
    await worker.queues.accept(0, [message()])
    [claimed] = await worker.claim(0)
    asking = asyncio.create_task(api.messages.cancel(message_of(claimed.id), ME, 30.0))
    while not await api.link.command("HEXISTS", keys.lane_key(0, b"cancels"), claimed.id):
        assert not asking.done()
    await worker.queues.settle(0, [ended(claimed, final=final(claimed))])
    [shown] = await asyncio.wait_for(asking, 30.0)
    assert shown.state is Class.DELIVERED
    await sound(api)


async def test_what_its_worker_left_behind_is_ended_by_whoever_looks_first(open_store):
    worker, api = await open_store(), await open_store("n2")
    sent = [message(), message()]
    await worker.queues.accept(0, sent)
    for claimed in await worker.claim(0):
        await api.messages.cancel(message_of(claimed.id), ME, 0)
    assert await api.queues.reclaim(0, worker.session.id, 100) == 2
    [shown] = await api.messages.cancel(sent[0].id, ME, 0)
    assert (shown.state, shown.uncertain) == (Class.CANCELED, True)
    [claimed] = await api.claim(0)
    assert (claimed.id[:16], claimed.canceled_by, claimed.reclaims) == (sent[1].id, ME.author, 1)
    await api.queues.settle(0, [ended(claimed, Class.CANCELED, final=final(claimed), uncertain=True)])
    await sound(api)
    assert (await api.books.tag("red"))["uncertain"] == 2


async def test_a_rule_that_ends_it_first_takes_the_mark_along(open_store):
    worker, api = await open_store(), await open_store("n2")
    await worker.queues.accept(0, [message()])
    [claimed] = await worker.claim(0)
    await api.messages.cancel(message_of(claimed.id), ME, 0)
    await api.queues.reclaim(0, worker.session.id, 100)
    _, [queued] = await api.sweeps.scan(0, QUEUE, 0, 10)
    match = PlannedMove(
        claimed.id, QUEUE, "r1", claimed.record.tags, b"e", True, final=final(claimed), spare_ms=9999, raw=queued.raw
    )
    await api.sweeps.move(0, "", SweepMove.INTERCEPT, 1, [match])
    [shown] = await api.messages.cancel(message_of(claimed.id), ME, 0)
    assert shown.state is Class.INTERCEPTED
    await sound(api)
    assert await api.undo_copies.rules(0) == [], "an undo must not send what somebody was told to be canceled"


async def test_what_a_rule_spared_stays_intercepted_and_can_be_undone_no_more(open_store):
    store = await open_store()
    sent = message(to=("a@example.com", "b@example.com"))
    await store.queues.accept(0, [sent, message()])
    *both, other = sorted(await store.claim(0), key=lambda c: (message_of(c.id) != sent.id, c.id))
    one, two = both
    await store.queues.settle(0, [intercepted(one, uncertain=True), intercepted(two), intercepted(other)])
    shown = await store.messages.show(message_of(one.id))
    assert [s.state for s in shown] == [Class.INTERCEPTED] * 2
    assert await store.messages.cancel(message_of(one.id), ME, 0) == shown
    await sound(store)
    assert await store.content.get(message_of(one.id), one.record) is None
    assert await store.undo_copies.rules(0) == ["r1"]
    assert await store.link.command("ZCARD", keys.lane_key(0, b"spared:r1")) == 1
    await store.messages.cancel(message_of(other.id), ME, 0)
    assert await store.undo_copies.rules(0) == []
    assert "canceled" not in await store.books.tag("red")
    assert (await store.books.rule("r1"))["intercepted:before_dot"] == 3


async def test_thirty_recipients_at_ten_domains_in_all_states(open_store):
    store = await open_store()
    addresses = tuple(f"u{n}@d{n % 10}.example" for n in range(30))
    sent = message(to=addresses, tags=("red", "blue"))
    await store.queues.accept(0, [sent, message()])
    claimed = await store.queues.claim(0, [ClaimRequest(QueueKey(POOL, f"d{n}.example"), 2) for n in range(6)], 1 << 20)
    assert len(claimed) == 12
    await store.queues.settle(0, [ended(c, final=final(c)) for c in claimed[:4]])
    await store.queues.settle(0, [queued(c, 5, move=Move.HOLD, rule=f"p{n}") for n, c in enumerate(claimed[4:8])])
    await store.queues.settle(0, [ended(claimed[8], move=Move.PARK)])
    shown = await store.messages.cancel(sent.id, ME, 0)
    states = [s.state for s in shown]
    assert (states.count(Class.DELIVERED), states.count(Class.CANCELED), states.count(Class.QUEUED)) == (4, 23, 3)
    assert [bool(s.asked_at) for s in shown] == [s is Class.QUEUED for s in states]
    await store.queues.settle(0, [ended(c, Class.CANCELED, final=final(c)) for c in claimed[9:]])
    assert [s.state for s in await store.messages.show(sent.id)].count(Class.CANCELED) == 26
    await sound(store)
    assert (await store.books.tag("blue"))["canceled"] == 26
    assert await store.content.get(sent.id, claimed[0].record) is None


async def test_a_large_message_is_canceled_to_its_last_recipient(open_store):
    store = await open_store()
    sent = message(to=tuple(f"u{n}@example.com" for n in range(230)))
    await store.queues.accept(0, [sent])
    shown = await store.messages.cancel(sent.id, ME, 0)
    assert [s.state for s in shown] == [Class.CANCELED] * 230
    await sound(store)
    assert await store.queues.agenda(0, [POOL], 5) == []


async def test_an_old_message_is_found_by_what_lives_of_it_and_by_when_it_ended(open_store):
    store = await open_store()
    old = int(time.time() * 1000) - 9_000_000  # its first hour is forgotten
    sent = message(id=new_message_id(0, old), accepted_at=old, to=tuple(f"u{n}@example.com" for n in range(150)))
    await store.queues.accept(0, [sent])
    claimed = sorted(await store.claim(0, most=149), key=lambda c: c.id)
    await store.queues.settle(0, [ended(c, final=final(c)) for c in claimed[:100]])
    await store.queues.settle(0, [ended(c, final=final(c)) for c in claimed[100:]])
    hour = int(time.time()) // 3600
    here = [keys.ended_key(keys.lane_prefix(0), hour + more) for more in (-1, 0)]
    await store.link.command("DEL", *here)
    [left] = await store.messages.show(sent.id)
    assert (int.from_bytes(left.id[16:], "big"), left.state) == (150, Class.QUEUED)
    [left] = await store.messages.cancel(sent.id, ME, 0)
    assert left.state is Class.CANCELED
    await sound(store)


async def test_a_record_that_cannot_be_read_is_shown_as_parked_and_stops_nothing(open_store):
    store = await open_store()
    sent = message(to=("a@example.com", "b@example.com"))
    await store.queues.accept(0, [sent])
    one, two = sorted(await store.claim(0), key=lambda c: c.id)
    good = await store.link.command("HGET", keys.lane_key(0, b"rec"), one.id)
    await store.link.command("HSET", keys.lane_key(0, b"rec"), one.id, b"\0broken")
    await store.queues.settle(0, [queued(two, 5), ended(one, move=Move.PARK)])
    first, second = await store.messages.cancel(sent.id, ME, 0)
    assert (first.state, first.record, second.state) == (Class.PARKED, None, Class.CANCELED)
    await store.link.command("HSET", keys.lane_key(0, b"rec"), one.id, good)
    await sound(store)


async def test_who_confirms_hears_of_every_cancellation_once_however_many(open_store):
    one, two = await open_store("n1"), await open_store("n2")
    first = b"\1" * 16
    await two.link.call(b"rules_cancel", [keys.RULES_HEAD, keys.RULES_CANCELS], [first, "ops"])
    assert (await one.rules.confirm(1, NO_HEAD, (), {})).canceled == {}, "from before it was there"
    code = "for i = 1, 12000 do redis.call('XADD', KEYS[1], '*', 'm', string.format('%016d', i)) end"
    await two.link.command("EVAL", code, 1, keys.RULES_CANCELS)
    canceled = (await one.rules.confirm(2, NO_HEAD, (), {})).canceled
    assert list(canceled) == [b"%016d" % n for n in range(1, 12001)]
    assert (await one.rules.confirm(3, NO_HEAD, (), {})).canceled == {}
    await two.link.call(b"rules_cancel", [keys.RULES_HEAD, keys.RULES_CANCELS], [first, "ops"])
    one.rules.renew()
    assert (await one.rules.confirm(1, NO_HEAD, (), {})).canceled == {}, "a new session holds nothing of before"


async def test_a_store_that_went_back_tells_again_what_it_has(open_store):
    store = await open_store()
    tell = [keys.RULES_HEAD, keys.RULES_CANCELS]
    await store.rules.confirm(1, NO_HEAD, (), {})
    await store.link.call(b"rules_cancel", tell, [b"\1" * 16, "ops"])
    assert (await store.rules.confirm(2, NO_HEAD, (), {})).canceled == {b"\1" * 16: "ops"}
    await store.link.command("DEL", keys.RULES_CANCELS)
    assert (await store.rules.confirm(3, NO_HEAD, (), {})).canceled == {}
    await store.link.call(b"rules_cancel", tell, [b"\2" * 16, "ops"])
    assert (await store.rules.confirm(4, NO_HEAD, (), {})).canceled == {b"\2" * 16: "ops"}
    await store.link.command("DEL", keys.RULES_CANCELS)
    for at, message_ in enumerate((b"\2" * 16, b"\3" * 16), 1):  # by a clock that is behind
        await store.link.command("XADD", keys.RULES_CANCELS, f"{at}-0", "m", message_, "by", "ops")
    assert (await store.rules.confirm(5, NO_HEAD, (), {})).canceled == {b"\2" * 16: "ops", b"\3" * 16: "ops"}
    assert (await store.rules.confirm(6, NO_HEAD, (), {})).canceled == {}


@pytest.mark.parametrize("session", ["old", "behind"])
async def test_cancellations_are_kept_until_a_confirmation_counts(open_store, session):
    one, two = await open_store("n1"), await open_store("n2")
    await one.rules.confirm(1, NO_HEAD, (), {})
    await two.link.call(b"rules_cancel", [keys.RULES_HEAD, keys.RULES_CANCELS], [b"\2" * 16, "ops"])
    if session == "behind":
        from tests.integration.redis_store.test_rule_store import rule

        put, _ = await two.rules.put(rule("red"), "c1")
        assert (await one.rules.confirm(2, NO_HEAD, (), {})).canceled == {}
        assert (await one.rules.confirm(2, put.head, (), {})).canceled == {b"\2" * 16: "ops"}
    else:
        assert (await one.rules.confirm(2, NO_HEAD, (), {})).canceled == {b"\2" * 16: "ops"}


async def move_somewhere(store, claimed, chance):
    """Deliver it, defer it, hold it or park it; where it was canceled meanwhile, end it so."""
    now = int(time.time() * 1000)
    record = msgspec.structs.replace(claimed.record, attempts=claimed.record.attempts + 1)
    change = chance.choice(
        (
            ended(claimed, final=final(claimed)),
            queued(claimed, now + chance.choice((0, 2, 50)), record, rule="r4", deferred_by_rule=True),
            queued(claimed, now, claimed.record, move=Move.HOLD, rule="p1"),
            ended(claimed, move=Move.PARK),
        )
    )
    change.left_rule = claimed.record.deferred_by
    if change.record is not None:
        deferred = "r4" if change.move is Move.QUEUE else ""
        change.record = msgspec.structs.replace(change.record, deferred_by=deferred)
    if claimed.canceled_by is not None or await store.queues.settle(0, [change]) == [Settled.CANCEL]:
        change = ended(claimed, Class.CANCELED, final=final(claimed), uncertain=claimed.reclaims > 0)
        change.left_rule = claimed.record.deferred_by
        await store.queues.settle(0, [change])


async def test_whatever_moves_meanwhile_each_delivery_ends_once_and_the_answer_is_true(open_store):
    """Workers claim, defer, hold, give back and deliver, and one of them dies, while every message is canceled."""
    chance = random.Random(7)
    workers, api = [await open_store(), await open_store("n2")], await open_store("n3")
    sent = [message(tags=("red", f"t{n % 3}"), to=("a@example.com", "b@example.com")) for n in range(40)]
    await api.queues.accept(0, sent)
    running = True

    async def work(store):
        held = []
        while running or held:
            held += await store.claim(0, most=7)
            await asyncio.sleep(chance.random() / 500)
            # The second is slow to settle, and dies with what it holds.
            some, held = (held[:3], held[3:]) if store is workers[0] or not running else ([], held)
            for claimed in some:
                await move_somewhere(store, claimed, chance)
            if store is workers[1] and len(held) > 20:
                await api.queues.reclaim(0, store.session.id, 1000)
                return

    async def cancel(one):
        await asyncio.sleep(chance.random() / 5)
        return await api.messages.cancel(one.id, ME, 20.0)

    tasks = [asyncio.create_task(work(store)) for store in workers]
    answers = await asyncio.gather(*(cancel(one) for one in sent))
    running = False
    await asyncio.gather(*tasks)
    assert {s.state for shown in answers for s in shown} <= {Class.CANCELED, Class.DELIVERED}
    for one, shown in zip(sent, answers, strict=True):
        assert await api.messages.show(one.id) == shown
    await sound(api)
    canceled = sum(s.state is Class.CANCELED for shown in answers for s in shown)
    counts = await api.books.tag("red")
    assert (counts["canceled"], counts["delivered"], counts["queued"]) == (canceled, 80 - canceled, 0)
    assert canceled > 20
    told = [event.id for event in await events(api) if event.type is EventType.CANCELLATION]
    assert len(told) == len(set(told))
    for name in ("p1", "r4"):
        rule = await api.books.rule(name)
        assert rule.get("met", 0) == rule.get("other", 0)
        assert rule.get("deferred", 0) == rule.get("held", 0) == 0
