"""Orders with a bound as a sweeper process decides them: in order, once, and told of while they are late."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from mta.model.errors import OldReaders, StoreAway
from mta.model.ids import delivery_id, delivery_text, new_message_id
from mta.model.mail import QueueKey, Record
from mta.model.rules import BoundState, Effective, Kind, Rule, Selectors
from mta.model.sweeps import SweepPhase, SweepState
from mta.orders.order_book import OrderBook
from mta.policy.bounded_orders import hold_for
from mta.ports.sweeps import WaitingDelivery
from mta.rules.guard import Guard
from mta.sweeps.bounded_orders import BoundedOrders
from mta.timing.clock import wall_ms
from tests.support.eventually import eventually
from tests.support.memory_rules import MemoryRules, Shared


class Mail:
    """The parts of SweepStore and Books that a decision asks."""

    lanes = 1

    def __init__(self) -> None:
        self.done: dict[str, int] = {}  # hold -> generation whose sweep is done
        self.done_at = wall_ms()
        self.held: dict[str, int] = {}
        self.claimed: list[WaitingDelivery] = []

    async def sweep(self, order: str) -> SweepState | None:
        if order not in self.done:
            return None
        return SweepState(order, self.done[order], SweepPhase.DONE, 9, 9, 1, self.done_at, 77)

    async def pauses(self, lane: int) -> list[str]:
        return [name for name, count in self.held.items() if count]

    async def holders(self, lane: int) -> list[str]:
        return ["w1"]

    async def scan_claimed(self, lane: int, session: str, cursor: int, most: int) -> tuple[int, list[WaitingDelivery]]:
        return 0, self.claimed

    async def rule(self, rule_id: str) -> dict[str, int]:
        return {"held": self.held.get(rule_id, 0)}


class Rig:
    def __init__(self) -> None:
        self.shared, self.mail = Shared(), Mail()
        self.rules = MemoryRules(self.shared, "sweeper", roles=("sweeper",))
        self.api = MemoryRules(self.shared, "api")
        self.guard = Guard(self.rules, "")
        self.book = OrderBook(self.rules, self.mail)  # type: ignore[arg-type]
        self.figures: dict[str, float] = {}
        self.bounded_orders = BoundedOrders(self.guard, self.rules, self.book, self.mail, self.mail, self.figures)  # type: ignore[arg-type]

    async def order(self, name: str, most: int, *, age: int = 0, **selectors: object) -> Rule:
        chosen = Selectors(**selectors) if selectors else Selectors(tag="t")  # type: ignore[arg-type]
        order = Rule(name, chosen, 554, created_at=wall_ms() - age, created_by="ann")
        put, _ = await self.api.put(hold_for(order, most), f"c-{name}")
        return put.rule

    def swept(self, hold: Rule, held: int) -> None:
        self.mail.done[hold.id], self.mail.held[hold.id] = hold.generation, held

    def rule(self, name: str) -> Rule | None:
        return self.shared.rules.get(name)

    def state(self, name: str) -> tuple[Kind, BoundState | None, int] | None:
        rule = self.rule(name)
        if rule is None:
            return None
        return rule.kind, rule.bound and rule.bound.state, rule.bound.matched if rule.bound else 0


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    await made.guard.beat()
    made.guard.start()
    task = asyncio.create_task(made.bounded_orders.run())
    yield made
    made.bounded_orders.stop()
    await task
    await made.guard.stop()
    await made.book.stop()


async def until(true: Callable[[], object]) -> None:
    await eventually(true, least=0.005)


async def test_a_hold_is_decided_when_its_sweep_is_done_and_not_before(rig: Rig) -> None:
    hold = await rig.order("h", 5)
    await until(lambda: rig.figures["bounded_orders"] == 1)
    assert rig.state("h") == (Kind.PAUSE, BoundState.COUNTING, 0)
    rig.swept(hold, 5)
    await until(lambda: rig.state("h") == (Kind.ERROR, BoundState.PASSED, 5))
    rule = rig.rule("h")
    assert rule is not None
    assert rule.bound is not None
    assert (rule.code, rule.bound.held_at) == (554, 77)
    await until(lambda: rig.figures["bounded_orders"] == 0)


async def test_a_refused_hold_is_removed_once_it_holds_nothing(rig: Rig) -> None:
    hold = await rig.order("h", 5)
    rig.swept(hold, 6)
    await until(lambda: rig.state("h") == (Kind.PAUSE, BoundState.REFUSED, 6))
    rule = rig.rule("h")
    assert rule is not None
    assert not rule.enabled
    await until(lambda: rig.shared.barriers and rig.shared.barriers[-1] >= rule.generation)
    assert rig.rule("h") is not None, "its mail is not released yet"
    rig.mail.held["h"] = 0
    await until(lambda: rig.rule("h") is None)


async def test_a_newer_hold_waits_for_the_older_and_for_the_mail_that_this_releases(rig: Rig) -> None:
    old, new = await rig.order("old", 5), await rig.order("new", 9, domain="x.test")
    rig.swept(new, 0)
    rig.swept(old, 6)
    await until(lambda: rig.state("old") == (Kind.PAUSE, BoundState.REFUSED, 6))
    assert rig.state("new") == (Kind.PAUSE, BoundState.COUNTING, 0)
    rig.mail.held |= {"old": 0, "new": 6}
    await until(lambda: rig.state("new") == (Kind.ERROR, BoundState.PASSED, 6))
    assert rig.rule("old") is None


async def test_deliveries_of_workers_are_waited_for_and_then_counted(rig: Rig) -> None:
    hold = await rig.order("h", 3)
    name = delivery_id(new_message_id(0, 1), 1)
    record = Record("s@example.net", "u@x.test", ("t",), 10, 1, 1 << 50)
    rig.mail.claimed = [WaitingDelivery(name, QueueKey("p", "x.test"), 0, record, 0)]
    rig.swept(hold, 3)
    looks = len(rig.shared.changes)
    await asyncio.sleep(0.1)
    assert len(rig.shared.changes) == looks, "the worker may still put it to the hold"
    rig.mail.done_at -= 3000
    await until(lambda: rig.state("h") == (Kind.PAUSE, BoundState.REFUSED, 4))


async def test_deliveries_past_their_dot_are_not_counted(rig: Rig) -> None:
    hold = await rig.order("h", 3)
    name = delivery_id(new_message_id(0, 1), 1)
    record = Record("s@example.net", "u@x.test", ("t",), 10, 1, 1 << 50)
    rig.mail.claimed = [WaitingDelivery(name, QueueKey("p", "x.test"), 0, record, 0)]
    await rig.api.save_effect(Effective("h", hold.generation, 77, (delivery_text(name),)), hold)
    rig.swept(hold, 3)
    await until(lambda: rig.state("h") == (Kind.ERROR, BoundState.PASSED, 3))


async def test_a_forced_error_with_the_same_selectors_gets_the_terms(rig: Rig) -> None:
    await rig.api.put(Rule("known", Selectors(tag="t"), 550, enabled=False), "c-known")
    hold = await rig.order("h", 5)
    rig.swept(hold, 2)

    def replaced() -> bool:
        known, rule = rig.rule("known"), rig.rule("h")
        return known is not None and known.code == 554 and rule is not None and not rule.enabled

    await until(replaced)
    rule = rig.rule("h")
    assert rule is not None
    assert rule.bound is not None
    assert rule.bound.became == "known"
    rig.mail.held["h"] = 0
    await until(lambda: rig.rule("h") is None)


async def test_a_person_who_disables_the_hold_decides(rig: Rig) -> None:
    hold = await rig.order("h", 5)
    await rig.api.edit("h", lambda rule: msgspec.structs.replace(rule, enabled=False, bound=None), "c2")
    rig.swept(hold, 2)
    await until(lambda: rig.figures["bounded_orders"] == 0)
    assert rig.state("h") == (Kind.PAUSE, None, 0)


async def test_a_late_hold_is_told_of_once_a_minute_and_never_let_go(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "mta.sweeps.bounded_orders"):
        await rig.order("h", 5, age=31_000)
        await until(lambda: caplog.records)
        await until(lambda: rig.figures["bounded_order_oldest"] >= 31)
        assert "the order h of ann has held mail for 31 s" in caplog.text
        await rig.order("h2", 5, age=31_000)
        await until(lambda: len(caplog.records) == 2)
    assert rig.state("h") == (Kind.PAUSE, BoundState.COUNTING, 0)


async def test_a_store_that_is_away_and_a_process_that_cannot_read_the_rule_delay_a_decision(
    rig: Rig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit, refusals = rig.rules.edit, [OldReaders(["n9/worker/1"]), OldReaders(["n9/worker/1"]), StoreAway("away")]

    async def hindered(*arguments: Any) -> Any:
        if refusals:
            raise refusals.pop(0)
        return await edit(*arguments)

    monkeypatch.setattr(rig.rules, "edit", hindered)
    hold = await rig.order("h", 5)
    with caplog.at_level(logging.WARNING, "mta.sweeps.bounded_orders"):
        rig.swept(hold, 5)
        await until(lambda: rig.state("h") == (Kind.ERROR, BoundState.PASSED, 5))
    assert not refusals
    assert len(caplog.records) == 1, "each trouble is told once, and that the store is away by the supervisor"
    assert "n9/worker/1" in caplog.text
