"""The guard: what a permit is worth, how it catches up, and what it never does."""

import asyncio

import msgspec
import pytest

from mta.model.errors import SessionLost, StoreAway, UnreadableRule
from mta.model.rules import ChangeOp, Head, Kind, PastDot, Rule, Selectors
from mta.rules.guard import Guard
from tests.support.eventually import eventually
from tests.support.memory_rules import Clock, MemoryRules, Shared

S = 5.0


class Rig:
    def __init__(self) -> None:
        self.clock = Clock()
        self.shared = Shared()
        self.store = MemoryRules(self.shared, "w1", S)
        self.api = MemoryRules(self.shared, "api", S)
        self.guard = Guard(self.store, "n1", self.clock)

    async def put(self, tag: str, code: int = 554) -> Rule:
        put, _ = await self.api.put(
            Rule(f"r-{tag}", Selectors(tag=tag), code), f"c-{tag}-{self.shared.head.generation}"
        )
        return put.rule


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_no_delivery_before_the_first_ok(rig):
    assert not rig.guard.may_send_mail()
    assert not rig.guard.may_send_dot()
    rig.store.away = True
    with pytest.raises(StoreAway):
        await rig.guard.beat()
    assert not rig.guard.may_send_dot()
    rig.store.away = False
    await rig.guard.beat()
    assert rig.guard.may_send_mail()


async def test_permit_counts_from_before_it_was_asked_for(rig):
    def slow() -> None:
        rig.clock.seconds += 2.0

    rig.store.before_answer = slow
    await rig.guard.beat()  # asked at 100, so MAIL until 102, the dot until 104.5
    assert not rig.guard.may_send_mail()
    assert rig.guard.may_send_dot()
    rig.clock.seconds = 104.49
    assert rig.guard.may_send_dot()
    rig.clock.seconds = 104.5
    assert not rig.guard.may_send_dot()


async def test_mail_stops_half_a_staleness_before_the_dot(rig):
    await rig.guard.beat()
    rig.clock.seconds = 101.99
    assert rig.guard.may_send_mail()
    rig.clock.seconds = 102.0
    assert not rig.guard.may_send_mail()
    assert rig.guard.may_send_dot()


async def test_suspended_worker_wakes_without_a_permit(rig):
    await rig.guard.beat()
    rig.clock.seconds += 3600
    assert not rig.guard.may_send_mail()
    assert not rig.guard.may_send_dot()


async def test_failed_confirm_changes_nothing(rig):
    await rig.guard.beat()
    rig.clock.seconds += 1
    rig.store.lose_reply = True
    with pytest.raises(StoreAway):
        await rig.guard.beat()
    rig.clock.seconds = 104.5
    assert not rig.guard.may_send_dot()
    rig.store.lose_reply = False
    await rig.guard.beat()
    assert [seq for seq, _, _ in rig.store.asked] == [1, 2, 2]


async def test_behind_swaps_lists_and_only_then_confirms(rig):
    seen = []

    def abort(table):
        seen.append((table.head.generation, rig.shared.sessions["w1.1"].head.generation))
        return [PastDot("r-a", "D.1", "x@example.com", 99)]

    await rig.guard.beat()
    rig.guard.on_change(abort)
    await rig.put("a")
    await rig.guard.beat()
    assert seen == [(1, 0)]
    assert rig.shared.sessions["w1.1"].head.generation == 1
    assert rig.shared.past["r-a"]["D.1"].session == "w1.1"
    assert rig.guard.table.match("p", "", "example.com", ("a",)).id == "r-a"


async def test_behind_twice_in_a_row_keeps_what_was_listed_first(rig):
    await rig.guard.beat()
    rig.guard.on_change(lambda table: [PastDot(f"r-{table.head.generation}", "D.1", "x@example.com", 99)])
    await rig.put("a")
    late = []

    def change_meanwhile() -> None:
        if not late:
            late.append(rig.shared)
            rule = Rule("r-b", Selectors(tag="b"), 554, generation=2)
            rig.shared.rules["r-b"] = rule
            rig.shared.move(ChangeOp.PUT, rule, "late")

    rig.store.before_answer = change_meanwhile
    await rig.guard.beat()
    assert [head.generation for _, head, _ in rig.store.asked] == [0, 0, 1, 2]
    assert set(rig.shared.past) == {"r-1", "r-2"}
    await rig.guard.beat()
    assert rig.store.asked[-1][2] == ()


