"""The accept step with decisions made at acceptance: places, books, events, and whose decision counts."""

import asyncio
import time

import msgspec
import pytest

from mta.admission.at_acceptance import AcceptanceRules
from mta.admission.group_commit import GroupCommit
from mta.model.endings import Final
from mta.model.errors import StoreAway, StoreError
from mta.model.ids import lane_of
from mta.model.outcomes import Class, Reply
from mta.model.rules import AtTheDoor, Head, Rule, Selectors
from mta.policy.rule_table import RuleTable
from mta.ports.queueing import AcceptanceDecision, DecidedBy, DeciderKind, EndedAtAcceptance, Rejected
from mta.redis_store import keys
from mta.redis_store.checker import Checker
from tests.support.stores import message

FINAL = Final("a@example.com", 5, 2, False, Reply(554, "5.7.1", "no"))


def end(number: int = 1, spare_ms: int = 0, rule: str = "r1") -> EndedAtAcceptance:
    by, final = DecidedBy(DeciderKind.RULE, rule), msgspec.msgpack.encode(FINAL)
    return EndedAtAcceptance(number, Class.INTERCEPTED, by, b"intercepted %d" % number, final, spare_ms)


def refuse(recipients: int = 1, tags: tuple[str, ...] = ("red",)) -> Rejected:
    events = tuple(b"rejected %d" % number for number in range(recipients))
    return Rejected(DecidedBy(DeciderKind.RULE, "r1"), Reply(554, "5.7.1", "no"), tags, events)


async def sound(store):
    report = await Checker(store.link, store.lanes).report()
    assert not report.broken
    assert report.balanced
    return {field: n for field, n in report.counted.get("", {}).items() if n}


async def events(store, lane=0) -> list[bytes]:
    """All that the lane's outbox has; Receptions as that word."""
    raw = [event for entry in (await store.outbox.read(lane, "0-0", 2**20)).entries for event in entry.events]
    return [b"Reception" if b"Reception" in event else event for event in raw]


async def left(store, name: bytes, lane=0) -> int:
    return int(await store.link.command("HLEN", keys.lane_key(lane, name)))


async def test_what_is_ended_at_the_door_never_stands_in_a_queue(open_store):
    store = await open_store()
    gone, mixed, free = message(), message(to=("a@example.com", "b@example.com"), tags=("red", "blue")), message()
    decision = AcceptanceDecision(0, {gone.id: [end()], mixed.id: [end(2)]})
    assert await store.queues.accept(0, [gone, mixed, free], decision) is not None
    assert await sound(store) == {"accepted": 4, "queued": 2, "intercepted:door": 2}
    assert await store.books.tag("blue") == {"accepted": 2, "queued": 1, "intercepted:door": 1}
    rule = await store.books.rule("r1")
    assert rule.pop("last_hit_at") > 0
    assert rule == {"met": 2, "intercepted:door": 2, "hits": 2}
    assert await events(store) == [
        b"Reception", b"intercepted 1", b"Reception", b"Reception", b"intercepted 2", b"Reception",
    ]  # fmt: skip
    assert {claimed.id[:16] for claimed in await store.claim(0)} == {mixed.id, free.id}
    assert (await left(store, b"content"), await left(store, b"refs"), await left(store, b"rec")) == (2, 0, 2)
    (key,) = (await store.link.scan(keys.lane_key(0, b"ended:"), 0, 1000))[1]
    final = msgspec.msgpack.encode(FINAL)
    assert await store.link.command("HGET", key, gone.id + b"\0\1") == b"i:door:0:r1\0" + final
    assert await store.link.command("HGET", key, mixed.id + b"\0\2") == b"i:door:0:r1\0" + final
    assert 3_500_000 < int(await store.link.command("PTTL", key)) <= 7_200_000
    await store.queues.farewell()


