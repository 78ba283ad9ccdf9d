"""The puller: one rule for each pull, whoever dies in between, and a window that begins anew."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest

from mta.brakes.puller import BrakePuller
from mta.brakes.watch import BrakeWatch
from mta.model.actor import Actor
from mta.model.audit import Deed
from mta.model.brakes import Brake, Metric, Pull
from mta.model.errors import BadValue, StoreAway
from mta.model.rules import Rule, Selectors
from mta.orders.order_book import OrderBook
from mta.rules.guard import Guard
from tests.support.brakes import Brakes
from tests.support.eventually import eventually
from tests.support.memory_rules import MemoryRules, Shared

ERROR = Rule("", Selectors(tag="any"), 554)
BRAKE = Brake("b1", Metric.HARD_BOUNCE, 0.05, 80, 600.0, ERROR, tag="red")
RED = ("b1", "red")


class Told:
    """Alerts and the audit."""

    def __init__(self) -> None:
        self.mails: list[str] = []
        self.deeds: list[Deed] = []
        self.takes = True

    async def send(self, subject: str, lines: Sequence[str]) -> bool:
        if self.takes:
            self.mails.append(subject)
        return self.takes

    async def note(self, actor: Actor, deed: Deed) -> None:
        self.deeds.append(deed)


class Process:
    """One worker's puller."""

    def __init__(self, name: str, store: Brakes, shared: Shared, told: Told) -> None:
        self.now = 100.0
        self.wall = 1_700_000_000_000
        self.rules = MemoryRules(shared, name, roles=("delivery",))
        self.guard = Guard(self.rules, "")
        self.book = OrderBook(self.rules, None)  # type: ignore[arg-type]
        self.watch = BrakeWatch(store, 1)
        self.puller = BrakePuller(
            store, self.watch, self.guard, self.rules, self.book, told, told, name,  # type: ignore[arg-type]
            now=lambda: self.now, wall=lambda: self.wall,
        )  # fmt: skip

    async def look(self) -> None:
        self.now += 1.0
        await self.watch.look()
        await self.puller.look()


class Rig:
    def __init__(self) -> None:
        self.store, self.shared, self.told = Brakes(), Shared(), Told()
        self.processes: list[Process] = []

    async def process(self, name: str) -> Process:
        made = Process(name, self.store, self.shared, self.told)
        made.guard.start()
        await made.guard.ready()
        self.processes.append(made)
        return made

    @property
    def rules(self) -> list[Rule]:
        return list(self.shared.rules.values())


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    await made.store.add(BRAKE)
    yield made
    for process in made.processes:
        await process.book.stop()
        await process.guard.stop()


async def test_a_tag_beyond_the_limit_gets_its_rule_once(rig: Rig) -> None:
    one = await rig.process("w1")
    rig.store.count(RED, 4, 80)
    await one.look()
    assert rig.rules == []
    rig.store.count(RED, 5, 80)
    await one.look()
    await one.look()
    (rule,) = rig.rules
    assert (rule.code, rule.selectors.tag, rule.created_by) == (554, "red", "brake:b1")
    assert rig.told.mails == ["brake pulled: red, hard_bounce 6.25 %"]
    (deed,) = rig.told.deeds
    assert deed.action == "brake.pull"
    assert deed.after == {
        "tag": "red", "metric": "hard_bounce", "hits": 5, "counted": 80, "ratio": 0.0625, "limit": 0.05, "pull": 1,
    }  # fmt: skip


async def test_only_the_leader_pulls(rig: Rig) -> None:
    one, two = await rig.process("w1"), await rig.process("w2")
    await one.look()
    rig.store.count(RED, 50, 80)
    await two.look()
    assert rig.rules == []
    await one.look()
    assert len(rig.rules) == 1


async def test_a_process_that_takes_over_makes_the_rule_that_was_noted(rig: Rig) -> None:
    """The first dies after the note. The second makes the rule of that note, and no other."""
    two = await rig.process("w2")
    noted = await rig.store.note(Pull("b1", "red", "", 1, 77_000, 6, 80))
    rig.store.count(RED, 70, 80)
    await two.look()
    (rule,) = rig.rules
    assert rule.created_at == noted.at
    assert "6 of 80" in rule.reason
    assert [pull.rule for pull in await rig.store.pulls()] == [rule.id]


