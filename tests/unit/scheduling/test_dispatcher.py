import asyncio

import msgspec
import pytest

from mta.model.events import Event
from mta.model.ids import message_of
from mta.model.mail import QueueKey, QueueShare
from mta.model.outcomes import Class, Origin, Outcome, Reply, Verdict
from mta.model.rules import Rule, Selectors
from mta.policy.sending_window import read_window
from mta.policy.shaping import Shaping
from mta.ports.queueing import Due, Move
from mta.scheduling.claim_lanes import ClaimLanes
from mta.scheduling.dispatcher import Dispatcher
from mta.scheduling.lane_view import LaneView
from mta.scheduling.queue_room import QueueRoom
from mta.scheduling.settler import Settler
from tests.support.scheduling import NOW, QUEUE, SETTINGS, FakeClaims, FakeDeliver, FakeRules, a_claim, until


class Bench:
    def __init__(self, claims, room=1000, rules=None):
        self.claims, self.deliver, self.rules = claims, FakeDeliver(room), rules or FakeRules()
        self.lanes = ClaimLanes(claims.lanes)
        self.room = QueueRoom(self.lanes)
        self.settler = Settler(claims, self.rules, SETTINGS, Shaping(SETTINGS), self.lanes.wake, clock=lambda: NOW)
        self.dispatcher = Dispatcher(
            claims, self.deliver, self.rules, self.settler, lambda: ("p",), self.lanes, self.room,
            simulate_domain="simulate.invalid", clock=lambda: NOW,
        )  # fmt: skip

    def tell_room(self, queue):
        self.room.room_for(queue, lambda: self.deliver.room(queue))

    async def __aenter__(self):
        self.dispatcher.start()
        return self

    async def __aexit__(self, *_):
        await self.dispatcher.drain()
        await self.settler.drain()


@pytest.fixture
def no_ticks(monkeypatch):
    """A lane looks at its agenda when something wakes it, and at no other time."""
    monkeypatch.setattr("mta.scheduling.dispatcher._TICK", 3600.0)


async def test_everything_due_is_taken_once_within_room():
    claims = FakeClaims(lanes=4)
    claims.put(*(a_claim(lane=n % 4, queue=QueueKey("p", f"d{n % 7}")) for n in range(700)))
    async with Bench(claims) as bench:
        await until(lambda: len(bench.deliver.taken) == 700)
    assert len({one.id for one in bench.deliver.taken}) == 700


async def test_four_lanes_never_overrun_room_and_go_on_when_it_comes(no_ticks):
    claims = FakeClaims(lanes=4)
    claims.put(*(a_claim(lane=n % 4) for n in range(120)))
    async with Bench(claims, room=10) as bench:
        for want in range(10, 130, 10):
            await until(lambda want=want: len(bench.deliver.taken) == want)
            bench.deliver.left[QUEUE] += 10
            bench.tell_room(QUEUE)


async def test_a_rule_for_a_tenant_meets_its_mail_at_the_claim_and_on_its_way_back():
    claims = FakeClaims()
    theirs, others = a_claim(tenant="acme"), a_claim()
    claims.put(theirs, others)
    rules = FakeRules(Rule("r", Selectors(tenant="acme"), 554))
    async with Bench(claims, rules=rules) as bench:
        await until(lambda: bench.deliver.taken)
        back = a_claim(tenant="acme")
        bench.settler.settle(back, Outcome(Verdict.RETURNED, Reply(451), Origin.LOCAL))
        await until(lambda: len(claims.settled) == 2)
    assert [one.id for one in bench.deliver.taken] == [others.id]
    assert {one.id for one in claims.settled if one.ended is Class.INTERCEPTED} == {theirs.id, back.id}
    assert {msgspec.msgpack.decode(one.event, type=Event).tenant for one in claims.settled} == {"acme"}


async def test_mail_whose_window_is_closed_goes_back_until_it_opens():
    minute = NOW // 60_000 % 1440
    shut, open_ = (read_window(f"{_clock(minute + by)}-{_clock(minute + by + 1)}") for by in (5, 0))
    claims = FakeClaims()
    waits, goes = a_claim(window=shut), a_claim(window=open_)
    claims.put(waits, goes)
    async with Bench(claims) as bench:
        await until(lambda: bench.deliver.taken and claims.settled)
    assert [one.id for one in bench.deliver.taken] == [goes.id]
    [back] = claims.settled
    assert (back.id, back.move, back.due_at) == (waits.id, Move.QUEUE, NOW - NOW % 60_000 + 300_000)


