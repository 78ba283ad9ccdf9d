"""Many rules by one order: parts that are whole or not there, readers that follow them in pages, and how sets end."""

import asyncio

import msgspec
import pytest

from mta.model.errors import BadValue, OldReaders, OutcomeUnknown, StoreAway
from mta.model.rules import NO_HEAD, Build, ChangeOp, Effective, Head, PastDot, Rule, RuleSet, Selectors
from mta.model.sweeps import SweepPhase, SweepState
from mta.policy.rule_table import RuleTable
from mta.redis_store import keys
from mta.redis_store.rule_reading import change_rows
from mta.redis_store.rule_sets import PART
from tests.support.actors import ME

ABOUT = RuleSet("a-set", 5, "me")


def rules(many: int, start: int = 0, code: int = 554) -> list[Rule]:
    return [
        Rule(f"r{number:05d}", Selectors(tag=f"t{number}"), code, created_by="me", created_at=5)
        for number in range(start, start + many)
    ]


def named(set_id: str) -> RuleSet:
    return RuleSet(set_id, 5, "me")


async def table_of(store) -> RuleTable:
    return RuleTable.build(*await store.rules.load())


async def test_a_set_is_made_in_parts_that_processes_follow(open_store):
    store = await open_store()
    assert (await store.rules.confirm(1, NO_HEAD, (), {})).ok
    placed, wait_set = await store.sets.put_set(ABOUT, rules(2 * PART + 1), [])
    assert (placed.head.generation, placed.created, wait_set) == (3, 2 * PART + 1, {store.session.id})
    assert [rule.generation for rule in placed.rules] == [1] * PART + [2] * PART + [3]
    assert {rule.set_id for rule in placed.rules} == {"a-set"}
    table, answers = RuleTable.empty(), 0
    while table.head != placed.head:
        behind = await store.rules.confirm(2, table.head, (), {})
        assert (behind.ok, behind.reload, behind.head) == (False, False, placed.head)
        table, answers = table.apply(behind.changes), answers + 1
    assert list(table.rules()) == list(placed.rules)
    assert sorted((await store.rules.load())[1], key=lambda rule: rule.id) == list(placed.rules)
    stored = await store.sets.stored_set("a-set")
    assert (stored.set, stored.generation, stored.standing) == (ABOUT, 3, 2 * PART + 1)
    assert stored.members == (tuple(rule.id for rule in placed.rules), ())
    events = await store.rule_events()
    assert [(e.forced.rule, e.properties["set"], e.properties["change"]) for e in events[:2]] == [
        ("r00000", "a-set", "made"), ("r00001", "a-set", "made"),
    ]  # fmt: skip
    assert len(events) == 2 * PART + 1


async def test_ten_thousand_changes_are_told_in_answers_of_bounded_size(open_store):
    store = await open_store(max_rules=20_000)
    await store.rules.confirm(1, NO_HEAD, (), {})
    placed, _ = await store.sets.put_set(ABOUT, rules(10_000), [])
    head, sizes = NO_HEAD, []
    while head != placed.head:
        behind = await store.rules.confirm(2, head, (), {})
        assert behind.changes
        sizes.append(len(behind.changes))
        head = behind.changes[-1].head
    assert sum(sizes) == 10_000
    assert max(sizes) <= 3_000
    rows = await change_rows(store.link, Head(1, "no such change"), 1000)
    assert rows == [], "a head that is none of the store's"


async def test_a_large_table_is_read_in_pages_while_it_changes(open_store):
    store, other = await open_store(max_rules=20_000), await open_store("n2", max_rules=20_000)
    await store.sets.put_set(ABOUT, rules(5_000), [])
    stop = asyncio.Event()

    async def change() -> int:
        number = 0
        while not stop.is_set():
            await other.rules.put(Rule(f"x{number}", Selectors(tag=f"x{number}"), 554), f"c{number}")
            await other.rules.remove(f"r{number:05d}", f"d{number}")
            number += 1
        return number

    changing = asyncio.create_task(change())
    found = [await store.rules.load() for _ in range(10)]
    stop.set()
    many = await changing
    assert many > 10
    for head, loaded in found:
        done = {rule.id for rule in loaded if rule.id[0] == "x"}
        left = {rule.id for rule in loaded if rule.id[0] == "r"}
        # Put and removal by turns: generation 25 made the last part.
        assert len(done) == (head.generation - 25 + 1) // 2
        assert len(left) == 5_000 - (head.generation - 25) // 2
    assert (await table_of(store)).head == await store.rules.head()


