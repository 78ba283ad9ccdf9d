"""An undo over stores in memory: who is waited for, what comes back, and that it goes on."""

from collections.abc import Callable, Sequence

import msgspec
import pytest

from mta.model.errors import StoreAway
from mta.model.events import Event, EventType
from mta.model.ids import DeliveryId
from mta.model.mail import QueueKey, Record
from mta.model.outcomes import Stage
from mta.model.rules import Head, Rule, Selectors
from mta.orders.undo import UndoRuns
from mta.ports.orders import Effect
from mta.ports.rule_store import Edit
from mta.ports.undo import Reinstatement, UndoCopy
from tests.support.actors import ME
from tests.support.memory_rules import MemoryRules, Shared

NOW = 1_000_000
WINDOW = 600_000
RULE = Rule("r1", Selectors(tag="c"), 554, generation=1)


class Copies:
    """The undo copies of r1 in one lane."""

    lanes = 1

    def __init__(self, count: int) -> None:
        self.left = [copy(n) for n in range(count)]
        self.back: list[Reinstatement] = []
        self.faults = 0
        self.lost = 0  # answers of reinstating
        self.again = False  # what returns is ended again at once

    async def copies(self, lane: int, rule: str, most: int) -> list[UndoCopy]:
        if self.faults:
            self.faults -= 1
            raise StoreAway("no answer")
        return self.left[:most]

    async def count(self, rule: str, now_ms: int) -> int:
        return len(self.left)

    async def kept(self, lane: int, rule: str, some: Sequence[UndoCopy]) -> set[DeliveryId]:
        return {one.id for one in some} & {one.id for one in self.left}

    async def reinstate(self, lane: int, rule: str, some: Sequence[Reinstatement]) -> int:
        self.back += some
        ids = {one.copy.id for one in some}
        left = [one for one in self.left if one.id not in ids]
        self.left = [*left, *(one.copy for one in some)] if self.again else left
        if self.lost:
            self.lost -= 1
            raise StoreAway("the answer was lost")
        return len(ids)


class Orders:
    def __init__(self) -> None:
        self.rule = RULE
        self.effective = True
        self.edits = 0

    async def edit(self, rule_id: str, edit: Edit, by: str, wait: float, until: str) -> Effect | None:
        self.edits += 1
        self.rule = msgspec.structs.replace(edit(self.rule), generation=self.rule.generation + 1)
        return await self.effect(self.rule)

    async def effect(self, rule: Rule) -> Effect:
        return Effect(rule, False, self.effective, NOW, NOW, (), NOW, (), ())


def copy(number: int, **record: object) -> UndoCopy:
    made = Record("from@x.example", f"a{number}@x.example", ("c",), 10, 5, NOW + 1000, deferred_by="r0")
    made = msgspec.structs.replace(made, **record)
    id_ = DeliveryId(number.to_bytes(18, "big"))
    return UndoCopy(id_, QueueKey("p", "x.example"), Stage.ATTEMPT, number % 2 == 1, NOW - 7000 + WINDOW, made, 0)


Make = Callable[[Copies], UndoRuns]


@pytest.fixture
def orders() -> Orders:
    return Orders()


@pytest.fixture
def shared() -> Shared:
    return Shared()


@pytest.fixture
def make(orders: Orders, shared: Shared) -> Make:
    def one(copies: Copies) -> UndoRuns:
        rules = MemoryRules(shared, "api", 0.0)
        return UndoRuns(orders, rules, copies, "n1", WINDOW, wall=lambda: NOW)  # type: ignore[arg-type]

    return one


