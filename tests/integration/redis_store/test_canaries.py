"""Canary orders on a real store: a change of the table that no event tells, and one turn in a period."""

from collections.abc import Callable

from mta.model.canaries import CanaryFlight
from mta.model.rules import NO_HEAD, ChangeOp, Rule, Selectors
from mta.policy.rule_table import RuleTable
from mta.redis_store.canary_store import StoredCanaries
from tests.support.stores import Store


async def test_a_canary_moves_the_head_and_leaves_neither_rule_nor_event(open_store: Callable[..., Store]) -> None:
    store = await open_store()
    assert (await store.rules.confirm(1, NO_HEAD, (), {})).ok
    first, _ = await store.rules.put(Rule("r1", Selectors(tag="t"), 554), "c1")
    events = len(await store.rule_events())
    head, wait_set = await store.rules.canary("c2")
    assert (head.generation, head.change) == (first.head.generation + 1, "c2")
    assert wait_set == {store.rules.session}
    assert await store.rules.head() == head
    assert await store.rules.knows(head)
    (change,) = await store.rules.changes(first.head)
    assert change.op is ChangeOp.CANARY
    _, rules = await store.rules.load()
    table = RuleTable.build(first.head, rules).apply([change])
    assert (table.head, [rule.id for rule in table.rules()]) == (head, ["r1"])
    behind = await store.rules.confirm(2, first.head, (), {})
    assert not behind.ok
    assert not behind.reload
    assert (await store.rules.confirm(2, head, (), {})).ok
    assert len(await store.rule_events()) == events


async def test_one_node_has_the_turn_of_a_period(open_store: Callable[..., Store]) -> None:
    ours, theirs = [StoredCanaries((await open_store(node)).link) for node in ("n1", "n2")]
    assert await ours.last() is None
    assert await ours.turn("n1", 60.0) == 0.0
    for _ in range(2):
        assert 0.0 < await theirs.turn("n2", 60.0) <= 60.0
        assert 0.0 < await ours.turn("n1", 60.0) <= 60.0
    await ours.save(CanaryFlight(5, 0.25, "n1", ("n2/worker/7",)))
    assert await theirs.last() == CanaryFlight(5, 0.25, "n1", ("n2/worker/7",))