async def test_what_is_spared_keeps_record_and_content_as_long_as_anyone_needs_it(open_store):
    store = await open_store()
    alone, mixed = message(), message(to=("a@example.com", "b@free.test", "c@example.com"))
    decision = AcceptanceDecision(0, {alone.id: [end(1, 60_000)], mixed.id: [end(1, 60_000), end(3, 0)]})
    assert await store.queues.accept(0, [alone, mixed], decision) is not None
    assert await sound(store) == {"accepted": 4, "queued": 1, "intercepted:door": 3}
    assert await store.undo_copies.rules(0) == ["r1"]
    members = await store.link.command("ZRANGE", keys.lane_key(0, b"spared:r1"), 0, -1)
    queue = b"d0default|example.com"
    assert set(members) == {alone.id + b"\0\1" + queue, mixed.id + b"\0\1" + queue}
    assert int(await store.link.command("HGET", keys.lane_key(0, b"refs"), mixed.id)) == 2
    assert await store.undo_copies.drop(0, "r1", 10, early=True) == 2
    await sound(store)
    assert (await left(store, b"content"), await left(store, b"rec")) == (1, 1)


@pytest.mark.parametrize("spare_ms", [0, 60_000])
async def test_large_content_of_which_nobody_lives(open_store, spare_ms):
    store = await open_store(compress_above=1 << 30)
    large = message(content=b"x" * 1_500_000, to=("a@example.com", "b@example.com"))
    decision = AcceptanceDecision(0, {large.id: [end(1, spare_ms), end(2)]})
    assert await store.queues.accept(0, [large], decision) is not None
    assert await sound(store) == {"accepted": 2, "intercepted:door": 2}
    parts = keys.lane_key(0, b"parts:") + large.id
    assert await store.link.command("EXISTS", parts) == (1 if spare_ms else 0)
    if spare_ms:
        assert await store.link.command("TTL", parts) == -1
        assert await store.undo_copies.drop(0, "r1", 10, early=True) == 1
        assert await store.link.command("EXISTS", parts) == 0
    await sound(store)


