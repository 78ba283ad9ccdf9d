"""Mail that its own process delivers is claimed in the step that accepts it."""

import pytest

from mta.admission.claim_on_accept import hand_over, reserve
from mta.model.errors import StoreAway, StoreUnsafe
from mta.model.mail import QueueKey
from mta.ports.queueing import UNDECIDED, Ambiguous, Settled
from mta.redis_store import codec, keys
from mta.timing.clock import process_clock
from tests.support.stores import DOMAIN, POOL, QUEUE, ended, message

NET = QueueKey(POOL, "example.net")


class Fresh:
    """Delivery with room for `room` of each queue; each promised delivery is handed to it once."""

    def __init__(self, store, room=100):
        self.store = store
        self.room = room
        self.taken = []
        self.promised = []

    async def accept(self, lane, messages):
        """As admission does it; whether the step ran."""
        reserved, claimed = reserve(self, messages, UNDECIDED), None
        try:
            claimed = await self.store.queues.accept(lane, messages, UNDECIDED, reserved)
        finally:
            hand_over(self, reserved, claimed or {})
        return claimed is not None

    def reserve(self, queue, count):
        most = min(count, self.room)
        if most:
            self.promised.append((queue, most))
        return most

    def take(self, queue, reserved, claimed):
        self.promised.remove((queue, reserved))
        self.taken += claimed


def lose(store, monkeypatch, *, run, lost=1, also=()):
    """The first `lost` accepts are not answered (`run`: they are carried out); functions in `also` never run."""
    call, left = store.link.call, [lost]

    async def lossy(function, step_keys, args, **more):
        if function == b"accept" and left[0] > 0:
            left[0] -= 1
        elif function not in also:
            return await call(function, step_keys, args, **more)
        if run and function not in also:
            await call(function, step_keys, args, **more)
        raise StoreAway("the reply was lost")

    monkeypatch.setattr(store.link, "call", lossy)
    return lambda: monkeypatch.setattr(store.link, "call", call)


async def test_what_was_claimed_at_once_is_what_a_claim_would_have_given(open_store):
    store = await open_store()
    fresh, sent = Fresh(store), message(to=("a@example.com", "b@example.com", "c@example.net"), tenant="acme")
    await fresh.accept(0, [sent])
    assert fresh.promised == []
    assert await store.queues.agenda(0, [POOL], 10) == []
    assert [(one.queue, one.record.recipient, one.content) for one in fresh.taken] == [
        (QUEUE, "a@example.com", sent.content),
        (QUEUE, "b@example.com", sent.content),
        (NET, "c@example.net", sent.content),
    ]
    for one in fresh.taken:
        raw = await store.link.command("HGET", keys.lane_key(0, b"rec"), one.id)
        assert codec.decode_record(raw) == (0, one.record)
    assert (await store.books.tag("red"))["queued"] == 3
    assert await store.queues.settle(0, [ended(one) for one in fresh.taken]) == [Settled.OK] * 3
    assert await store.books.tag("red") == {"accepted": 3, "queued": 0, "delivered": 3}
    assert await store.content.get(sent.id, fresh.taken[0].record) is None


async def test_what_there_is_no_room_for_is_queued(open_store):
    store = await open_store()
    fresh = Fresh(store, room=2)
    await fresh.accept(0, [message() for _ in range(5)])
    assert len(fresh.taken) == 2
    assert len(await store.claim(0)) == 3


async def test_nothing_overtakes_older_mail_that_is_due(open_store):
    store = await open_store()
    await store.queues.accept(0, [message(to=("a@example.com",))])
    fresh = Fresh(store)
    await fresh.accept(0, [message(to=("b@example.com", "b@example.net"))])
    assert [one.queue for one in fresh.taken] == [NET]
    assert fresh.promised == []
    assert {one.record.recipient for one in await store.claim(0)} == {"a@example.com", "b@example.com"}


async def test_mail_for_later_waits_and_does_not_keep_other_mail_waiting(open_store, monkeypatch):
    store = await open_store()
    fresh, later = Fresh(store), process_clock.now_ms() + 3_600_000
    await fresh.accept(0, [message(due_at=later), message(), message(due_at=later)])
    await fresh.accept(0, [message()])
    assert len(fresh.taken) == 2
    monkeypatch.setattr(process_clock, "offset", process_clock.offset + 3599.0)
    assert [(due.queue, due.at) for due in await store.queues.agenda(0, [POOL], 10)] == [(QUEUE, later)]


async def test_content_in_pieces_is_left_to_be_asked_for(open_store):
    store = await open_store(compress_above=1 << 30)
    fresh = Fresh(store)
    sent = message(content=b"Subject: big\r\n\r\n" + bytes(n * 7919 % 251 for n in range(700_000)))
    await fresh.accept(0, [sent])
    [one] = fresh.taken
    assert one.content is None
    assert await store.content.get(sent.id, one.record) == sent.content


