"""Orders: when a change is effective, and what is said of it until then and afterwards."""

import asyncio
from unittest.mock import AsyncMock

import msgspec
import pytest

from mta.model.errors import BadValue, StoreAway
from mta.model.rules import NO_HEAD, ChangeOp, PastDot, Rule, Selectors
from mta.model.sweeps import SweepPhase, SweepState
from mta.orders.order_book import OrderBook
from mta.rules.guard import Guard
from tests.support.actors import ME
from tests.support.eventually import eventually
from tests.support.memory_rules import Clock, MemoryRules, Shared


class Sweeps:
    def __init__(self) -> None:
        self.states: dict[str, SweepState] = {}

    async def sweeps(self) -> dict[str, SweepState]:
        return self.states

    async def sweep(self, rule: str) -> SweepState | None:
        return (await self.sweeps()).get(rule)


class Rig:
    def __init__(self) -> None:
        self.clock = Clock()
        self.shared = Shared()
        self.api = MemoryRules(self.shared, "api")
        self.sweeps = Sweeps()
        self.book = self.new_book()
        self.guards = {name: Guard(MemoryRules(self.shared, name), "n1", self.clock) for name in ("w1", "w2")}

    def new_book(self) -> OrderBook:
        return OrderBook(self.api, self.sweeps, self.clock, self.clock.wall)

    async def beat(self, *names: str) -> None:
        for name in names or self.guards:
            await self.guards[name].beat()


@pytest.fixture
async def rig():
    made = Rig()
    await made.beat()
    yield made
    await made.book.stop()


RULE = Rule("r", Selectors(tag="a"), 554)


async def until(true) -> None:
    await eventually(true, least=0.005)


async def test_effective_when_every_session_of_the_wait_set_has_confirmed(rig):
    effect = await rig.book.put(RULE, ME, 0.0, "effective")
    assert (effect.effective, effect.created) == (False, True)
    assert effect.unconfirmed == ("w1.1", "w2.1")
    assert effect.effective_by == 105_500
    await rig.beat("w1")

    async def half() -> bool:
        return bool((await rig.book.effect(effect.rule)).confirmed)

    await until(half)
    seen = await rig.book.effect(effect.rule)
    assert (seen.effective, seen.confirmed, seen.unconfirmed) == (False, ("w1.1",), ("w2.1",))
    rig.clock.seconds = 101.0
    await rig.beat("w2")
    await until(lambda: rig.shared.effects)
    whole = await rig.book.effect(effect.rule)
    assert (whole.effective, whole.effective_at, whole.quiet_at) == (True, 101_000, 101_000)
    assert whole.confirmed == ("w1.1", "w2.1")
    assert whole.unconfirmed == ()


async def test_put_waits_as_long_as_it_may(rig):
    order = asyncio.create_task(rig.book.put(RULE, ME, 5.0, "effective"))
    await until(lambda: rig.shared.head.generation)
    await rig.beat()
    assert (await order).effective


async def test_stopped_worker_leaves_the_wait_set_by_time_and_stays_named(rig):
    effect = await rig.book.put(RULE, ME, 0.0, "effective")
    await rig.beat("w1")
    rig.clock.seconds = 105.49
    await asyncio.sleep(0.04)
    assert not (await rig.book.effect(effect.rule)).effective
    rig.clock.seconds = 105.5
    assert not rig.guards["w2"].may_send_dot()
    await until(lambda: rig.shared.effects)
    known = await rig.book.effect(effect.rule)
    assert (known.effective_at, known.confirmed, known.unconfirmed) == (105_500, ("w1.1",), ("w2.1",))


async def test_time_decides_while_the_store_is_away(rig, monkeypatch):
    effect = await rig.book.put(RULE, ME, 0.0, "effective")
    away = AsyncMock(side_effect=StoreAway("away"))
    rig.clock.seconds = 105.3
    await until(lambda: rig.shared.barriers == [1])
    monkeypatch.setattr(rig.api, "sessions", away)
    rig.clock.seconds = 105.6  # looked at late: effective_by holds all the same
    await until(lambda: rig.shared.effects)
    assert away.called
    monkeypatch.undo()
    assert (await rig.book.effect(effect.rule)).effective_at == effect.effective_by == 105_500


async def test_an_order_is_effective_no_sooner_than_every_lane_has_its_barrier(rig):
    """Also a new one, and also where its time has passed: a process that only accepts may have decided before."""
    effect = await rig.book.put(RULE, ME, 0.0, "effective")
    rig.api.away = True
    rig.clock.seconds = 105.6
    await asyncio.sleep(0.04)
    assert not rig.shared.effects
    rig.api.away = False
    await until(lambda: rig.shared.effects)
    known = await rig.book.effect(effect.rule)
    assert (known.effective, known.effective_at, rig.shared.barriers) == (True, 105_600, [1])


