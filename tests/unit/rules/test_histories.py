"""Histories in which a forced error could be called effective too early, each against the real code."""

import asyncio
import time

import pytest

from mta.admission.at_acceptance import AcceptanceRules
from mta.model.errors import SessionLost, SettingsError, StoreAway, StoreError
from mta.model.rules import Head, PastDot, Rule
from mta.orders.order import GRACE
from mta.orders.order_book import OrderBook
from mta.ports.queueing import UNDECIDED
from mta.redis_store.cluster_settings import ClusterSettings
from mta.rules.guard import PERMIT_SHARE, Guard
from mta.scheduling.reaper import Reaper
from mta.timing.clock import boottime
from tests.support.actors import ME
from tests.support.egress_rig import Rig
from tests.support.memory_rules import Clock, MemoryRules, Shared
from tests.support.protocol import NoClaims, NoSweeps, a_message, accepted_with, forced, match
from tests.support.sink import Sink

S = 5.0


async def looks(count: int) -> None:
    """Time for so many looks of an API; in parts, since several of them are one on a machine that stood still."""
    for _ in range(count):
        await asyncio.sleep(0.01)


class Cluster:
    """An API and two workers on one clock and one store."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.shared = Shared(self.clock.store)
        self.api = MemoryRules(self.shared, "api", S)
        self.book = OrderBook(self.api, NoSweeps(), self.clock, self.clock.wall)
        self.w1, self.w2 = self.worker("w1"), self.worker("w2")

    def worker(self, name: str) -> Guard:
        return Guard(MemoryRules(self.shared, name, S), "n", self.clock, wall=self.clock.wall)

    async def put(self, tag: str = "a", wait: float = 0.0):
        return await self.book.put(forced(tag), ME, wait, "effective")

    async def look(self, rule: Rule):
        """The answers of the API after it has had time to look."""
        await looks(6)
        return await self.book.effect(rule)


@pytest.fixture
async def cluster():
    made = Cluster()
    yield made
    await made.book.stop()


async def test_a_worker_that_registers_after_the_put(cluster):
    """Nobody waits for it: it has the rule before it may begin anything."""
    late = cluster.worker("late")
    effect = await cluster.look((await cluster.put()).rule)
    assert (effect.effective, effect.unconfirmed) == (True, ())
    tables = []
    late.on_change(lambda table: tables.append((match(table, "a") is not None, late.may_send_mail())) or [])
    assert not late.may_send_mail()
    await late.beat()
    assert (True, False) in tables
    assert late.may_send_mail()
    assert match(late.table, "a") is not None
    asked = [(head.generation, seq) for seq, head, _ in late._store.asked]
    assert asked[-1] == (1, 1), "it is registered with the table that it has"


async def test_a_worker_that_registers_after_the_put_while_the_put_is_under_way(cluster):
    """It asked with the table of before, and the put came first: nothing is written, and it has no permit by it."""
    store = cluster.w1._store
    once = []

    def put_now() -> None:
        if not once:
            once.append(cluster.shared.head)
            rule = forced("a")
            cluster.shared.rules[rule.id] = Rule(rule.id, rule.selectors, rule.code, generation=1)
            assert cluster.shared.move("put", cluster.shared.rules[rule.id], "c") == {"w1.1"}

    store.before_answer = put_now
    await cluster.w1.beat()  # registered without the rule, then the put: it is in the wait set
    assert cluster.shared.sessions["w1.1"].head == Head(0, "")
    await cluster.w1.beat()
    assert cluster.shared.sessions["w1.1"].head == cluster.shared.head


async def test_entries_judged_by_redis_clock_that_steps(cluster):
    """Sessions and what is past its dot are judged by numbers and by lists; no time of the server's counts."""
    reaper = Reaper(MemoryRules(cluster.shared, "reaper", S), NoClaims(), NoClaims(), 2 * S, clock=cluster.clock)
    cluster.w1.on_change(lambda table: [PastDot("r-a", "D.1", "x@example.com", 1)])
    await cluster.w1.beat()
    await cluster.w2.beat()
    await reaper.look()
    for step in (-86_400.0, 86_400.0 * 30):
        cluster.clock.store_step = step
        cluster.clock.seconds += 1.0
        await cluster.w1.beat()
        await reaper.look()
    assert not any(state.dead for state in cluster.shared.sessions.values()), "a step is no time that was watched"
    effect = await cluster.look((await cluster.put()).rule)
    assert (effect.effective, effect.unconfirmed) == (False, ("w1.1", "w2.1"))
    cluster.clock.store_step = -86_400.0
    await cluster.w1.beat()
    effect = await cluster.look(effect.rule)
    assert not effect.effective, "the other one has not confirmed, whatever the server's clock says"
    cluster.clock.seconds += S + GRACE
    assert not cluster.w2.may_send_dot()
    effect = await cluster.look(effect.rule)
    assert (effect.effective, [entry.id for entry in effect.past_dot]) == (True, ["D.1"])
    assert effect.unconfirmed == ("w2.1",)