async def test_rules_that_are_there_are_replaced_and_keep_their_ids(open_store):
    store = await open_store()
    await store.rules.put(rules(1)[0], "c1")
    placed, _ = await store.sets.put_set(ABOUT, rules(2, code=421), [])
    assert placed.before == (1, 0)
    again = [msgspec.structs.replace(rule, id=f"other-{rule.id}") for rule in rules(2)]
    second, _ = await store.sets.put_set(named("another"), again, [])
    assert [(rule.id, rule.code, rule.set_id) for rule in second.rules] == [
        ("r00000", 554, "another"), ("r00001", 554, "another"),
    ]  # fmt: skip
    left = await store.sets.stored_set("a-set")
    assert left.standing == 0, "all of its rules were ordered otherwise"
    assert 0 < await store.link.command("PTTL", keys.set_key("a-set")) <= 3_600_000


async def test_a_rule_that_is_edited_or_removed_leaves_its_set(open_store):
    store = await open_store()
    await store.sets.put_set(ABOUT, rules(3), [])
    await store.rules.edit("r00000", lambda rule: msgspec.structs.replace(rule, code=421), "c2", ME)
    assert (await store.rules.rule("r00000")).set_id == ""
    assert [rule.id for rule in await store.rules.standing("a-set", ["r00000", "r00001"])] == ["r00001"]
    await store.rules.remove("r00001", "c3")
    assert (await store.sets.stored_set("a-set")).standing == 1
    await store.rules.save_effect(Effective("a-set", 1, 100), Rule("a-set", Selectors(), set_id="a-set"))
    assert (await store.rules.effects(["a-set"]))["a-set"].effective_at == 100
    state = SweepState("a-set", 1, SweepPhase.DONE, 0, 0, 1, 1, 0, "a")
    assert await store.sweeps.save_sweep(state, 5.0, b"event", "r00002")
    assert (await store.sweeps.sweep("a-set")) == state
    await store.rules.remove("r00002", "c4")
    stored = await store.sets.stored_set("a-set")
    assert (stored.standing, stored.effective.effective_at, stored.sweep) == (0, 100, state)
    assert await store.rules.effects(["a-set"]) == {}
    assert await store.sweeps.sweep("a-set") is None
    removed = await store.rules.removed("r00002")
    assert (removed.effective.effective_at, removed.sweep) == (100, state)
    assert not await store.sweeps.save_sweep(state, 5.0, b"", "r00002")


async def test_one_order_makes_and_removes(open_store):
    store = await open_store()
    await store.sets.put_set(ABOUT, rules(3), [])
    placed, _ = await store.sets.put_set(named("b"), rules(1, 10), ["r00001", "gone", "r00002"])
    assert [rule.id for rule in placed.removed] == ["r00001", "r00002"]
    assert {rule.id for rule in (await store.rules.load())[1]} == {"r00000", "r00010"}
    assert (await store.sets.stored_set("b")).members == (("r00010",), ("r00001", "r00002"))
    assert (await store.sets.stored_set("a-set")).standing == 1
    assert [change.op for change in await store.rules.changes(Head(2, placed.head.change))] == []
    only, _ = await store.sets.put_set(named("c"), [], ["r00010"])
    await store.rules.save_effect(Effective("c", only.head.generation, 7), Rule("c", Selectors(), set_id="c"))
    stored = await store.sets.stored_set("c")
    assert (stored.standing, stored.effective.effective_at) == (0, 7)
    assert 0 < await store.link.command("PTTL", keys.set_key("c")) <= 3_600_000


async def test_the_changes_of_one_part_have_one_head(open_store):
    store = await open_store()
    put, _ = await store.rules.put(rules(1)[0], "c1")
    placed, _ = await store.sets.put_set(ABOUT, rules(2, 1), ["r00000"])
    changes = await store.rules.changes(put.head)
    assert [(change.op, change.rule.id) for change in changes] == [
        (ChangeOp.PUT, "r00001"), (ChangeOp.PUT, "r00002"), (ChangeOp.REMOVE, "r00000"),
    ]  # fmt: skip
    assert changes[0].head == changes[1].head != changes[2].head == placed.head