async def test_only_sessions_that_deliver_are_waited_for(rig):
    accepting = Guard(MemoryRules(rig.shared, "a1", roles=("smtp",)), "n2", rig.clock)
    await accepting.beat()
    effect = await rig.book.put(RULE, ME, 0.0, "effective")
    assert effect.unconfirmed == ("w1.1", "w2.1")
    await rig.beat()
    await until(lambda: rig.shared.effects)
    assert (rig.shared.effects["r"].confirmed, rig.shared.barriers) == (("w1.1", "w2.1"), [1])
    await rig.book.stop()
    again = rig.new_book()
    rig.shared.effects.clear()
    await again.start()
    assert (await again.effect(effect.rule)).unconfirmed == ()
    await again.stop()


async def test_a_lifting_that_time_decides_has_its_barrier_raised_before_and_keeps_its_word(rig):
    await rig.book.put(RULE, ME, 0.0, "effective")
    await rig.beat()
    await until(lambda: rig.shared.effects)
    lifting = asyncio.create_task(rig.book.remove("r", ME, 20.0))
    await until(lambda: rig.shared.head.generation == 2)
    rig.clock.seconds = 105.2
    await asyncio.sleep(0.04)
    assert rig.shared.barriers == [1]
    rig.clock.seconds = 105.3
    await until(lambda: rig.shared.barriers == [1, 2])
    assert not lifting.done()
    rig.clock.seconds = 105.7
    told = await lifting
    assert told is not None
    assert (told.effective, told.effective_at, told.effective_by) == (True, 105_500, 105_500)
    assert rig.shared.barriers == [1, 2]


async def test_goodbye_and_death_leave_the_wait_set(rig):
    await rig.book.put(RULE, ME, 0.0, "effective")
    await rig.guards["w1"].stop()
    await rig.api.mark_dead("w2.1", None)
    await until(lambda: rig.shared.effects)
    assert rig.shared.effects["r"].confirmed == rig.shared.effects["r"].unconfirmed == ()


async def test_past_dot_is_fixed_and_quiet_once_all_of_it_is_settled(rig):
    rig.guards["w1"].on_change(lambda table: [PastDot("r", "D.1", "x@example.com", 99_000)])
    effect = await rig.book.put(RULE, ME, 0.0, "effective")
    await rig.beat()
    await until(lambda: rig.shared.effects)
    known = await rig.book.effect(effect.rule)
    assert [entry.id for entry in known.past_dot] == ["D.1"]
    assert known.quiet_at == 0
    rig.shared.past["r"]["D.2"] = PastDot("r", "D.2", "y@example.com", 99_500, "w2.1")
    rig.api.settled("r", "D.1", 103_000)
    known = await rig.book.effect(effect.rule)
    assert [entry.id for entry in known.past_dot] == ["D.1"]
    assert known.quiet_at == 103_000


async def test_past_dot_of_a_dead_worker_counts_as_settled_when_noticed(rig):
    rig.guards["w1"].on_change(lambda table: [PastDot("r", "D.1", "x@example.com", 99_000)])
    effect = await rig.book.put(RULE, ME, 0.0, "effective")
    await rig.beat()
    await until(lambda: rig.shared.effects)
    rig.clock.seconds = 110.0
    await rig.api.mark_dead("w1.1", None)
    assert (await rig.book.effect(effect.rule)).quiet_at == 110_000
    rig.clock.seconds = 120.0
    assert (await rig.book.effect(effect.rule)).quiet_at == 110_000


async def test_barrier_is_raised_before_an_order_is_effective(rig):
    await rig.book.put(RULE, ME, 0.0, "effective")
    await rig.beat()
    await until(lambda: rig.shared.effects)
    assert rig.shared.barriers == [1], "put-backs by older tables come too late for the last pass of the sweep"
    again = await rig.book.put(Rule("other", Selectors(tag="a"), 450), ME, 0.0, "effective")
    assert (again.rule.id, again.created) == ("r", False)
    assert rig.shared.barriers == [1]
    await rig.beat()
    await until(lambda: rig.shared.effects["r"].generation == 2)
    assert rig.shared.barriers == [1, 2]
    removal = asyncio.create_task(rig.book.remove("r", ME, 5.0))
    await until(lambda: rig.shared.head.generation == 3)
    await rig.beat()
    gone = await removal
    assert gone is not None
    assert gone.effective
    assert rig.shared.barriers == [1, 2, 3]