@pytest.mark.parametrize("lost", ["question", "answer"])
async def test_list_is_told_again_until_it_was_taken(rig, lost):
    def abort(table):
        rig.store.away, rig.store.lose_reply = lost == "question", lost == "answer"
        return [PastDot("r-a", "D.1", "x@example.com", 99)]

    await rig.guard.beat()
    rig.guard.on_change(abort)
    await rig.put("a")
    with pytest.raises(StoreAway):
        await rig.guard.beat()
    assert ("r-a" in rig.shared.past) == (lost == "answer")
    rig.store.away = rig.store.lose_reply = False
    await rig.guard.beat()
    assert rig.shared.past["r-a"].keys() == {"D.1"}


async def test_hook_that_fails_is_run_again_before_anything_is_confirmed(rig):
    await rig.guard.beat()
    answers = [RuntimeError("bug"), [PastDot("r-a", "D.1", "x@example.com", 99)]]

    def abort(table):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    rig.guard.on_change(abort)
    await rig.put("a")
    with pytest.raises(RuntimeError):
        await rig.guard.beat()
    assert rig.shared.sessions["w1.1"].head.generation == 0
    await rig.guard.beat()
    assert rig.shared.sessions["w1.1"].head.generation == 1
    assert "D.1" in rig.shared.past["r-a"]


async def test_lost_session_stops_drops_and_begins_anew(rig):
    dropped = []
    rig.guard.on_lost(lambda: dropped.append(rig.guard.may_send_dot()))
    await rig.guard.beat()
    await rig.api.mark_dead("w1.1", None)
    with pytest.raises(SessionLost):
        await rig.guard.beat()
    assert dropped == [False]
    assert not rig.guard.may_send_dot()
    await rig.put("a")
    await rig.guard.beat()
    assert rig.store.asked[-1][0] == 1
    assert "w1.2" in rig.shared.sessions
    assert rig.guard.table.rule("r-a") is not None


async def test_changes_that_do_not_follow_load_the_whole_table_with_an_alarm(rig, caplog):
    await rig.put("a")
    await rig.guard.beat()
    await rig.put("b")
    rig.shared.changes[0] = rig.shared.changes[0]._replace(head=Head(1, "other"))
    await rig.guard.beat()
    assert rig.guard.table.head == rig.shared.head
    assert rig.guard.table.rule("r-b") is not None
    assert "loaded anew" in caplog.text


def fail_over(rig: Rig, kept: int, *stores: MemoryRules) -> Shared:
    """Another server, which had got the first `kept` changes and every session."""
    old, new = rig.shared, Shared()
    for change in old.changes[:kept]:
        if change.op is ChangeOp.PUT:
            new.rules[change.rule.id] = change.rule
        else:
            del new.rules[change.rule.id]
        new.changes.append(change)
        new.head = change.head
    new.sessions = dict(old.sessions)
    rig.shared = rig.api.shared = new
    for store in (rig.store, *stores):
        store.shared = new
    return new


async def test_head_that_went_back_keeps_the_union_and_puts_lost_rules_again(rig, caplog):
    await rig.put("a")
    await rig.put("b")
    await rig.guard.beat()
    fresh = fail_over(rig, 0)
    await rig.put("c")
    tables, confirmed = [], []

    def seen(table):
        tables.append({r.id for r in table.rules()})
        confirmed.append(fresh.sessions["w1.1"].head.generation)
        return []

    rig.guard.on_change(seen)
    await rig.guard.beat()
    assert tables == [{"r-a", "r-b", "r-c"}, {"r-a", "r-b", "r-c"}]
    assert confirmed == [2, 2], "nothing was confirmed before the store had them again"
    assert fresh.rules.keys() == {"r-a", "r-b", "r-c"}
    assert fresh.sessions["w1.1"].head == fresh.head == rig.guard.table.head
    assert fresh.head.generation > 2 + 2, "no lost generation is used again"
    assert "went back" in caplog.text
    assert "put again: r-a, r-b" in caplog.text
    changes = len(fresh.changes)
    await rig.guard.beat()
    assert len(fresh.changes) == changes