class MetaHash:
    """The link as the cluster's settings use it."""

    def __init__(self) -> None:
        self.values: dict[tuple[object, object], object] = {}

    async def command(self, verb, key, field, value=None):
        if verb == "HSETNX":
            return self.values.setdefault((key, field), value) == value
        return self.values[key, field]

    quick = command


async def test_different_S_per_node(cluster):
    """One value for the cluster: a node whose file says otherwise does not start, and has no other value to use."""
    link = MetaHash()
    first, other = ClusterSettings(link), ClusterSettings(link)
    await first.open(S, 4)
    with pytest.raises(SettingsError, match=r"max_staleness is 60 s here and 5 s in the cluster"):
        await other.open(60.0, 4)
    assert other.max_staleness == first.max_staleness == S
    guard = Guard(MemoryRules(cluster.shared, "odd", other.max_staleness), "n", cluster.clock)
    await guard.beat()
    effect = await cluster.put()
    cluster.clock.seconds += S * PERMIT_SHARE
    assert not guard.may_send_dot()
    cluster.clock.seconds += S + GRACE - S * PERMIT_SHARE
    assert (await cluster.look(effect.rule)).effective


async def test_a_suspended_machine(cluster):
    """CLOCK_BOOTTIME goes on while the machine sleeps; a clock that does not would leave the permit standing."""
    stands = time.monotonic()
    clocks = {time.CLOCK_BOOTTIME: cluster.clock, time.CLOCK_MONOTONIC: lambda: stands}
    assert boottime.func is time.clock_gettime
    guard = Guard(MemoryRules(cluster.shared, "sleeper", S), "n")
    assert guard._now is boottime, "the clock that it has in a node"
    guard._now = clocks[boottime.args[0]]
    await guard.beat()
    effect = await cluster.put()
    assert guard.may_send_mail()
    cluster.clock.seconds += 3600.0  # asleep
    assert not guard.may_send_mail()
    assert not guard.may_send_dot()
    assert (await cluster.look(effect.rule)).effective
    await guard.beat()
    assert match(guard.table, "a") is not None


async def test_a_suspended_machine_that_was_given_up_meanwhile(cluster):
    await cluster.w1.beat()
    dropped = []
    cluster.w1.on_lost(lambda: dropped.append(cluster.w1.may_send_dot()))
    await cluster.api.mark_dead("w1.1", None)
    cluster.clock.seconds += 3600.0
    assert (await cluster.look((await cluster.put()).rule)).effective
    with pytest.raises(SessionLost):
        await cluster.w1.beat()
    assert dropped == [False]
    await cluster.w1.beat()
    assert match(cluster.w1.table, "a") is not None


async def test_a_suspended_machine_whose_question_is_asked_again(cluster):
    """Its answer was lost before it slept. The number in the store moves with the second question too, or an observer
    could give up, by a number that stood still, who has just got a permit."""
    reaper = Reaper(MemoryRules(cluster.shared, "reaper", S), NoClaims(), NoClaims(), 2 * S, clock=cluster.clock)
    cluster.w1._store.lose_reply = True
    with pytest.raises(StoreError):
        await cluster.w1.beat()
    await reaper.look()
    cluster.clock.seconds += 2 * S + 0.1
    cluster.w1._store.lose_reply = False
    await cluster.w1.beat()
    await reaper.look()
    assert cluster.w1.may_send_dot()
    assert (await cluster.put()).unconfirmed == ("w1.1",), "a session with a permit is waited for"


def fail_over(cluster: Cluster, *stores: MemoryRules) -> Shared:
    """A replica takes over, and these go on with it."""
    replica = cluster.shared.promoted()
    for store in stores:
        store.shared = replica
    return replica


async def test_a_failover_that_loses_a_generation_which_is_used_again(cluster):
    """The same number, another change: a worker of the lost one confirms nothing until both are there."""
    await cluster.w1.beat()
    await cluster.w2.beat()
    backup = cluster.shared.promoted()
    cluster.shared.replicated = False
    with pytest.raises(StoreAway):  # the order is never told to be made, so nobody calls it effective
        await cluster.put("lost")
    with pytest.raises(StoreAway):
        await cluster.w1.beat()  # it has the rule already, and no permit by it
    assert match(cluster.w1.table, "lost") is not None
    for guard in (cluster.w1, cluster.w2):
        guard._store.shared = backup
    cluster.api.shared = backup
    effect = await cluster.put("b")
    assert effect.rule.generation == cluster.w1.table.head.generation == 1
    unions = []
    cluster.w1.on_change(lambda table: unions.append({rule.id for rule in table.rules()}) or [])
    await cluster.w2.beat()
    assert not (await cluster.look(effect.rule)).effective, "another change of the same number is no confirmation"
    await cluster.w1.beat()
    assert unions[0] == {"r-lost", "r-b"}, "both are in force before anything is confirmed"
    assert backup.rules.keys() == {"r-lost", "r-b"}
    assert backup.sessions["w1.1"].head == backup.head == cluster.w1.table.head
    assert (await cluster.look(effect.rule)).effective
    await cluster.w2.beat()
    assert match(cluster.w2.table, "lost") is not None