async def test_an_accept_that_ran_without_an_answer_gives_back_what_it_claimed(open_store, monkeypatch):
    store = await open_store()
    fresh = Fresh(store)
    heal = lose(store, monkeypatch, run=True)
    assert await fresh.accept(0, [message(), message()]) is True
    heal()
    assert (fresh.taken, fresh.promised) == ([], [])
    await fresh.accept(1, [message(1)])  # another lane's claims stay
    await store.queues.agenda(0, [POOL], 10)
    claimed = await store.claim(0)
    assert [one.reclaims for one in claimed] == [0, 0]
    assert await store.queues.settle(0, [ended(one) for one in claimed]) == [Settled.OK] * 2
    assert await store.queues.settle(1, [ended(one) for one in fresh.taken]) == [Settled.OK]


@pytest.mark.parametrize("ran", [True, False])
async def test_what_an_ambiguous_accept_may_have_claimed_comes_back(open_store, monkeypatch, ran):
    store = await open_store(timeout=0.1)
    fresh = Fresh(store)
    heal = lose(store, monkeypatch, run=ran, lost=100, also=(b"void",))
    with pytest.raises(Ambiguous):
        await fresh.accept(0, [message()])
    heal()
    assert (fresh.taken, fresh.promised) == ([], [])
    await fresh.accept(0, [message()])  # with a higher number
    assert len(await store.claim(0)) == (1 if ran else 0)
    # Neither number can run any more.
    store.queues._numbers[0] = 0
    for _ in range(2):
        with pytest.raises(Exception, match=r"DUP|VOID"):
            await fresh.accept(0, [message()])


async def test_claims_of_an_accept_that_may_not_be_told_go_back(open_store, monkeypatch):
    """The step ran, but over a connection to a server that turns out to be unsafe."""
    store = await open_store()
    fresh, checks = Fresh(store), []

    async def unsafe_afterwards():
        checks.append(1)
        if len(checks) == 2:
            raise StoreUnsafe("appendfsync is everysec")

    monkeypatch.setattr(store.link, "ensure_safe", unsafe_afterwards)
    with pytest.raises(Ambiguous):
        await fresh.accept(0, [message()])
    assert (fresh.taken, fresh.promised) == ([], [])
    await store.queues.agenda(0, [POOL], 10)
    [one] = await store.claim(0)
    assert await store.queues.settle(0, [ended(one)]) == [Settled.OK]


async def test_a_void_of_an_earlier_number_opens_the_door_to_no_later_one(open_store):
    store = await open_store()
    step_keys = store.queues._void_keys(0, store.session.id)
    assert await store.link.call(b"void", step_keys, [store.session.id, 2, 0]) == b"VOID"
    assert await store.link.call(b"void", step_keys, [store.session.id, 1, 0]) == b"RAN"
    for _ in range(2):
        with pytest.raises(Exception, match=r"DUP|VOID"):
            await store.queues.accept(0, [message()])


async def test_others_take_back_what_a_dead_session_had_claimed_at_once(open_store):
    dead, other = await open_store(), await open_store("n2")
    fresh = Fresh(dead)
    await fresh.accept(0, [message()])
    assert dead.session.id in await other.queues.holders()
    assert await other.queues.reclaim(0, dead.session.id, 100) == 1
    [again] = await other.claim(0)
    assert (again.id, again.reclaims) == (fresh.taken[0].id, 1)
    assert await dead.queues.settle(0, [ended(fresh.taken[0])]) == [Settled.STALE]


async def test_what_was_claimed_for_a_session_that_was_given_up_meanwhile_is_others(open_store, monkeypatch):
    store, other = await open_store(), await open_store("n2")
    fresh, old, call = Fresh(store), store.session.id, store.link.call

    async def late(function, step_keys, args, **more):
        answer = await call(function, step_keys, args, **more)
        store.session.renew()
        return answer

    monkeypatch.setattr(store.link, "call", late)
    assert await fresh.accept(0, [message()]) is True
    monkeypatch.setattr(store.link, "call", call)
    assert (fresh.taken, fresh.promised) == ([], [])
    assert await other.queues.reclaim(0, old, 100) == 1


async def test_a_farewell_gives_back_what_was_claimed_at_once(open_store):
    store = await open_store()
    fresh = Fresh(store)
    await fresh.accept(0, [message()])
    await store.queues.farewell()
    assert await store.link.command("ZCARD", keys.due_key(keys.lane_prefix(0), POOL.encode(), DOMAIN.encode())) == 1
