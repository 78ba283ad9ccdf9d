import time

import msgspec
import pytest

from mta.model.endings import Shared
from mta.model.errors import BacklogFull, SessionLost, StoreError
from mta.model.events import Event, EventType
from mta.model.ids import message_of
from mta.model.mail import Record, tenant_mark
from mta.model.outcomes import Class
from mta.ports.queueing import ClaimRequest, Settled
from mta.redis_store import codec, keys
from mta.timing.clock import process_clock
from tests.support.stores import DOMAIN, POOL, QUEUE, ended, message, queued


async def test_accepted_mail_can_be_claimed_with_its_content(open_store):
    store = await open_store()
    sent = message(1, to=("a@example.com", "b@example.com", "c@example.net"), tags=("red", "blue"))
    await store.queues.accept(1, [sent])
    agenda = await store.queues.agenda(1, [POOL, "other"], 10)
    assert {due.queue.domain for due in agenda} == {"example.com", "example.net"}
    claimed = await store.queues.claim(1, [ClaimRequest(due.queue, 10) for due in agenda], 1 << 20)
    assert [c.record.recipient for c in sorted(claimed, key=lambda c: c.id)] == [
        "a@example.com",
        "b@example.com",
        "c@example.net",
    ]
    assert {c.content for c in claimed} == {sent.content}
    assert await store.queues.agenda(1, [POOL], 10) == []
    assert (await store.books.tag("blue"))["queued"] == 3
    assert await store.queues.settle(1, [ended(c) for c in claimed]) == [Settled.OK] * 3
    assert await store.books.tag("blue") == {"accepted": 3, "queued": 0, "delivered": 3}
    assert await store.content.get(sent.id, claimed[0].record) is None


async def test_tenant_and_number_of_recipients_stay_with_a_delivery(open_store):
    store = await open_store()
    await store.queues.accept(0, [message(0, to=("a@example.com", "b@example.com"), tenant="acme")])
    one, _ = await store.claim(0, share="acme")
    assert (one.record.tenant, one.record.recipients) == ("acme", 2)
    assert one.record.labels == ("red", tenant_mark("acme"))
    entries = (await store.outbox.read(0, "0-0", 2**20)).entries
    received = [msgspec.msgpack.decode(raw, type=Event) for entry in entries for raw in entry.events]
    assert [event.tenant for event in received] == ["acme", "acme"]


async def test_a_claim_settles_once_and_then_is_stale(open_store):
    store = await open_store()
    await store.queues.accept(0, [message()])
    [claimed] = await store.claim(0)
    assert await store.queues.settle(0, [ended(claimed)]) == [Settled.OK]
    assert await store.queues.settle(0, [ended(claimed, Class.BOUNCED)]) == [Settled.STALE]
    assert (await store.books.total())["delivered"] == 1
    assert "bounced" not in await store.books.total()


async def test_a_retry_is_due_when_it_says_and_keeps_its_new_record(open_store, monkeypatch):
    store = await open_store()
    await store.queues.accept(0, [message()])
    [claimed] = await store.claim(0)
    later = process_clock.now_ms() + 3_600_000
    record = msgspec.structs.replace(claimed.record, attempts=1)
    await store.queues.settle(0, [queued(claimed, later, record)])
    assert await store.claim(0) == []
    monkeypatch.setattr(process_clock, "offset", process_clock.offset + 3599.0)
    assert [due.at for due in await store.queues.agenda(0, [POOL], 5)] == [later]
    monkeypatch.setattr(process_clock, "offset", process_clock.offset + 1.0)
    [again] = await store.claim(0)
    assert again.record.attempts == 1
    assert again.token != claimed.token


async def test_claims_are_bounded_by_count_and_bytes(open_store):
    store = await open_store()
    await store.queues.accept(0, [message(content=b"x" * 10_000) for _ in range(30)])
    assert len(await store.claim(0, most=7)) == 7
    assert len(await store.claim(0, most_bytes=50_000)) == 10
    assert len(await store.claim(0)) == 13


async def test_a_dead_sessions_claims_are_due_again_and_its_late_outcome_is_stale(open_store):
    dead, other = await open_store(), await open_store("n2")
    await dead.queues.accept(0, [message()])
    [claimed] = await dead.claim(0)
    assert await other.queues.reclaim(0, dead.session.id, 100) == 1
    assert await other.queues.reclaim(0, dead.session.id, 100) == 0
    [again] = await other.claim(0)
    assert (again.id, again.reclaims) == (claimed.id, 1)
    late = ended(claimed, late_event=b"late", delivered_late=True)
    assert await dead.queues.settle(0, [late]) == [Settled.STALE]
    assert [e for entry in (await other.outbox.read(0, "0-0", 2**20)).entries for e in entry.events][-1] == b"late"
    assert await other.queues.settle(0, [ended(again, Class.BOUNCED)]) == [Settled.OK]