async def test_a_worker_that_confirms_with_an_old_master(cluster):
    """An answer of the old master alone confirms nothing, so the worker's permit has run out when the new master's API
    calls the order effective."""
    await cluster.w1.beat()
    old = cluster.shared
    new = fail_over(cluster, cluster.api)
    old.replicated = False
    cluster.clock.seconds += 1.0
    for _ in range(5):
        with pytest.raises(StoreAway):
            await cluster.w1.beat()
        cluster.clock.seconds += 0.1
    effect = await cluster.look((await cluster.put()).rule)
    assert (effect.effective, effect.unconfirmed) == (False, ("w1.1",))
    while not (await cluster.look(effect.rule)).effective:
        with pytest.raises(StoreAway):
            await cluster.w1.beat()
        cluster.clock.seconds += 0.5
    assert not cluster.w1.may_send_dot()
    cluster.w1._store.shared = new
    await cluster.w1.beat()
    assert match(cluster.w1.table, "a") is not None


async def test_a_stop_between_look_and_write():
    """Nobody can prevent it; the second look sees it, and the delivery is reported as escaped."""
    clock = Clock()
    async with Sink() as sink, Rig(route=f"127.0.0.1:{sink.port}") as rig:
        store = MemoryRules(Shared(clock.store), "w1", S)
        guard = Guard(store, "n", clock)
        await guard.beat()
        egress = rig.an_egress(guard)
        rig.egress, first = egress, rig.egress
        await first.close()
        may_send_dot = guard.may_send_dot
        looks = []

        def stopped_after_the_look() -> bool:
            looks.append(may_send_dot())
            if len(looks) == 1:
                clock.seconds += S + GRACE  # SIGSTOP, SIGCONT; meanwhile an order became effective by the time alone
            return looks[-1]

        guard.may_send_dot = stopped_after_the_look  # type: ignore[method-assign]
        (claimed,) = rig.send("a@example.com")
        await rig.settle.until(1)
    assert looks == [True, False]
    assert rig.settle.escapes == [claimed]
    assert len(sink.received) == 1


async def test_a_process_that_only_accepts_and_stood_still_decides_nothing_by_its_old_table(cluster):
    """Nobody waits for it. Its decisions of before reach a lane when a removal, and then a new rule, are effective."""
    store = MemoryRules(cluster.shared, "a1", S, roles=("smtp",))
    guard = Guard(store, "n", cluster.clock, wall=cluster.clock.wall)
    rules = AcceptanceRules(guard, "n", 0.0, clock=cluster.clock)

    async def effective(order):
        order = asyncio.create_task(order)
        await asyncio.sleep(0)
        await cluster.w1.beat()
        await cluster.w2.beat()
        effect = await asyncio.wait_for(order, 30.0)
        assert (effect.effective, effect.confirmed) == (True, ("w1.1", "w2.1"))
        return cluster.shared.barriers[-1]

    await cluster.w1.beat()
    await cluster.w2.beat()
    await effective(cluster.book.put(forced("a"), ME, 5.0, "effective"))
    await guard.beat()
    for order in (
        cluster.book.remove("r-a", ME, 5.0),
        cluster.book.put(forced("b"), ME, 5.0, "effective"),
    ):
        decision = rules.decide([a_message("a")])
        assert (decision.generation, len(decision.ended)) == (1, 1)
        barrier = await effective(order)
        assert guard.is_fresh(), "it could decide so again"
        made = await accepted_with(decision, lambda: rules.decide([a_message("a")]), barrier)
        assert made == UNDECIDED, "accepted, and the claim decides"
    await guard.beat()
    assert await accepted_with(decision, lambda: rules.decide([a_message("b")]), barrier) != UNDECIDED


async def test_an_edit_that_the_store_holds_up_is_not_effective_before_its_barrier(cluster):
    """All have confirmed, and a sweep still decides by the rule as it was: until the barrier stands nothing is told."""
    await cluster.put()
    await looks(6)
    refused = []

    async def not_yet(generation: int) -> None:
        refused.append(generation)
        raise StoreAway("not yet")

    raise_barrier = cluster.api.raise_barrier
    cluster.api.raise_barrier = not_yet  # type: ignore[method-assign]
    effect = await cluster.book.put(forced("a", code=450), ME, 0.0, "effective")
    effect = await cluster.look(effect.rule)
    assert refused
    assert not effect.effective
    cluster.api.raise_barrier = raise_barrier  # type: ignore[method-assign]
    await looks(15)
    effect = await cluster.look(effect.rule)
    assert (effect.effective, cluster.shared.barriers[-1]) == (True, effect.rule.generation)
