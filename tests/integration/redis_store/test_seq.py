"""`seq`: each change of a delivery has a greater number than the one before, in its events, its record and its end."""

from typing import Any

import msgspec
import pytest

from mta.model.events import Event, EventType
from mta.model.mail import Record
from mta.model.outcomes import Class, Forced, Origin, Outcome, Reply, Stage, Verdict
from mta.model.rules import Head, Kind, Rule, Selectors
from mta.model.settings import DeliverySettings, NodeSettings, Settings
from mta.policy.rule_table import RuleTable
from mta.policy.shaping import Shaping
from mta.ports.queueing import Settled
from mta.ports.sweeps import SweepMove
from mta.redis_store import codec
from mta.scheduling.settlement import Terms, decide, park
from mta.sweeps.sweep_moves import Decider
from mta.timing.clock import wall_ms
from tests.support.actors import ME
from tests.support.stores import QUEUE, message

TERMS = Terms("n1", DeliverySettings(), Shaping(Settings(node=NodeSettings(name="n1"))))
LATER = Outcome(Verdict.TEMPORARY, Reply(450, "4.2.1", "later"), Origin.REMOTE, "192.0.2.1", "mx", "192.0.2.2")
TAKEN = Outcome(Verdict.DELIVERED, Reply(250, "2.0.0", "ok"), Origin.REMOTE, "192.0.2.1", "mx", "192.0.2.2")
STOPPED = Outcome(Verdict.INTERCEPTED, Reply(554), Origin.FORCED, forced=Forced("r1", 3, Stage.ATTEMPT))


async def told(store: Any) -> list[tuple[EventType, int]]:
    """Type and number of each event of the lane."""
    entries = (await store.outbox.read(0, "0-0", 2**20)).entries
    events = [msgspec.msgpack.decode(raw, type=Event) for entry in entries for raw in entry.events]
    return [(event.type, event.seq) for event in events]


async def attempt(store: Any, outcome: Outcome) -> None:
    """One attempt of the only delivery, which is due at once again where it is deferred."""
    [claimed] = await store.claim(0)
    change = decide(claimed, outcome, wall_ms(), TERMS, 0.0)
    change.due_at = min(change.due_at, 1)
    assert await store.queues.settle(0, [change]) == [Settled.OK]


async def test_each_attempt_and_the_end_count_and_cost_one_byte_of_the_record(open_store):
    store = await open_store()
    sent = message()
    await store.queues.accept(0, [sent])
    await attempt(store, LATER)
    await attempt(store, LATER)
    (found,) = await store.message_store.find(sent.id, 1)
    assert found.record.seq == 3
    without = len(codec.encode(msgspec.structs.astuple(found.record)[:-1]))
    assert len(codec.encode(found.record)) == without + 1
    await attempt(store, TAKEN)
    (found,) = await store.message_store.find(sent.id, 1)
    assert (found.ended, found.final.seq) == (Class.DELIVERED, 4)
    failed = EventType.TRANSIENT_FAILURE
    assert await told(store) == [(EventType.RECEPTION, 1), (failed, 2), (failed, 3), (EventType.DELIVERY, 4)]


@pytest.mark.parametrize("seq", [1, 125, 126, 127, 254, 255, 300, 65_000])
async def test_a_late_delivery_has_a_greater_number_than_the_end_that_it_replaces(open_store, seq):
    dead, other = await open_store(), await open_store("n2")
    sent = message()
    await dead.queues.accept(0, [sent])
    [claimed] = await dead.claim(0)
    late = decide(claimed, TAKEN, wall_ms(), TERMS, 0.0)
    await other.queues.reclaim(0, dead.session.id, 100)
    [again] = await other.claim(0)
    changed: Record = msgspec.structs.replace(again.record, seq=seq)
    again.record = changed
    await other.queues.settle(0, [decide(again, STOPPED, wall_ms(), TERMS, 0.0)])
    assert await dead.queues.settle(0, [late]) == [Settled.STALE]
    (found,) = await other.message_store.find(sent.id, 1)
    assert (found.ended, found.final.seq) == (Class.DELIVERED, seq + 2)
    assert found.final.recipient == "a@example.com"
    assert (await told(other))[1:] == [(EventType.INTERCEPTED, seq + 1), (EventType.LATE_OUTCOME, seq + 2)]


async def test_a_parked_delivery_keeps_its_doubt_and_its_cancellation_counts_on(open_store):
    store = await open_store()
    sent = message()
    await store.queues.accept(0, [sent])
    [claimed] = await store.claim(0)
    claimed.reclaims = 5
    await store.queues.settle(0, [park(claimed, wall_ms(), TERMS, "poison")])
    (found,) = await store.message_store.find(sent.id, 1)
    assert (found.record.seq, found.uncertain) == (2, True)
    await store.messages.cancel(sent.id, ME, 1.0)
    (found,) = await store.message_store.find(sent.id, 1)
    assert (found.ended, found.final.seq) == (Class.CANCELED, 3)
    assert await told(store) == [
        (EventType.RECEPTION, 1), (EventType.PARKED, 2), (EventType.CANCELLATION, 3),
    ]  # fmt: skip


async def test_hold_release_and_interception_count(open_store):
    store = await open_store()
    await store.queues.accept(0, [message()])
    decider = Decider("n1", 60_000, wall_ms)
    pause, error = Rule("p", Selectors(tag="red"), kind=Kind.PAUSE), Rule("r", Selectors(tag="red"), 554)
    held = RuleTable.build(Head(1, "a"), [pause])
    _, page = await store.sweeps.scan(0, QUEUE, 0, 10)
    await store.sweeps.move(0, "", SweepMove.HOLD, 1, decider.decide(held, page)[SweepMove.HOLD])
    page = await store.sweeps.first_held(0, "p", 10)
    free = RuleTable.build(Head(2, "b"), [])
    await store.sweeps.move(0, "p", SweepMove.RELEASE, 2, decider.decide(free, page, "p")[SweepMove.RELEASE])
    _, page = await store.sweeps.scan(0, QUEUE, 0, 10)
    assert [one.record.seq for one in page] == [3]
    stop = RuleTable.build(Head(3, "c"), [error])
    await store.sweeps.move(0, "", SweepMove.INTERCEPT, 3, decider.decide(stop, page)[SweepMove.INTERCEPT])
    assert await told(store) == [
        (EventType.RECEPTION, 1), (EventType.HOLD, 2), (EventType.RELEASE, 3), (EventType.INTERCEPTED, 4),
    ]  # fmt: skip
    [copy] = await store.undo_copies.copies(0, "r", 10)
    assert copy.record.seq == 3