async def test_removing_what_is_not_there(rig):
    assert await rig.book.remove("nothing", ME, 0.0) is None


async def test_another_process_reads_the_effect(rig):
    effect = await rig.book.put(RULE, ME, 0.0, "effective")
    await rig.beat()
    await until(lambda: rig.shared.effects)
    other = rig.new_book()
    assert (await other.effect(effect.rule)).effective
    await other.stop()


async def test_restarted_api_waits_for_all_that_stand_below_the_change(rig):
    effect = await rig.book.put(RULE, ME, 0.0, "effective")
    await rig.book.stop()
    await rig.beat("w1")
    rig.clock.seconds = 103.0
    again = rig.new_book()
    await again.start()
    resumed = await again.effect(effect.rule)
    assert (resumed.effective, resumed.unconfirmed, resumed.effective_by) == (False, ("w2.1",), 108_500)
    await rig.beat("w2")
    await until(lambda: rig.shared.effects)
    assert (await again.effect(effect.rule)).effective
    await again.stop()


async def test_until_swept_waits_for_the_sweep_of_this_change(rig):
    rig.sweeps.states["r"] = SweepState("r", 0, SweepPhase.DONE, 0, 0, 0, 0, 0)
    order = asyncio.create_task(rig.book.put(RULE, ME, 60.0, "swept"))
    await until(lambda: rig.shared.head.generation)
    await rig.beat()
    await until(lambda: rig.shared.effects)
    await asyncio.sleep(0.05)
    assert not order.done()
    rig.sweeps.states["r"] = SweepState("r", 1, SweepPhase.DONE, 0, 0, 0, 0, 0)
    assert (await asyncio.wait_for(order, 30.0)).effective


async def test_an_edit_is_followed_like_a_replacement(rig):
    await rig.book.put(RULE, ME, 0.0, "effective")
    await rig.beat()
    await until(lambda: rig.shared.effects)
    assert await rig.book.edit("none", lambda rule: rule, ME, 0.0, "effective") is None
    editing = asyncio.create_task(
        rig.book.edit("r", lambda rule: msgspec.structs.replace(rule, enabled=False), ME, 5.0, "effective")
    )
    await until(lambda: rig.shared.head.generation == 2)
    assert rig.shared.barriers == [1]
    await rig.beat()
    effect = await editing
    assert (effect.effective, effect.created, effect.rule.enabled) == (True, False, False)
    assert rig.shared.barriers == [1, 2], "decisions by the rule as it was are refused"

    def refuse(rule: Rule) -> Rule:
        raise BadValue("code", "no")

    with pytest.raises(BadValue):
        await rig.book.edit("r", refuse, ME, 0.0, "effective")
    assert rig.shared.head.generation == 2


async def test_figures_say_how_long_orders_took_and_what_made_them_effective(rig):
    first = asyncio.create_task(rig.book.put(RULE, ME, 5.0, "effective"))
    await until(lambda: rig.shared.head.generation == 1)
    assert rig.book.figures().pending == 1
    rig.clock.seconds = 100.2
    await rig.beat()
    await first
    await rig.book.remove("r", ME, 0.0)
    rig.clock.seconds = 106.0
    await until(lambda: rig.book.figures().by_time == 1)
    figures = rig.book.figures()
    assert (figures.pending, figures.in_time) == (0, 1)
    assert figures.seconds == pytest.approx(0.2 + 5.8)
    within = dict(figures.within)
    assert (within[0.1], within[0.25], within[5.0], within[10.0]) == (0, 1, 1, 2)


async def test_figures_leave_out_orders_of_which_nobody_knows_when_they_were_given(rig):
    await rig.api.put(RULE, "c1")
    await rig.book.start()
    await rig.beat()
    await until(lambda: rig.shared.effects)
    await until(lambda: not rig.book.figures().pending)
    assert rig.book.figures().in_time == 0


def lose(rig, kept: int) -> None:
    """A failover to a server that had got `kept` changes; the guards know the newest that they had confirmed."""
    shared = rig.shared
    del shared.changes[kept:]
    shared.head = shared.changes[-1].head if shared.changes else NO_HEAD
    shared.rules = {change.rule.id: change.rule for change in shared.changes if change.op is ChangeOp.PUT}
    shared.effects.clear()