async def test_there_is_room_for_all_of_a_set_or_for_none(open_store):
    store = await open_store(max_rules=300)
    await store.sets.put_set(ABOUT, rules(100), [])
    with pytest.raises(BadValue, match=r"rules.max_rules: there is room for 300 rules"):
        await store.sets.put_set(named("b"), rules(201, 100), [])
    assert (await store.rules.head()).generation == 1
    assert await store.sets.stored_set("b") is None
    placed, _ = await store.sets.put_set(named("c"), rules(201, 100), ["r00000"])
    assert placed.created == 201
    assert len(await table_of(store)) == 300


async def test_a_part_is_written_as_a_whole_or_not_at_all(open_store, monkeypatch):
    """Another order changes a rule between the look at it and the step: the part is planned again."""
    store, other = await open_store(), await open_store("n2")
    await store.rules.put(rules(1)[0], "c1")
    look, meddled = store.sets._seen, []

    async def looked(ids):
        found = await look(ids)
        if not meddled:
            meddled.append(await other.rules.edit("r00000", lambda rule: msgspec.structs.replace(rule, code=421), "c2"))
        return found

    monkeypatch.setattr(store.sets, "_seen", looked)
    placed, _ = await store.sets.put_set(ABOUT, rules(2), [])
    assert (placed.head.generation, placed.before) == (3, (2, 0))
    assert [rule.code for rule in (await store.rules.load())[1]] == [554, 554]


async def test_a_part_whose_answer_was_lost_is_not_made_twice(open_store, monkeypatch):
    store = await open_store()
    call, lost = store.link.call_kept, []

    async def losing(function, *rest):
        answer = await call(function, *rest)
        if function == b"rules_set" and not lost:
            lost.append(answer)
            raise StoreAway("the answer was lost")
        return answer

    monkeypatch.setattr(store.link, "call_kept", losing)
    placed, _ = await store.sets.put_set(ABOUT, rules(PART + 1), [])
    assert (lost[0][0], placed.head.generation) == (1, 2)
    assert len((await store.sets.stored_set("a-set")).members.made) == PART + 1

    async def away(function, *rest):
        if function in (b"rules_set", b"rules_set_once"):
            raise StoreAway("away")
        return await call(function, *rest)

    monkeypatch.setattr(store.link, "call_kept", away)
    monkeypatch.setattr(store.link, "timeout", 0.2)
    with pytest.raises(OutcomeUnknown):
        await store.sets.put_set(named("b"), rules(1, 900), [])


async def test_k15_a_set_is_not_given_to_processes_that_cannot_read_one(open_store, monkeypatch):
    store = await open_store()
    await store.rules.confirm(1, NO_HEAD, (), {})

    async def builds():
        return {store.session.id: Build("fg1")}

    monkeypatch.setattr(store.rules, "builds", builds)
    with pytest.raises(OldReaders):
        await store.sets.put_set(ABOUT, rules(1), [])


async def test_what_is_past_its_dot_is_listed_for_the_set(open_store):
    store = await open_store()
    await store.rules.confirm(1, NO_HEAD, (), {})
    placed, _ = await store.sets.put_set(ABOUT, rules(2), [])
    entry = PastDot("a-set", "01HF7YAT00W9ER8WKT6ETPT703.1", "a@example.com", 77)
    assert (await store.rules.confirm(2, placed.head, (entry,), {})).ok
    assert [one.id for one in await store.rules.past_dot("a-set")] == [entry.id]


async def test_accounts_of_many_rules_are_summed(open_store):
    store = await open_store()
    for lane in range(store.lanes):
        for number in range(3):
            name = keys.rule_key(keys.lane_prefix(lane), f"r{number}".encode())
            await store.link.command("HSET", name, "met", 2, "held", number, "uncertain", 0)
    found = await store.books.together([f"r{number}" for number in range(1200)], 10)
    assert found.counts == {"met": 6 * store.lanes, "held": 3 * store.lanes, "uncertain": 0}
    assert (found.of_tag, found.undoable, found.undo_until) == (None, 0, 0)
    spared = keys.spared_key(keys.lane_prefix(1), b"r2")
    await store.link.command("ZADD", spared, 5, "gone", 20, "a", 30, "b")
    found = await store.books.together(["r1", "r2"], 10)
    assert (found.undoable, found.undo_until) == (2, 20)
    await store.link.command("DEL", spared)