@pytest.mark.usefixtures("one_hour")
async def test_the_step_counts_the_class_that_the_decision_gives(open_store):
    store = await open_store()
    gone, free = message(), message()
    decision = AcceptanceDecision(0, {gone.id: [end()._replace(ended=Class.FILTERED)]})
    assert await store.queues.accept(0, [gone, free], decision) is not None
    assert await sound(store) == {"accepted": 2, "queued": 1, "filtered": 1}
    assert (await store.books.tag("red"))["filtered"] == 1
    key = keys.lane_key(0, b"ended:%d" % (int(time.time()) // 3600))
    assert await store.link.command("HGET", key, gone.id + b"\0\1") == b"f\0" + msgspec.msgpack.encode(FINAL)


async def test_a_batch_of_refused_messages_only(open_store):
    store = await open_store()
    one, two = message(), message()
    decision = AcceptanceDecision(0, {}, {one.id: refuse(3), two.id: refuse(1, ("blue",))})
    assert await store.queues.accept(0, [], decision) is not None
    assert await sound(store) == {"rejected": 4}
    assert await store.books.tag("red") == {"rejected": 3}
    assert await store.books.tag("blue") == {"rejected": 1}
    rule = await store.books.rule("r1")
    assert rule.pop("last_hit_at") > 0
    assert rule == {"hits": 4}
    assert await events(store) == [b"rejected 0", b"rejected 1", b"rejected 2", b"rejected 0"]
    for name in (b"rec", b"content", b"refs"):
        assert await left(store, name) == 0


async def test_refused_intercepted_and_free_mail_in_one_batch(open_store):
    store = await open_store()
    refused, ended, free = message(), message(), message()
    decision = AcceptanceDecision(0, {ended.id: [end(1, 60_000)]}, {refused.id: refuse()})
    assert await store.queues.accept(0, [ended, free], decision) is not None
    assert await sound(store) == {"accepted": 2, "queued": 1, "intercepted:door": 1, "rejected": 1}
    assert (await store.books.rule("r1"))["hits"] == 2


@pytest.mark.parametrize("decided", [True, False])
async def test_a_decision_by_old_rules_does_nothing_whatever_it_was(open_store, decided):
    store = await open_store()
    await store.rules.raise_barrier(4)
    one, other = message(), message()
    old = AcceptanceDecision(3, {one.id: [end()]}, {other.id: refuse()}) if decided else AcceptanceDecision(3)
    assert await store.queues.accept(0, [one], old) is None
    assert await store.books.total() == {}
    assert await events(store) == []
    assert await store.queues.accept(0, [one], old._replace(generation=4)) is not None
    assert (await store.books.total())["accepted"] == 1
    assert await store.queues.accept(0, [message()]) is not None, (
        "a caller that does not ask the rules passes any barrier"
    )
    await sound(store)


async def test_what_ran_before_the_barrier_was_raised_is_dup_and_not_old(open_store):
    """An accept whose reply was lost is asked for again under its number; meanwhile the barrier may rise."""
    store = await open_store()
    one, other = message(), message()
    decision = AcceptanceDecision(0, {one.id: [end()]}, {other.id: refuse()})
    assert await store.queues.accept(0, [one], decision) is not None
    await store.rules.raise_barrier(4)
    store.queues._numbers[0] -= 1
    with pytest.raises(StoreError, match="DUP"):
        await store.queues.accept(0, [one], decision)
    assert await sound(store) == {"accepted": 1, "intercepted:door": 1, "rejected": 1}


async def test_old_rules_do_not_use_the_number_up(open_store):
    store = await open_store()
    await store.rules.raise_barrier(4)
    one = message()
    assert await store.queues.accept(0, [one], AcceptanceDecision(3)) is None
    store.queues._numbers[0] -= 1
    assert await store.queues.accept(0, [one], AcceptanceDecision(4)) is not None
    step_keys = store.queues._void_keys(0, store.session.id)
    assert await store.link.call(b"void", step_keys, [store.session.id, 1, 0]) == b"RAN"
    assert await store.link.call(b"void", step_keys, [store.session.id, 2, 0]) == b"VOID"
    store.queues._numbers[0] = 1
    with pytest.raises(StoreError, match="VOID"):
        await store.queues.accept(0, [message()], AcceptanceDecision(3))
    assert await sound(store) == {"accepted": 1, "queued": 1}


@pytest.mark.parametrize("ran", [True, False])
async def test_a_lost_reply_while_the_barrier_rises(open_store, monkeypatch, ran):
    """Done before: it stays done, and what was refused stays refused. Not done: it never will be under these rules."""
    store, other = await open_store(), await open_store("n2")
    one, refused = message(), message()
    call, asked = store.link.call, []

    async def lossy(function, step_keys, args, **more):
        asked.append(function)
        if len(asked) > 1:
            return await call(function, step_keys, args, **more)
        if ran:
            await call(function, step_keys, args, **more)
        await other.rules.raise_barrier(4)
        raise StoreAway("the reply was lost")

    monkeypatch.setattr(store.link, "call", lossy)
    decision = AcceptanceDecision(3, {one.id: [end()]}, {refused.id: refuse()})
    assert (await store.queues.accept(0, [one], decision) is not None) is ran
    assert asked == [b"accept"] * 2
    assert await sound(store) == ({"accepted": 1, "intercepted:door": 1, "rejected": 1} if ran else {})


class Rules:
    """This process's table, which the test swaps; the permit never ends."""

    def __init__(self) -> None:
        self.table = RuleTable.build(Head(3, "a"), [])

    def is_fresh(self) -> bool:
        return True


@pytest.mark.parametrize("how", [AtTheDoor.ACCEPT, AtTheDoor.REJECT])
async def test_mail_let_in_by_an_old_table_is_decided_again_when_the_barrier_rose_meanwhile(
    open_store, monkeypatch, how
):
    """The rule is effective and its sweep is over before the batch is written: nothing else would ever look at it."""
    store, rules = await open_store(), Rules()
    admission = GroupCommit(store.queues, 0.0, AcceptanceRules(rules, "n1", 60.0).decide)
    call = store.link.call

    async def slowly(function, step_keys, args, **more):
        if function == b"accept" and rules.table.head.generation == 3:
            rules.table = RuleTable.build(Head(4, "b"), [Rule("r1", Selectors(tag="red"), 554, at_the_door=how)])
            await store.rules.raise_barrier(4)
        return await call(function, step_keys, args, **more)

    monkeypatch.setattr(store.link, "call", slowly)
    told = asyncio.get_running_loop().create_future()

    def prepare(message_id, now):
        return message(lane_of(message_id), id=message_id, due_at=now + 86_400_000)

    assert admission.admit(prepare, told.set_result) is None
    reply = await asyncio.wait_for(told, 30.0)
    await admission.close()
    if how is AtTheDoor.ACCEPT:
        assert reply.code == 250
        assert await sound(store) == {"accepted": 1, "intercepted:door": 1}
    else:
        assert reply.code == 554
        assert await sound(store) == {"rejected": 1}