async def test_an_order_that_a_failover_lost_before_anybody_confirmed_it_is_given_again(rig, caplog):
    await rig.api.put(Rule("old", Selectors(tag="old"), 554), "c1")
    await rig.beat()
    await rig.book.put(RULE, ME, 0.0, "effective")
    lose(rig, 1)
    await rig.api.put(Rule("other", Selectors(tag="other"), 554), "number 2 again")
    await rig.beat()  # which confirms another change of the same number
    await until(lambda: "r" in rig.shared.rules)
    again = rig.shared.rules["r"]
    assert not (await rig.book.effect(again)).effective
    await rig.beat()
    await until(lambda: "r" in rig.shared.effects)
    assert rig.guards["w1"].table.rule("r") is not None
    assert rig.shared.effects["r"].generation == again.generation == 3
    assert (await rig.book.effect(again)).effective
    assert "was lost in a failover" in caplog.text


async def edited(rig) -> None:
    """An edit to 421 that a failover loses while nobody but the API knows of it."""
    await rig.book.put(RULE, ME, 0.0, "effective")
    await rig.beat()
    await until(lambda: rig.shared.effects)
    await rig.book.edit("r", lambda rule: msgspec.structs.replace(rule, code=421), ME, 0.0, "effective")
    lose(rig, 1)


async def test_an_edit_that_was_lost_is_made_again(rig):
    await edited(rig)
    rig.clock.seconds += 6.0
    await until(lambda: rig.shared.rules["r"].code == 421)
    assert not rig.shared.effects
    await rig.beat()
    await until(lambda: rig.shared.effects)
    assert rig.shared.effects["r"].generation == rig.shared.rules["r"].generation == 3
    assert rig.guards["w2"].table.rule("r").code == 421


async def test_an_edit_that_was_lost_is_not_made_again_over_one_made_since(rig):
    await edited(rig)
    await rig.api.edit("r", lambda rule: msgspec.structs.replace(rule, code=450), "since")
    await rig.beat()
    await until(lambda: rig.shared.effects)
    assert (rig.shared.rules["r"].code, rig.shared.effects["r"].generation) == (450, 2)
    assert rig.book.figures().pending == 0


async def test_a_removal_that_was_lost_is_made_again_while_it_is_followed(rig):
    await rig.book.put(RULE, ME, 0.0, "effective")
    await rig.beat()
    await until(lambda: rig.shared.effects)
    removal = asyncio.create_task(rig.book.remove("r", ME, 30.0))
    await until(lambda: not rig.shared.rules)
    lose(rig, 1)
    rig.clock.seconds += 6.0
    await until(lambda: not rig.shared.rules)
    await rig.beat()
    assert (await removal).effective
    assert all(guard.table.rule("r") is None for guard in rig.guards.values())


async def test_an_order_that_the_guards_have_put_again_is_effective_by_their_confirmations(rig):
    effect = await rig.book.put(RULE, ME, 0.0, "effective")
    await rig.beat("w1")
    lose(rig, 0)
    await rig.beat()
    assert rig.shared.rules["r"].generation == 2
    rig.clock.seconds += 6.0
    await until(lambda: "r" in rig.shared.effects)
    assert rig.shared.effects["r"].generation == 2
    assert [change.rule.id for change in rig.shared.changes if change.op is ChangeOp.PUT] == ["r"]
    assert (await rig.book.effect(msgspec.structs.replace(effect.rule, generation=2))).effective


async def test_hundreds_of_orders_that_become_effective_together_take_turns_and_share_a_barrier(rig):
    at_once = most = 0
    past_dot = rig.api.past_dot

    async def counted(rule_id):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1
        return await past_dot(rule_id)

    rig.api.past_dot = counted
    for number in range(300):
        await rig.book.put(Rule(f"r{number}", Selectors(tag=f"t{number}"), 554), ME, 0.0, "effective")
    assert rig.book.figures().pending == 300
    await rig.beat()
    await until(lambda: len(rig.shared.effects) == 300)
    assert most <= 16
    assert max(rig.shared.barriers) == 300
    assert len(rig.shared.barriers) < 30


async def test_until_swept_ends_with_a_sweep_that_stopped_because_the_rule_expired(rig):
    rig.sweeps.states["r"] = SweepState("r", 1, SweepPhase.RUNNING, 0, 0, 0, 0, 0)
    rule = msgspec.structs.replace(RULE, expires_at=rig.clock.wall() + 1)
    order = asyncio.create_task(rig.book.put(rule, ME, 60.0, "swept"))
    await until(lambda: rig.shared.head.generation)
    await rig.beat()
    await until(lambda: rig.shared.effects)
    rig.sweeps.states["r"] = rig.sweeps.states["r"]._replace(phase=SweepPhase.STOPPED)
    assert (await asyncio.wait_for(order, 30.0)).effective