async def test_simulated_mail_never_reaches_egress():
    claims = FakeClaims()
    flagged, of_domain = a_claim(simulated=True), a_claim(queue=QueueKey("p", "simulate.invalid"))
    other, matched = a_claim(), a_claim(simulated=True, tags=("stop",))
    claims.put(flagged, of_domain, other, matched)
    async with Bench(claims, rules=FakeRules(Rule("r", Selectors(tag="stop"), 554))) as bench:
        await until(lambda: bench.deliver.taken and len(claims.settled) == 3)
    assert [one.id for one in bench.deliver.taken] == [other.id]
    ended = {one.id: one.ended for one in claims.settled}
    assert ended == {
        flagged.id: Class.SIMULATED, of_domain.id: Class.SIMULATED, matched.id: Class.INTERCEPTED
    }  # fmt: skip


def _clock(minute):
    return f"{minute // 60 % 24:02}:{minute % 60:02}"


async def test_what_was_canceled_meanwhile_ends_before_any_attempt():
    claims = FakeClaims()
    canceled, marked, poison, other = a_claim(tags=("stop",)), a_claim(), a_claim(reclaims=5), a_claim()
    marked.canceled_by = ""
    claims.put(canceled, marked, poison, other)
    rules = FakeRules(Rule("r", Selectors(tag="stop"), 554))
    rules.canceled = {message_of(canceled.id): "ops", message_of(poison.id): "ops"}
    async with Bench(claims, rules=rules) as bench:
        await until(lambda: bench.deliver.taken)
    assert [one.id for one in bench.deliver.taken] == [other.id]
    assert {one.id: (one.move, one.ended) for one in claims.settled} == {
        canceled.id: (Move.END, Class.CANCELED),
        marked.id: (Move.END, Class.CANCELED),
        poison.id: (Move.PARK, None),  # the store asks for it again, as canceled, where its record can be read
    }


async def test_idle_it_asks_no_more_than_each_tick():
    claims = FakeClaims()
    async with Bench(claims):
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(0.3)
        assert claims.agendas <= 2 + (asyncio.get_running_loop().time() - began)
        assert not claims.claims


async def test_a_hint_wakes_a_lane(no_ticks):
    claims = FakeClaims()
    async with Bench(claims) as bench:
        await until(lambda: claims.agendas)
        claims.put(a_claim())
        bench.lanes.wake(0)
        await until(lambda: bench.deliver.taken)


async def test_a_lane_that_is_woken_all_the_time_takes_more_with_each_look():
    claims = FakeClaims()
    async with Bench(claims) as bench:
        await until(lambda: claims.agendas)
        began = asyncio.get_running_loop().time()
        for _ in range(150):
            claims.put(a_claim())
            bench.lanes.wake(0)
            await asyncio.sleep(0.001)
        await until(lambda: len(bench.deliver.taken) == 150)
        taken = asyncio.get_running_loop().time() - began
        assert claims.agendas <= taken / 0.02 + 20, "one in 20 ms, and few more, not one for each of 150"


async def test_rules_poison_and_expiry_are_met_before_egress():
    claims = FakeClaims()
    claims.put(
        a_claim(tags=("stop",)), a_claim(tags=("wait",)), a_claim(reclaims=5), a_claim(expires_at=NOW), a_claim()
    )
    stop, wait = Rule("s", Selectors(tag="stop"), 554), Rule("w", Selectors(tag="wait"), 450)
    async with Bench(claims, rules=FakeRules(stop, wait)) as bench:
        await until(lambda: len(claims.settled) == 4)
        assert len(bench.deliver.taken) == 1
    assert {(change.move, change.ended) for change in claims.settled} == {
        (Move.END, Class.INTERCEPTED), (Move.QUEUE, None), (Move.PARK, None), (Move.END, Class.EXPIRED)
    }  # fmt: skip


async def test_without_a_permit_nothing_is_claimed(no_ticks):
    claims, rules = FakeClaims(), FakeRules()
    claims.put(a_claim())
    rules.permit = False
    async with Bench(claims, rules=rules) as bench:
        await asyncio.sleep(0.05)
        assert not claims.claims
        rules.permit = True
        rules.resume()
        await until(lambda: bench.deliver.taken)


async def test_domains_without_room_do_not_hide_others(no_ticks):
    claims = FakeClaims()
    full = [QueueKey("p", f"full{n}") for n in range(300)]
    claims.put(*(a_claim(queue=queue) for queue in full), at=NOW - 1000)
    claims.put(a_claim())
    bench = Bench(claims)
    bench.deliver.left.update(dict.fromkeys(full, 0))
    async with bench:
        await until(lambda: bench.deliver.taken)