async def test_what_is_put_again_is_what_it_was(rig):
    await rig.put("a")
    rule = Rule(
        "p", Selectors(tag="p"), kind=Kind.PAUSE, enabled=False, expires_at=9, created_at=7, created_by="me", undo=False
    )
    put, _ = await rig.api.put(rule, "c2")
    await rig.guard.beat()
    fresh = fail_over(rig, 1)
    await rig.guard.beat()
    there = fresh.rules["p"]
    assert msgspec.structs.replace(there, generation=0) == rule
    assert there.generation > put.rule.generation


async def test_a_removal_that_was_lost_stands_again_and_is_said(rig, caplog):
    await rig.put("a")
    await rig.put("b")
    await rig.api.remove("r-a", "c3")
    await rig.guard.beat()
    fresh = fail_over(rig, 2)
    await rig.guard.beat()
    assert rig.guard.table.rule("r-a") is not None
    assert fresh.rules["r-a"].generation > 3
    assert "rules whose removal was lost with it are in force again: r-a" in caplog.text


async def test_generations_that_were_lost_are_not_used_again_although_no_rule_was(rig):
    await rig.put("a")
    await rig.put("b")
    await rig.api.remove("r-b", "c3")
    await rig.guard.beat()
    fresh = fail_over(rig, 1)
    await rig.guard.beat()
    assert fresh.head.generation == 4
    assert rig.guard.table.head == fresh.sessions["w1.1"].head == fresh.head
    assert fresh.rules.keys() == {"r-a"}


async def test_many_processes_put_again_once(rig):
    others = [MemoryRules(rig.shared, name, S) for name in ("w2", "w3")]
    guards = [rig.guard, *(Guard(store, "n1", rig.clock) for store in others)]
    await rig.put("a")
    await rig.put("b")
    await guards[2].beat()  # the third does not know of what comes now
    await rig.put("c")
    await rig.api.remove("r-b", "removed")
    await guards[0].beat()
    await guards[1].beat()
    fresh = fail_over(rig, 1, *others)
    await asyncio.gather(*(guard.beat() for guard in guards))
    for guard in guards:
        await guard.beat()
    assert {name: state.head for name, state in fresh.sessions.items()} == dict.fromkeys(fresh.sessions, fresh.head)
    assert {r.id for r in guards[2].table.rules()} == fresh.rules.keys() == {"r-a", "r-c"}
    put = [change.rule.id for change in fresh.changes[1:] if change.op is ChangeOp.PUT]
    assert put == ["r-c"], "once, and what was removed did not come back by the slow one"


async def test_a_slow_process_that_is_first_is_mended_by_one_that_knows_more(rig):
    other = MemoryRules(rig.shared, "w2", S)
    slow = Guard(other, "n1", rig.clock)
    await rig.put("a")
    await slow.beat()
    await rig.put("a", 421)
    await rig.guard.beat()
    fresh = fail_over(rig, 0, other)
    await slow.beat()
    assert fresh.rules["r-a"].code == 554
    await rig.guard.beat()
    assert fresh.rules["r-a"].code == 421
    await rig.api.edit("r-a", lambda rule: msgspec.structs.replace(rule, code=450), "since")
    await slow.beat()
    await rig.guard.beat()
    assert fresh.rules["r-a"].code == 450


async def test_a_store_that_came_back_empty_gets_everything_again_in_steps_that_others_can_get_between(rig):
    for number in range(1200):
        await rig.put(f"t{number}")
    await rig.guard.beat()
    fresh = fail_over(rig, 0)
    asked = []
    regain = rig.store.regain

    async def counted(lost, rules, stored, last):
        if len(asked) == 1:
            await rig.put("between")
        asked.append((len(rules), last))
        return await regain(lost, rules, stored, last)

    rig.store.regain = counted
    await rig.guard.beat()
    assert asked == [(500, False), (500, False), (200, True)]
    assert len(fresh.rules) == len(rig.guard.table) == 1201
    assert fresh.sessions["w1.1"].head == fresh.head


async def test_a_store_that_fails_in_the_middle_leaves_the_union_unconfirmed(rig):
    await rig.put("a")
    await rig.guard.beat()
    fresh = fail_over(rig, 0)
    await rig.put("b")
    regain = rig.store.regain

    async def away(*args, **kwargs):
        raise StoreAway("now")

    rig.store.regain = away
    with pytest.raises(StoreAway):
        await rig.guard.beat()
    assert {r.id for r in rig.guard.table.rules()} == {"r-a", "r-b"}
    assert fresh.sessions["w1.1"].head != fresh.head
    rig.store.regain = regain
    await rig.guard.beat()
    assert fresh.rules.keys() == {"r-a", "r-b"}
    assert fresh.sessions["w1.1"].head == fresh.head


