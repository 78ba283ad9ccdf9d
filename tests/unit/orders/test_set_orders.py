"""Orders for many rules: when a set is effective, and what becomes of one that the store keeps or loses in part."""

from collections.abc import Sequence

import msgspec
import pytest

from mta.model.actor import Actor
from mta.model.errors import OutcomeUnknown, StoreAway
from mta.model.rules import ChangeOp, PastDot, Rule, RuleSet, Selectors, SetMembers
from mta.orders.order_book import OrderBook
from mta.orders.set_orders import SetOrders
from mta.ports.rule_sets import SetPlaced, StoredSet
from mta.rules.guard import Guard
from tests.support.actors import ME
from tests.support.eventually import eventually
from tests.support.memory_rules import Clock, MemoryRules, Shared

ABOUT = RuleSet("a-set", 5, "")


class Sweeps:
    async def sweep(self, order: str) -> None:
        return None


class MemorySets:
    """Fulfils ports.rule_sets.RuleSets: each rule is a part."""

    def __init__(self, rules: MemoryRules) -> None:
        self.rules = rules
        self.fails_after = 1 << 30  # parts
        self.away = False
        self.known: dict[str, StoredSet] = {}

    async def put_set(
        self, about: RuleSet, rules: Sequence[Rule], remove: Sequence[str], by: Actor = ME
    ) -> tuple[SetPlaced, frozenset[str]]:
        made: list[Rule] = []
        before: list[int] = []
        gone: list[Rule] = []
        wait_set = frozenset[str]()
        for number, rule in enumerate(rules):
            if number == self.fails_after:
                raise StoreAway("it went away")
            put, wait_set = await self.rules.put(msgspec.structs.replace(rule, set_id=about.id), f"{about.id}-{number}")
            made.append(put.rule)
            before.append(put.before)
            members = SetMembers(tuple(one.id for one in made), ())
            self.known[about.id] = StoredSet(about, put.rule.generation, members, len(made))
        for rule_id in remove:
            removed = await self.rules.remove(rule_id, f"{about.id}-{rule_id}")
            assert removed is not None
            gone.append(removed[0].rule)
            wait_set = removed[1]
        return SetPlaced(self.rules.shared.head, tuple(made), tuple(before), tuple(gone)), wait_set

    async def stored_set(self, set_id: str) -> StoredSet | None:
        if self.away:
            raise StoreAway("away")
        return self.known.get(set_id)


class Rig:
    def __init__(self) -> None:
        self.clock = Clock()
        self.shared = Shared()
        self.api = MemoryRules(self.shared, "api")
        self.sets = MemorySets(self.api)
        self.guard = Guard(MemoryRules(self.shared, "w1"), "n1", self.clock)
        self.start()

    def start(self) -> None:
        """An API process."""
        self.book = OrderBook(self.api, Sweeps(), self.clock, self.clock.wall)  # type: ignore[arg-type]
        self.orders = SetOrders(self.book, self.api, self.sets)

    async def stop(self) -> None:
        await self.orders.stop()
        await self.book.stop()

    async def put(self, *tags: str, remove: Sequence[str] = (), wait: float = 0.0):
        rules = [Rule(f"r-{tag}", Selectors(tag=tag), 554) for tag in tags]
        return await self.orders.put(ABOUT, rules, remove, ME, wait, "effective")


@pytest.fixture
async def rig():
    made = Rig()
    await made.guard.beat()
    yield made
    await made.stop()


async def until(true) -> None:
    await eventually(true, least=0.005)


async def test_a_set_is_effective_with_its_last_part_and_so_is_each_rule_of_it(rig):
    effect, placed = await rig.put("a", "b", "c")
    assert (effect.effective, effect.created, effect.rule.id) == (False, True, "a-set")
    assert (placed.created, [rule.generation for rule in placed.rules]) == (3, [1, 2, 3])
    for rule in placed.rules:
        assert not (await rig.book.effect(rule)).effective
    assert rig.book.figures().pending == 1, "one order is followed for all of them"
    await rig.guard.beat()

    async def all_effective() -> bool:
        return all([(await rig.book.effect(rule)).effective for rule in placed.rules])

    await until(all_effective)
    assert list(rig.shared.effects) == ["a-set"]
    one = await rig.book.effect(placed.rules[0])
    assert (one.rule, one.confirmed) == (placed.rules[0], ("w1.1",))
    assert max(rig.shared.barriers) == 3


async def test_deliveries_past_their_dot_stand_in_the_list_of_the_set(rig):
    rig.guard.on_change(lambda table: [PastDot("a-set", "D.1", "x@example.com", 9)])
    _, placed = await rig.put("a", "b")
    await rig.guard.beat()

    async def effective() -> bool:
        return (await rig.book.effect(placed.rules[1])).effective

    await until(effective)
    assert [entry.id for entry in (await rig.book.effect(placed.rules[0])).past_dot] == ["D.1"]


async def test_a_rule_that_is_edited_is_followed_by_itself(rig):
    _, placed = await rig.put("a", "b")
    edited = await rig.book.edit("r-a", lambda rule: msgspec.structs.replace(rule, set_id=""), ME, 0.0, "effective")
    assert edited is not None
    assert (edited.rule.order_id, placed.rules[1].order_id) == ("r-a", "a-set")
    assert rig.book.figures().pending == 2


async def test_a_new_api_process_follows_a_set_as_one_order(rig):
    _, placed = await rig.put("a", "b", "c")
    await rig.stop()
    rig.start()
    await rig.book.start()
    assert rig.book.figures().pending == 1
    await rig.guard.beat()

    async def effective() -> bool:
        return (await rig.book.effect(placed.rules[2])).effective

    await until(effective)
    assert list(rig.shared.effects) == ["a-set"]


async def test_what_was_made_of_a_set_before_the_store_failed_is_followed(rig):
    rig.sets.fails_after = 2
    rig.sets.away = True
    with pytest.raises(OutcomeUnknown, match="a-set"):
        await rig.put("a", "b", "c")
    assert sorted(rig.shared.rules) == ["r-a", "r-b"]
    rig.sets.away = False
    await rig.guard.beat()

    async def effective() -> bool:
        return "a-set" in rig.shared.effects

    await until(effective)
    assert rig.shared.effects["a-set"].generation == 2


async def test_a_set_that_a_failover_lost_is_ordered_again_but_for_what_was_ordered_since(rig):
    before, _ = await rig.api.put(Rule("r-old", Selectors(tag="old"), 450), "c-old")
    await rig.guard.beat()
    replica = rig.shared.promoted()
    _, placed = await rig.put("a", "b", "old", remove=())
    assert placed.before == (0, 0, before.rule.generation)
    rig.api.shared = rig.shared = replica
    rig.guard = Guard(MemoryRules(replica, "w2"), "n1", rig.clock)
    since, _ = await rig.api.put(Rule("r-old", Selectors(tag="old"), 421), "c-since")
    rig.clock.seconds += 10.0
    await rig.guard.beat()

    async def there() -> bool:
        return {"r-a", "r-b"} <= rig.shared.rules.keys()

    await until(there)
    assert {rule.set_id for name, rule in rig.shared.rules.items() if name != "r-old"} == {"a-set"}
    assert rig.shared.rules["r-old"] == since.rule, "it was ordered otherwise since"
    assert not [change for change in rig.shared.changes if change.op is ChangeOp.REMOVE]
    await rig.guard.beat()
    rig.clock.seconds += 10.0  # the process that knew the lost changes is gone

    async def effective() -> bool:
        return "a-set" in rig.shared.effects

    await until(effective)