async def test_all_comes_back_with_the_time_that_it_had_left(make: Make, orders: Orders) -> None:
    copies = Copies(3)
    copies.left += [copy(8, held_at=NOW - 9000), copy(9, scheduled_at=NOW + 50)]
    undone = await make(copies).undo("r1", RULE, ME, 5.0)
    assert undone is not None
    assert (undone.reinstated, undone.left, undone.done) == (5, 0, True)
    assert orders.rule.enabled is False
    records = [one.record for one in copies.back]
    assert [record.expires_at - NOW for record in records] == [8000, 8000, 8000, 10_000, 8000]
    assert [record.uncertain for record in records] == [False, True, False, False, True]
    assert {(record.deferred_by, record.held_at) for record in records} == {("", 0)}
    assert [one.due_at - NOW for one in copies.back] == [0, 0, 0, 0, 50]
    event = msgspec.msgpack.decode(copies.back[0].event, type=Event)
    assert (event.type, event.time, event.node, event.recipient) == (EventType.REINSTATED, NOW, "n1", "a0@x.example")
    assert event.seq == copies.back[0].record.seq == copies.back[0].copy.record.seq + 2  # its interception was one


async def test_nothing_comes_back_before_the_rule_is_out_of_force_everywhere(make: Make, orders: Orders) -> None:
    copies = Copies(2)
    undo = make(copies)
    orders.effective = False
    first = await undo.undo("r1", RULE, ME, 0.1)
    assert first is not None
    assert (first.reinstated, first.left, first.done) == (0, 2, False)
    assert not copies.back
    orders.effective = True
    second = await undo.undo("r1", orders.rule, ME, 5.0)
    assert second is not None
    assert (second.reinstated, second.left, second.done, orders.edits) == (2, 0, True, 1)


async def test_a_store_that_is_away_is_asked_again(make: Make) -> None:
    copies = Copies(2)
    copies.faults = 1
    undone = await make(copies).undo("r1", RULE, ME, 5.0)
    assert undone is not None
    assert (undone.reinstated, undone.done) == (2, True)


async def test_a_rule_that_ends_the_same_mail_again_does_not_keep_it_going(make: Make) -> None:
    copies = Copies(150)
    copies.again = True
    undone = await make(copies).undo("r1", RULE, ME, 5.0)
    assert undone is not None
    assert (undone.reinstated, undone.left, undone.done) == (150, 150, True)


async def test_a_removed_rule_is_undone_once_nobody_decides_by_it(make: Make, orders: Orders, shared: Shared) -> None:
    assert await make(Copies(0)).undo("r1", None, ME, 1.0) is None
    shared.head = Head(4, "c4")
    behind = MemoryRules(shared, "worker")
    await behind.confirm(1, shared.head, (), {})
    shared.head = Head(5, "c5")
    copies = Copies(1)
    undo = make(copies)
    undone = await undo.undo("r1", None, ME, 5.0)
    assert undone is not None
    assert (undone.effect, undone.reinstated, undone.done, orders.edits) == (None, 1, True, 0)
    assert shared.barriers == [5], "decisions by older tables are refused before anything comes back"


async def test_stop_leaves_the_other_copies(make: Make, orders: Orders) -> None:
    orders.effective = False
    copies = Copies(2)
    undo = make(copies)
    await undo.undo("r1", RULE, ME, 0.0)
    await undo.stop()
    assert len(copies.left) == 2


async def test_k2_what_returned_by_a_step_whose_answer_was_lost_is_counted(make: Make) -> None:
    copies = Copies(250)
    copies.lost = 1
    undone = await make(copies).undo("r1", RULE, ME, 5.0)
    assert undone is not None
    assert (undone.reinstated, undone.left, undone.done) == (250, 0, True)
    assert len({one.copy.id for one in copies.back}) == len(copies.back) == 250


async def test_k2_a_batch_that_did_not_return_is_counted_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    copies = Copies(3)
    kept, reinstate, faults = copies.kept, copies.reinstate, [1]

    async def away(lane: int, rule: str, some: Sequence[Reinstatement]) -> int:
        if faults:
            faults.pop()
            raise StoreAway("it did not arrive")
        return await reinstate(lane, rule, some)

    monkeypatch.setattr(copies, "reinstate", away)
    undone = await make(copies).undo("r1", RULE, ME, 5.0)
    assert undone is not None
    assert (undone.reinstated, undone.left, await kept(0, "r1", [])) == (3, 0, set())