async def test_hints_are_coalesced_and_answered_at_once():
    shared = Shared()
    store, api = MemoryRules(shared, "w1", 60.0), MemoryRules(shared, "api", 60.0)
    guard = Guard(store, "n1")
    guard.start()
    await guard.ready()
    asked = len(store.asked)
    for number in range(100):
        await api.put(Rule(f"r{number}", Selectors(tag=f"t{number}"), 554), f"c{number}")
    await eventually(lambda: guard.table.head.generation == 100, 6.0)  # the tick is 12 s away: the hints did it
    assert len(store.asked) - asked <= 3
    await guard.stop()
    assert "w1.1" not in shared.sessions
    assert not guard.may_send_dot()


async def test_store_that_is_away_is_asked_again_soon():
    shared = Shared()
    store = MemoryRules(shared, "w1", 60.0)
    store.away = True
    guard = Guard(store, "n1")
    guard.start()
    await asyncio.sleep(0.01)
    store.away = False
    await asyncio.wait_for(guard.ready(), 60.0)
    await guard.stop()


async def test_the_table_knows_the_time_and_what_is_protected_however_it_was_loaded(rig):
    guard = Guard(rig.store, "n1", rig.clock, protected=["vip"], wall=rig.clock.wall)
    rule = msgspec.structs.replace(await rig.put("a"), expires_at=101_000)
    await rig.api.put(rule, "c2")
    for change in ("", "c3"):
        rig.clock.seconds = 100.0
        if change:
            await rig.api.put(rule, change)
        await guard.beat()
        assert guard.table.match("p", "", "example.com", ("a",)).id == "r-a"
        assert guard.table.match("p", "", "example.com", ("a", "vip")) is None
        rig.clock.seconds = 101.0
        assert guard.table.match("p", "", "example.com", ("a",)) is None


async def test_cancellations_are_known_and_acted_upon_before_the_permit_is_renewed(rig):
    heard = []
    rig.guard.on_cancel(lambda messages: heard.append((set(messages), rig.guard.may_send_dot())))
    rig.shared.canceled.append(b"before")
    await rig.guard.beat()
    assert b"before" not in rig.guard.canceled, "nothing of it can be held here"
    rig.shared.canceled += [b"one", b"two"]
    rig.clock.seconds += S
    await rig.guard.beat()
    assert heard == [({b"one", b"two"}, False)]
    assert b"one" in rig.guard.canceled
    assert rig.guard.may_send_dot()
    await rig.guard.beat()
    assert len(heard) == 1


async def test_cancellations_come_again_after_a_lost_answer(rig):
    heard = []
    rig.guard.on_cancel(heard.extend)
    await rig.guard.beat()
    rig.shared.canceled.append(b"one")
    rig.store.lose_reply = True
    with pytest.raises(StoreAway):
        await rig.guard.beat()
    assert heard == []
    rig.store.lose_reply = False
    await rig.guard.beat()
    assert heard == [b"one"]


async def test_a_cancellation_that_could_not_be_acted_upon_renews_no_permit(rig):
    heard, bugs = [], [RuntimeError(), RuntimeError()]

    def abort(messages):
        if bugs:
            raise bugs.pop()
        heard.extend(messages)

    rig.guard.on_cancel(abort)
    await rig.guard.beat()
    rig.shared.canceled.append(b"one")
    rig.clock.seconds += S
    for _ in range(2):
        with pytest.raises(RuntimeError):
            await rig.guard.beat()
        assert not rig.guard.may_send_dot()
    await rig.guard.beat()
    assert (heard, rig.guard.may_send_dot()) == ([b"one"], True)


async def test_cancellations_are_forgotten_after_minutes_and_never_fill_the_memory(rig, monkeypatch):
    monkeypatch.setattr("mta.rules.guard._MOST_REMEMBERED", 3)
    await rig.guard.beat()
    rig.shared.canceled.append(b"one")
    await rig.guard.beat()
    rig.clock.seconds += 299
    rig.shared.canceled += [b"two", b"three"]
    await rig.guard.beat()
    assert [m for m in (b"one", b"two", b"three") if m in rig.guard.canceled] == [b"one", b"two", b"three"]
    rig.clock.seconds += 2
    rig.shared.canceled += [b"four"]
    await rig.guard.beat()
    assert b"one" not in rig.guard.canceled
    rig.shared.canceled += [b"five", b"six"]
    await rig.guard.beat()
    assert [m for m in (b"two", b"three", b"four", b"five", b"six") if m in rig.guard.canceled] == [
        b"four",
        b"five",
        b"six",
    ]


