"""Idempotent calls in the accept step: each part runs once, whoever brings it, and a model says the same."""

import random
import struct
from typing import Any, NamedTuple

import pytest

from mta.model.idempotency import IdempotencyKey, idempotency_key
from mta.model.ids import MessageId, id_in_row, new_message_id
from mta.model.mail import NewMessage
from mta.model.outcomes import Reply
from mta.ports.idempotency import CallPart, KeepMode, KeptCall, KnownCalls
from mta.ports.queueing import UNDECIDED, AcceptanceDecision, DecidedBy, DeciderKind, Rejected
from mta.redis_store import keys
from tests.support.stores import Store, message

DAY = 86_400_000


def a_key(text: str = "k", content: bytes = b"x") -> IdempotencyKey:
    return idempotency_key(("test",), text, (content,))


def mail(first: MessageId, begin: int, count: int) -> list[NewMessage]:
    return [message(id=id_in_row(first, begin + place)) for place in range(count)]


async def accept(
    store: Store, key: IdempotencyKey, first: MessageId | None = None, begin: int = 0, count: int = 1, **more: Any
) -> tuple[MessageId, KeptCall | bool | None]:
    """The first id of the call, and True where the part was accepted, else what stands under the key."""
    lane = key.lane(store.lanes)
    if first is None:
        first = new_message_id(lane, 1_700_000_000_000)
    part = CallPart(key, first, begin, count, more.pop("total", begin + count), more.pop("keep_ms", DAY), **more)
    messages = [] if part.keep is KeepMode.LOOK else mail(first, begin, count)
    answer = await store.queues.accept(lane, messages, UNDECIDED, {}, [part])
    assert answer is not None
    return first, answer.calls[0] if isinstance(answer, KnownCalls) else True


async def accepted(store: Store) -> int:
    return int((await store.books.total()).get("accepted", 0))


async def test_a_key_that_is_known_stores_nothing_and_says_what_stands(open_store):
    store, other = await open_store(), await open_store("n2")
    first, answer = await accept(store, a_key())
    assert answer is True
    for one in (store, other):
        _, kept = await accept(one, a_key())
        assert (kept.content, kept.first, kept.total, kept.done, kept.owner) == (a_key().content, first, 1, 1, "")
    _, kept = await accept(store, a_key(content=b"y"))
    assert kept.content == a_key(content=b"x").content
    assert await accepted(store) == 1


async def test_of_a_batch_with_known_keys_nothing_is_stored_and_the_rest_goes_under_the_same_number(open_store):
    store = await open_store()
    known = a_key("known")
    lane = known.lane(store.lanes)
    _, answer = await accept(store, known)
    assert answer is True
    others = [message(lane), message(lane, to=("b@example.com", "c@example.com"))]
    fresh = new_message_id(lane, 1)
    parts = [CallPart(known, fresh, 0, 1, 1, DAY)]
    answer = await store.queues.accept(lane, [*mail(fresh, 0, 1), *others], UNDECIDED, {}, parts)
    assert isinstance(answer, KnownCalls)
    assert list(answer.calls) == [0]
    assert await accepted(store) == 1
    number = store.queues._numbers[lane]
    assert not isinstance(await store.queues.accept(lane, others), KnownCalls)
    assert store.queues._numbers[lane] == number + 1 == 2
    assert await accepted(store) == 4


async def test_a_key_is_gone_with_its_time_and_takes_less_than_100_bytes(open_store, server):
    store = await open_store()
    key = a_key()
    await accept(store, key)
    prefix = keys.lane_prefix(key.lane(store.lanes))
    name = keys.idem_key(prefix, key.name)
    assert await store.link.command("MEMORY", "USAGE", name) <= 100
    assert DAY - 5000 < await store.link.command("PTTL", name) <= DAY
    await accept(store, a_key("short"), keep_ms=1)
    while await store.link.command(
        "EXISTS", keys.idem_key(keys.lane_prefix(a_key("short").lane(4)), a_key("short").name)
    ):
        pass
    _, answer = await accept(store, a_key("short"))
    assert answer is True


async def test_a_message_that_a_rule_refuses_keeps_no_key_but_a_known_one_is_answered(open_store):
    store = await open_store()
    key = a_key()
    no = Rejected(DecidedBy(DeciderKind.RULE, "r"), Reply(550, "5.7.1", "no"), ("red",), (b"e",))

    async def refused() -> object:
        first = new_message_id(key.lane(store.lanes), 1)
        part = CallPart(key, first, 0, 1, 1, DAY, KeepMode.LOOK)
        decision = AcceptanceDecision(0, {}, {first: no})
        return await store.queues.accept(key.lane(store.lanes), [], decision, {}, [part])

    assert not isinstance(await refused(), KnownCalls)
    first, answer = await accept(store, key)
    assert answer is True
    answer = await refused()
    assert isinstance(answer, KnownCalls)
    assert answer.calls[0].first == first
    assert (await store.books.total())["rejected"] == 1


async def test_without_room_a_known_key_is_answered_and_a_new_one_is_not_kept(open_store):
    store = await open_store()
    _, answer = await accept(store, a_key(), keep=KeepMode.NO_ROOM)
    assert answer is None
    first, answer = await accept(store, a_key())
    _, kept = await accept(store, a_key(), keep=KeepMode.NO_ROOM)
    assert kept.first == first
    assert await accepted(store) == 1


async def test_the_memory_of_keys_is_counted_until_they_are_gone(open_store):
    store = await open_store()
    for number in range(20):
        await accept(store, a_key(str(number)))
    assert 20 * 60 < await store.load.key_bytes() <= 20 * 110
    _, answer = await accept(store, a_key("3"))
    assert answer is not True
    kept = await store.load.key_bytes()
    assert kept <= 20 * 110  # a repeat takes nothing
    use = keys.idem_use_key(keys.lane_prefix(0))
    await store.link.command("HSET", use, 1, 1_000_000)  # gone since 1970
    assert await store.load.key_bytes() == kept
    assert await store.link.command("HGET", use, 1) is None