async def test_two_that_both_lead_make_one_rule(rig: Rig) -> None:
    one, two = await rig.process("w1"), await rig.process("w2")
    rig.store.count(RED, 6, 80)
    await one.look()
    rig.store.leader = "w2"
    rig.store.kept = {key: msgspec.structs.replace(p, rule="", generation=0) for key, p in rig.store.kept.items()}
    before = rig.shared.head.generation
    await two.look()
    assert len(rig.rules) == 1
    assert rig.shared.head.generation == before, "it stands already: no second order"


async def test_a_rule_of_a_person_stays_as_it_is(rig: Rig) -> None:
    one = await rig.process("w1")
    put, _ = await one.rules.put(Rule("hand", Selectors(tag="red"), 550, created_by="ann"), "c1")
    rig.store.count(RED, 6, 80)
    await one.look()
    assert rig.rules == [put.rule]
    assert [pull.rule for pull in await rig.store.pulls()] == ["hand"]


async def test_once_the_rule_is_lifted_the_window_begins_anew_and_it_may_be_pulled_again(rig: Rig) -> None:
    one = await rig.process("w1")
    rig.store.count(RED, 6, 80)
    await one.look()
    (first,) = rig.rules
    await one.look()
    assert rig.store.cleared == [], "the rule is in force"
    await one.rules.remove(first.id, "c2")
    await eventually(lambda: one.guard.table.rule(first.id) is None)
    await one.look()
    assert rig.store.cleared == [RED]
    await one.look()
    assert rig.rules == []
    rig.store.count(RED, 8, 80)
    await one.look()
    (second,) = rig.rules
    assert second.id != first.id
    assert [pull.number for pull in await rig.store.pulls()] == [2]


async def test_a_rule_whose_time_is_over_counts_as_lifted(rig: Rig) -> None:
    await rig.store.add(msgspec.structs.replace(BRAKE, lasts=60.0))
    one = await rig.process("w1")
    rig.store.count(RED, 6, 80)
    await one.look()
    await eventually(lambda: one.guard.table.rule(rig.rules[0].id) is not None)
    one.wall += 60_001
    await one.look()
    assert rig.store.cleared == [RED]


async def test_an_alert_that_is_not_taken_is_sent_again(rig: Rig) -> None:
    one = await rig.process("w1")
    rig.told.takes = False
    rig.store.count(RED, 6, 80)
    await one.look()
    assert len(rig.rules) == 1
    rig.told.takes = True
    await one.look()
    await one.look()
    assert len(rig.told.mails) == 1


async def test_a_rule_that_is_refused_is_tried_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await rig.process("w1")

    async def full(*_: object) -> None:
        raise BadValue("rules.max_rules", "there are too many")

    with monkeypatch.context() as patch:
        patch.setattr(one.book, "put", full)
        rig.store.count(RED, 6, 80)
        await one.look()
    assert rig.rules == []
    await one.look()
    assert len(rig.rules) == 1


async def test_a_store_that_fails_in_between_loses_no_crossing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """`touched` has told of the tag, and its count could not be read: the next look asks for all tags."""
    one = await rig.process("w1")
    await one.look()
    failed = asyncio.Event()

    async def away(*_: object) -> None:
        failed.set()
        raise StoreAway("away")

    with monkeypatch.context() as patch:
        patch.setattr(rig.store, "rates", away)
        rig.store.count(RED, 6, 80)
        patch.setattr("mta.brakes.puller._LOOK_EVERY", 0.01)
        running = asyncio.create_task(one.puller.run())
        await asyncio.wait_for(failed.wait(), 30.0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await one.look()
    assert len(rig.rules) == 1


async def test_a_brake_that_is_removed_pulls_nothing_more(rig: Rig) -> None:
    one = await rig.process("w1")
    rig.store.count(RED, 6, 80)
    await one.look()
    await rig.store.remove("b1")
    rig.store.count(("b1", "blue"), 60, 80)
    await one.look()
    assert len(rig.rules) == 1
    assert one.watch.metrics() == {}