async def test_each_delivery_of_a_batch_has_the_event_of_its_answer(open_store):
    store = await open_store()
    await store.queues.accept(0, [message() for _ in range(4)])
    claimed = await store.claim(0)
    claimed[1].token = b"0"
    rest = bytes(range(200))
    changes = [ended(c, event=b"%d Delivery" % at + rest, late_event=b"late") for at, c in enumerate(claimed)]
    changes[3] = ended(claimed[3], how=Class.BOUNCED, event=b"other", late_event=b"", rule="r", generation=4)
    await store.rules.raise_barrier(5)
    answers = [Settled.OK, Settled.STALE, Settled.OK, Settled.OLD_RULES]
    assert await store.queues.settle(0, changes) == answers
    entry = (await store.outbox.read(0, "0-0", 2**20)).entries[-1]
    assert entry.events == (b"0 Delivery" + rest, b"2 Delivery" + rest, b"late")


@pytest.mark.parametrize("how", [EventType.DELIVERY, EventType.BOUNCE, EventType.TRANSIENT_FAILURE])
async def test_an_event_that_came_late_is_told_as_such(open_store, how):
    store = await open_store()
    await store.queues.accept(0, [message()])
    [claimed] = await store.claim(0)
    claimed.token = b"0"
    event = Event(how, 1234, claimed.id, recipient="a@example.com", text="x" * 300)
    late = [ended(claimed, event=codec.encode(event), late_event=None)]
    assert await store.queues.settle(0, late) == [Settled.STALE]
    (told,) = (await store.outbox.read(0, "0-0", 2**20)).entries[-1].events
    assert msgspec.msgpack.decode(told, type=Event) == msgspec.structs.replace(event, type=EventType.LATE_OUTCOME)


async def test_of_a_batch_only_what_ended_is_counted(open_store):
    store = await open_store()
    await store.queues.accept(0, [message(tags=("red", f"customer_{at % 2}")) for at in range(6)])
    changes = [ended(c, Class.BOUNCED if at == 5 else Class.DELIVERED) for at, c in enumerate(await store.claim(0))]
    changes[1].token = b"0"
    assert (await store.queues.settle(0, changes)).count(Settled.OK) == 5
    assert await store.books.tag("red") == {"accepted": 6, "queued": 1, "delivered": 4, "bounced": 1}
    assert (await store.books.total()) == await store.books.tag("red")
    customers = [await store.books.tag(f"customer_{number}") for number in range(2)]
    assert sorted(one["queued"] for one in customers) == [0, 1]


async def test_a_step_without_events_appends_nothing(open_store):
    store = await open_store()
    await store.queues.accept(0, [message(), message()])
    entries = (await store.outbox.read(0, "0-0", 2**20)).entries
    assert await store.queues.settle(0, [queued(c, 1) for c in await store.claim(0)]) == [Settled.OK] * 2
    assert (await store.outbox.read(0, "0-0", 2**20)).entries == entries


async def test_a_settlement_asked_for_again_is_no_late_news_if_it_was_carried_out(open_store):
    store, other = await open_store(), await open_store("n2")
    await store.queues.accept(0, [message(), message()])
    one, two = await store.claim(0)
    await store.queues.settle(0, [ended(one)])
    again = [ended(c, late_event=b"late", delivered_late=True, again=True) for c in (one, two)]
    await other.queues.reclaim(0, store.session.id, 100)
    assert await store.queues.settle(0, again) == [Settled.STALE, Settled.STALE]
    entries = (await other.outbox.read(0, "0-0", 2**20)).entries
    assert [e for entry in entries for e in entry.events].count(b"late") == 1, "only of the one that was not settled"


async def test_late_knowledge_moves_an_intercepted_delivery_to_delivered(open_store):
    dead, other = await open_store(), await open_store("n2")
    await dead.queues.accept(0, [message()])
    [claimed] = await dead.claim(0)
    await other.queues.reclaim(0, dead.session.id, 100)
    [again] = await other.claim(0)
    step = ended(again, Class.INTERCEPTED, stage="attempt", rule="r1", uncertain=True, generation=3)
    await other.queues.settle(0, [step])
    assert (await other.books.tag("red"))["uncertain"] == 1
    await dead.queues.settle(0, [ended(claimed, late_event=b"late", delivered_late=True)])
    counts = await other.books.tag("red")
    assert (counts["delivered"], counts["intercepted:attempt"], counts["uncertain"]) == (1, 0, 0)