async def test_each_part_runs_once_and_in_order_and_only_for_the_session_that_works_on_the_call(open_store):
    one, other = await open_store(), await open_store("n2")
    key = a_key()
    first, answer = await accept(one, key, count=2, total=5, note=b"version 3", differences=b"a")
    assert answer is True
    _, kept = await accept(other, key, total=5)
    assert (kept.done, kept.owner, kept.owner_lives, kept.note) == (2, one.session.id, True, b"version 3")
    for store, begin in ((other, 2), (one, 3), (one, 0), (one, 1)):
        assert (await accept(store, key, first, begin, 1, total=5))[1] is not True
    assert (await accept(one, key, first, 2, 2, total=5, differences=b"b"))[1] is True
    assert await other.call_keys.take(key) == ((await accept(other, key, total=5))[1], False)
    await one.call_keys.leave(key)
    await other.call_keys.leave(key)
    kept, ours = await other.call_keys.take(key)
    assert ours
    assert (kept.done, kept.owner) == (4, other.session.id)
    assert (await accept(one, key, first, 4, 1, total=5))[1] is not True
    assert (await accept(other, key, first, 4, 1, total=5, differences=b"c"))[1] is True
    _, kept = await accept(one, key, total=5)
    assert (kept.first, kept.done, kept.owner, kept.differences, kept.is_complete) == (first, 5, "", b"abc", True)
    assert await accepted(one) == 5


async def test_a_call_whose_session_is_dead_goes_on_with_another(open_store):
    dead, living = await open_store(), await open_store("n2")
    key = a_key()
    first, _ = await accept(dead, key, count=1, total=3)
    await living.queues.reclaim(key.lane(living.lanes), dead.session.id, 100)
    _, kept = await accept(living, key, total=3)
    assert (kept.done, kept.owner_lives) == (1, False)
    assert (await accept(living, key, first, 1, 2, total=3))[1] is not True  # it must take the call first
    assert (await living.call_keys.take(key))[1]
    assert (await accept(living, key, first, 1, 2, total=3))[1] is True
    assert await accepted(living) == 3


async def test_a_part_whose_key_is_gone_does_not_run(open_store):
    store = await open_store()
    _first, answer = await accept(store, a_key(), begin=1, total=3)
    assert answer is None
    assert await store.call_keys.take(a_key()) == (None, False)
    assert await accepted(store) == 0


class Modelled(NamedTuple):
    content: bytes
    first: MessageId
    total: int
    done: int
    owner: str


@pytest.mark.parametrize("seed", range(6))
async def test_the_step_does_what_its_model_says(open_store, seed):
    """Calls, repeats, parts, deaths, expiries in any order."""
    chance = random.Random(seed)
    stores = [await open_store(f"n{number}") for number in range(3)]
    dead: set[str] = set()
    model: dict[bytes, Modelled] = {}
    total = 0
    for step in range(120):
        store = chance.choice(stores)
        me = store.session.id
        key = a_key(chance.choice("abc"), chance.choice((b"x", b"x", b"x", b"y")))
        stands = model.get(key.name)
        kind = chance.choices(("begin", "go on", "take", "leave", "die", "expire"), (6, 6, 3, 1, 0.4, 0.4))[0]
        if kind == "begin":
            many = chance.choice((1, 1, 3))
            count = chance.randint(1, many)
            first, answer = await accept(store, key, count=count, total=many)
            assert (answer is True) == (stands is None), (seed, step)
            if stands is None:
                model[key.name] = Modelled(key.content, first, many, count, me if count < many else "")
                total += count
        elif kind == "go on" and stands is not None:
            begin = chance.choice((stands.done, stands.done, chance.randint(0, 3)))
            begin = max(1, begin)
            count = chance.randint(1, max(1, stands.total - begin))
            _, answer = await accept(store, key, stands.first, begin, count, total=stands.total)
            runs = begin == stands.done < stands.total and stands.owner == me and stands.content == key.content
            assert (answer is True) == runs, (seed, step)
            if runs:
                done = begin + count
                model[key.name] = stands._replace(done=done, owner=me if done < stands.total else "")
                total += count
        elif kind == "take":
            _kept, ours = await store.call_keys.take(key)
            if stands is not None and stands.done < stands.total and stands.owner in ("", *dead):
                model[key.name] = stands = stands._replace(owner=me)
            assert ours == (stands is not None and stands.owner == me), (seed, step)
        elif kind == "leave":
            await store.call_keys.leave(key)
            if stands is not None and stands.owner == me:
                model[key.name] = stands._replace(owner="")
        elif kind == "die":
            dead.add(me)
            for lane in range(store.lanes):
                await stores[0].queues.reclaim(lane, me, 100)
            stores[stores.index(store)] = await open_store(f"n{step}x")
        elif kind == "expire":
            model.pop(key.name, None)
            await store.link.command("DEL", keys.idem_key(keys.lane_prefix(key.lane(store.lanes)), key.name))
        stands = model.get(key.name)
        raw = await store.link.command("GET", keys.idem_key(keys.lane_prefix(key.lane(store.lanes)), key.name))
        assert (raw is None) == (stands is None)
        if raw is not None and stands is not None:
            assert (raw[:8], raw[8:24]) == (stands.content, stands.first)
            if len(raw) > 24:
                assert struct.unpack(">II", raw[24:32]) == (stands.total, stands.done)
    assert await accepted(stores[0]) == total