async def test_what_had_begun_without_its_dot_is_listed_by_nobody_after_a_lost_session(rig):
    """It went with the claims: nobody would ever settle it, and the order would never be quiet."""
    await rig.guard.beat()

    def abort(table):
        if rig.store.session != "w1.1":
            return []
        rig.shared.sessions["w1.1"] = msgspec.structs.replace(rig.shared.sessions["w1.1"], dead=True)
        return [PastDot("r-a", "begun", "u@x", 0), PastDot("r-a", "past", "u@x", 5)]

    rig.guard.on_change(abort)
    await rig.put("a")
    with pytest.raises(SessionLost):
        await rig.guard.beat()
    await rig.guard.beat()
    assert set(rig.shared.past["r-a"]) == {"past"}


async def test_k15_a_rule_that_cannot_be_read_lets_the_permit_run_out_and_the_session_live(rig, caplog):
    caplog.set_level("DEBUG")
    await rig.guard.beat()
    table = rig.guard.table
    rig.store.unknown.add("r-new")
    await rig.put("new")
    for _ in range(3):
        rig.clock.seconds += 1.0
        with pytest.raises(UnreadableRule):
            await rig.guard.beat()
    rig.clock.seconds += 1.5
    assert not rig.guard.may_send_mail()
    assert not rig.guard.may_send_dot()
    state = rig.shared.sessions[rig.store.session]
    assert (state.head, state.dead, state.seq) == (table.head, False, 4)
    assert "r-new" in rig.shared.builds[rig.store.session].unreadable
    assert rig.guard.table is table
    assert [record.levelname for record in caplog.records if "r-new" in record.message] == ["DEBUG"], "said once"


async def test_k15_once_the_rule_is_gone_the_table_is_confirmed_again(rig):
    await rig.guard.beat()
    rig.store.unknown.add("r-new")
    await rig.put("new")
    with pytest.raises(UnreadableRule):
        await rig.guard.beat()
    await rig.put("red")
    with pytest.raises(UnreadableRule):
        await rig.guard.beat()
    await rig.api.remove("r-new", "c-gone")
    await rig.guard.beat()
    assert rig.guard.may_send_mail()
    assert [rule.id for rule in rig.guard.table.rules()] == ["r-red"]
    assert rig.shared.sessions[rig.store.session].head == rig.shared.head
    assert rig.shared.builds[rig.store.session].unreadable == ""


async def test_k15_from_the_start_nothing_is_delivered_and_the_reason_is_registered(rig):
    rig.store.unknown.add("r-new")
    await rig.put("new")
    for _ in range(2):
        with pytest.raises(UnreadableRule):
            await rig.guard.beat()
    assert not rig.guard.may_send_mail()
    assert rig.shared.sessions[rig.store.session].head.generation == 0
    assert "r-new" in rig.shared.builds[rig.store.session].unreadable


async def test_k15_given_up_for_dead_meanwhile_it_goes_on_under_another_session(rig):
    await rig.guard.beat()
    rig.store.unknown.add("r-new")
    await rig.put("new")
    await rig.api.mark_dead(rig.store.session, None)
    lost = rig.store.session
    with pytest.raises(SessionLost):
        await rig.guard.beat()
    assert rig.store.session != lost
    with pytest.raises(UnreadableRule):
        await rig.guard.beat()
    assert "r-new" in rig.shared.builds[rig.store.session].unreadable


async def test_k15_the_loop_goes_on_asking_until_it_can_read(rig):
    rig.store.unknown.add("r-new")
    await rig.put("new")
    rig.store.staleness = 0.05
    asked = asyncio.Event()
    say = rig.store.cannot_read

    async def noted(*args: object) -> None:
        await say(*args)
        asked.set()

    rig.store.cannot_read = noted
    task = rig.guard.start()
    try:
        async with asyncio.timeout(30.0):
            await asked.wait()
            await rig.api.remove("r-new", "c-gone")
            await rig.guard.ready()
    finally:
        await rig.guard.stop()
    assert task.done()