async def test_an_accept_whose_reply_was_lost_is_not_stored_twice(open_store):
    store = await open_store()
    batch = [message()]
    await store.queues.accept(0, batch)
    store.queues._numbers[0] -= 1  # the same batch is asked for again under its number
    with pytest.raises(StoreError):  # DUP to a first question is a bug of ours, and said so
        await store.queues.accept(0, batch)
    assert (await store.books.total())["accepted"] == 1


async def test_a_voided_batch_never_runs(open_store):
    store = await open_store()
    step_keys = store.queues._void_keys(0, store.session.id)
    assert await store.link.call(b"void", step_keys, [store.session.id, 1, 0]) == b"VOID"
    with pytest.raises(StoreError, match="VOID"):
        await store.queues.accept(0, [message()])
    assert await store.books.total() == {}
    await store.queues.accept(0, [message()])
    assert await store.link.call(b"void", step_keys, [store.session.id, 2, 0]) == b"RAN"


async def test_a_dead_session_accepts_nothing_more(open_store):
    dead, other = await open_store(), await open_store("n2")
    await dead.queues.accept(0, [message()])
    await other.queues.reclaim(0, dead.session.id, 100)
    with pytest.raises(SessionLost):
        await dead.queues.accept(0, [message()])
    with pytest.raises(SessionLost):
        await dead.claim(0)


async def test_a_claim_whose_answer_was_lost_is_recalled_and_never_runs_late(open_store):
    store = await open_store()
    await store.queues.accept(0, [message() for _ in range(5)])
    seen = await store.claim(0, most=2)
    lost = await store.claim(0, most=2)  # as if its answer never came
    store.queues._tokens[0] = int(seen[0].token)
    store.queues._unsure.add(0)
    again = await store.claim(0)
    assert {c.id for c in lost} < {c.id for c in again}
    assert [c.reclaims for c in again] == [0, 0, 0]
    assert await store.queues.settle(0, [ended(c) for c in seen + again]) == [Settled.OK] * 5
    await store.queues.accept(0, [message()])
    store.queues._claims[0] -= 2  # a claim that was on its way all the time
    assert await store.claim(0) == []
    store.queues._claims[0] += 1
    assert len(await store.claim(0)) == 1
    await store.queues.farewell()
    with pytest.raises(SessionLost):
        await store.claim(0)  # what is still on its way must not run after the farewell


async def test_a_full_backlog_refuses_mail(open_store):
    store = await open_store(backlog_hard=2)
    await store.queues.accept(0, [message()])
    await store.queues.accept(0, [message()])
    with pytest.raises(BacklogFull):
        await store.queues.accept(0, [message()])


async def test_decisions_below_the_barrier_do_nothing(open_store):
    store = await open_store()
    await store.queues.accept(0, [message()])
    [claimed] = await store.claim(0)
    await store.rules.raise_barrier(7)
    step = ended(claimed, Class.INTERCEPTED, stage="attempt", rule="r1", generation=6)
    assert await store.queues.settle(0, [step]) == [Settled.OLD_RULES]
    step.generation = 7
    assert await store.queues.settle(0, [step]) == [Settled.OK]


@pytest.mark.parametrize("size", [70_000, 600_000, 3_000_000])
async def test_large_content_comes_back_whole_and_is_freed(open_store, size):
    store = await open_store(compress_above=100_000)
    content = b"Subject: big\r\n\r\n" + bytes(i * 7919 % 251 for i in range(size))
    await store.queues.accept(0, [message(content=content, to=("a@example.com", "b@example.com"))])
    claimed = await store.claim(0)
    for one in claimed:
        got = one.content if one.content is not None else await store.content.get(message_of(one.id), one.record)
        assert got == content
    await store.queues.settle(0, [ended(claimed[0])])
    assert await store.content.get(message_of(claimed[1].id), claimed[1].record) == content
    await store.queues.settle(0, [ended(claimed[1])])
    assert not await store.link.command("EXISTS", keys.lane_key(0, b"parts:") + message_of(claimed[1].id))


async def test_damaged_bytes_come_as_often_lost_and_stop_nothing(open_store):
    store = await open_store()
    await store.queues.accept(0, [message() for _ in range(3)])
    first, second, third = await store.claim(0)
    good = await store.link.command("HGET", keys.lane_key(0, b"rec"), first.id)
    await store.queues.settle(0, [queued(c, 0) for c in (first, second, third)])
    await store.link.command("HSET", keys.lane_key(0, b"rec"), first.id, good.replace(b"example", b"ex\xff\xfeple"))
    await store.link.command("HSET", keys.lane_key(0, b"content"), message_of(second.id), b"zbroken")
    claimed = {c.id: c.reclaims for c in await store.claim(0)}
    assert claimed == {first.id: 255, second.id: 255, third.id: 0}
    await store.link.command("HSET", keys.lane_key(0, b"rec"), first.id, good)