def test_a_turn_is_shared_evenly_and_what_was_served_goes_last():
    view, a, b = LaneView(), QueueKey("p", "a"), QueueKey("p", "b")
    view.take([Due(a, 1), Due(b, 2)], 10)
    assert view.wants(5, lambda *_: 1000, 100) == [(a, 50, ""), (b, 50, "")]
    assert view.wants(5, lambda queue, _: 5 if queue == a else 1000, 100) == [(a, 5, ""), (b, 95, "")]
    wants = view.wants(5, lambda *_: 1000, 1)
    view.served(wants, {QueueShare(a): 1}, False)
    assert view.wants(5, lambda *_: 1000, 1)[0].queue == b


async def test_what_intake_accepts_is_taken_within_the_room_that_claims_leave():
    claims = FakeClaims()
    async with Bench(claims, room=10) as bench:
        fresh = bench.dispatcher
        assert fresh.reserve(QUEUE, 6) == 6
        assert fresh.reserve(QUEUE, 6) == 4
        assert fresh.reserve(QUEUE, 6) == 0
        fresh.take(QUEUE, 6, [])
        fresh.take(QUEUE, 4, [a_claim() for _ in range(4)])
        assert len(bench.deliver.taken) == 4
        assert fresh.reserve(QUEUE, 100) == 6
        fresh.take(QUEUE, 6, [])
    assert fresh.reserve(QUEUE, 1) == 0  # it drains


async def test_what_intake_accepts_is_left_to_the_queue_without_permit_pool_connection_or_turn():
    claims = FakeClaims()
    async with Bench(claims, room=1) as bench:
        assert bench.dispatcher.reserve(QueueKey("other", "example.com"), 1) == 0
        bench.rules.permit = False
        assert bench.dispatcher.reserve(QUEUE, 1) == 0
        bench.rules.permit = True
        bench.deliver.crowded.add(QUEUE)
        assert bench.dispatcher.reserve(QUEUE, 1) == 0
        bench.deliver.crowded.clear()
        claims.put(a_claim(), a_claim())
        bench.lanes.wake_all()
        await until(lambda: QUEUE in bench.room)
        bench.deliver.left[QUEUE] = 1
        assert bench.dispatcher.reserve(QUEUE, 1) == 0


async def test_rules_meet_what_was_claimed_as_it_was_accepted():
    claims = FakeClaims()
    async with Bench(claims, rules=FakeRules(Rule("r", Selectors(tag="t"), 554))) as bench:
        assert bench.dispatcher.reserve(QUEUE, 1) == 1
        bench.dispatcher.take(QUEUE, 1, [a_claim()])
        await bench.settler.flush()
    assert (bench.deliver.taken, bench.dispatcher.intercepted) == ([], 1)


async def test_d9_mail_of_a_queue_without_room_expires_and_the_rest_stays(monkeypatch):
    monkeypatch.setattr("mta.scheduling.dispatcher._BLOCKED", 0.1)
    monkeypatch.setattr("mta.scheduling.dispatcher._BLOCKED_EVERY", 0.05)
    claims = FakeClaims()
    waits, over = [a_claim() for _ in range(5)], [a_claim(expires_at=NOW) for _ in range(5)]
    claims.put(*waits, *over)
    async with Bench(claims, room=0) as bench:
        await until(lambda: len([one for one in claims.settled if one.ended is Class.EXPIRED]) == 5)
    assert {one.id for one in claims.settled if one.ended is Class.EXPIRED} == {one.id for one in over}
    assert {one.id for one in claims.settled if one.move is Move.QUEUE} == {one.id for one in waits}
    assert not bench.deliver.taken


async def test_d9_a_queue_that_gets_room_now_and_then_is_not_looked_through(monkeypatch):
    monkeypatch.setattr("mta.scheduling.dispatcher._BLOCKED", 2.0)
    monkeypatch.setattr("mta.scheduling.dispatcher._BLOCKED_EVERY", 0.02)
    claims = FakeClaims()
    claims.put(*(a_claim() for _ in range(10)))
    async with Bench(claims, room=1) as bench:
        for taken in range(1, 11):
            await until(lambda taken=taken: len(bench.deliver.taken) == taken)
            await asyncio.sleep(0.25)
            bench.deliver.left[QUEUE] += 1
            bench.tell_room(QUEUE)
    assert not claims.settled


async def test_a_few_of_a_share_are_claimed_beyond_the_room_that_others_use_up():
    claims = FakeClaims()
    claims.put(*(a_claim() for _ in range(10)), *(a_claim(share="acme", tenant="acme") for _ in range(10)))
    bench = Bench(claims, room=0)
    bench.deliver.beyond["acme"] = 64
    async with bench:
        await until(lambda: len(bench.deliver.taken) >= 4)
        bench.deliver.beyond.clear()
        await asyncio.sleep(0)
    assert {one.share for one in bench.deliver.taken} == {"acme"}
    assert all(most <= 4 for wants in claims.claims for _, most, _ in wants)