async def test_a_record_that_cannot_be_read_comes_as_often_lost(open_store):
    store = await open_store()
    sent = message()
    await store.queues.accept(0, [sent])
    [claimed] = await store.claim(0)
    await store.queues.settle(0, [queued(claimed, 0)])
    raw = await store.link.command("HGET", keys.lane_key(0, b"rec"), claimed.id)
    await store.link.command("HSET", keys.lane_key(0, b"rec"), claimed.id, b"\0\xc1")
    [broken] = await store.claim(0)
    assert broken.reclaims == 255
    await store.link.command("HSET", keys.lane_key(0, b"rec"), claimed.id, raw)


async def test_a_step_that_crosses_lanes_fails_on_a_cluster(open_store, server):
    if not server.cluster:
        return
    store = await open_store()
    with pytest.raises(StoreError):
        await store.link.call(b"agenda", [keys.lane_key(0, b"lane"), keys.lane_key(1, b"lane")], [1])


async def test_records_keep_their_first_fields():
    record = Record("s", "r@example.com", ("t",), 5, 1, 2)
    raw = codec.encode_record(record, 3)
    assert codec.decode_record(raw) == (3, record)
    assert codec.decode_record(b"\0" + codec.encode(("s", "r@example.com", ("t",), 5, 1, 2)))[1] == record
    assert QUEUE == (POOL, DOMAIN)


async def test_the_counters_of_a_tag_have_an_epoch_of_their_own_which_is_no_count(open_store):
    store = await open_store()
    await store.queues.accept(0, [message(tags=("red", "blue"))])
    key = keys.tag_key(keys.lane_prefix(0), b"red")
    first = await store.link.command("HGET", key, "epoch")
    assert int(first) > 0
    [claimed] = await store.claim(0)
    await store.queues.settle(0, [ended(claimed)])
    await store.queues.accept(0, [message(tags=("red",))])
    assert await store.link.command("HGET", key, "epoch") == first
    assert await store.books.tag("red") == {"accepted": 2, "queued": 1, "delivered": 1}
    await store.link.command("DEL", key)  # folded; a later change begins anew
    [claimed] = await store.claim(0)
    await store.queues.settle(0, [ended(claimed)])
    assert await store.books.tag("red") == {"queued": -1, "delivered": 1}
    assert int(await store.link.command("HGET", key, "epoch")) > int(first)
    await store.link.command("HINCRBY", key, "queued", 1)
    await store.link.command("HINCRBY", key, "accepted", 1)


@pytest.mark.usefixtures("one_hour")
async def test_a_session_writes_common_fields_once_and_again_where_the_lane_has_lost_them(open_store):
    store = await open_store()
    link, prefix = store.link, keys.lane_prefix(0)
    red, blue = Shared(b"digest-r", b"red"), Shared(b"digest-b", b"blue")

    async def settled(*commons: Shared) -> dict[bytes, bytes]:
        """The lane has so many of them once as many deliveries have ended."""
        await store.queues.accept(0, [message() for _ in commons])
        changes = [ended(one, shared=shared) for one, shared in zip(await store.claim(0), commons, strict=True)]
        assert await store.queues.settle(0, changes) == [Settled.OK] * len(commons)
        found: dict[bytes, bytes] = {}
        for hour in (int(time.time() // 3600), int(time.time() // 3600) - 1):
            row = await link.command("HGETALL", keys.ended_key(prefix, hour))
            found = dict(zip(row[::2], row[1::2], strict=True)) | found
        assert found[b"commons:" + store.session.id.encode()] == b"%d" % len(set(commons) | {red})
        return {digest: found[digest] for digest in (red.digest, blue.digest) if digest in found}

    assert await settled(red, red) == {red.digest: red.raw}
    marked = keys.ended_key(prefix, int(time.time() // 3600))
    await link.command("HSET", marked, red.digest, b"as it was")
    assert await settled(red) == {red.digest: b"as it was"}
    assert await settled(red, blue) == {red.digest: b"as it was", blue.digest: blue.raw}
    await link.command("UNLINK", marked)  # as after a failover that lost it, or when an hour is over
    assert await settled(blue, red) == {red.digest: red.raw, blue.digest: blue.raw}
