"""The sweep: what it ends, under which rule, and when it calls itself done."""

import asyncio
import json
import time
from collections.abc import Callable, Collection, Sequence

import msgspec
import pytest

from mta.model.errors import StoreAway
from mta.model.events import Event, EventType
from mta.model.ids import delivery_id, new_message_id
from mta.model.mail import QueueKey, QueueShare, Record
from mta.model.outcomes import Forced, Stage
from mta.model.rule_events import RuleEvent, completed_event
from mta.model.rules import Effective, Head, Kind, Rule, Selectors
from mta.model.sweeps import SweepState
from mta.orders.statement import rule_statement
from mta.policy.bounded_orders import hold_for
from mta.policy.rule_table import RuleTable
from mta.ports.orders import Effect
from mta.ports.sweeps import MoveAnswer, PlannedMove, SweepMove, WaitingDelivery
from mta.rules.guard import Guard
from mta.sweeps.pace import Pace
from mta.sweeps.release import Releaser
from mta.sweeps.sites_of_mail import SitesOfMail
from mta.sweeps.sweep_moves import Decider
from mta.sweeps.sweeper import Sweeper
from mta.timing.clock import wall_ms
from tests.support.eventually import eventually
from tests.support.memory_rules import MemoryRules, Shared


class Queues:
    """Fulfils ports.sweeps.SweepStore."""

    lanes = 2

    def __init__(self) -> None:
        self.mail: dict[tuple[int, QueueKey], dict[bytes, WaitingDelivery]] = {}
        self.walked: dict[tuple[int, QueueKey], list[WaitingDelivery]] = {}  # as it was when the walk began
        self.held: dict[tuple[int, str], dict[bytes, WaitingDelivery]] = {}
        self.page = 1 << 30  # deliveries of a page
        self.again = 0  # of a page that the next one shows once more
        self.steps: list[int] = []  # their sizes
        self.ended: list[PlannedMove] = []
        self.completed: list[bytes] = []
        self.released: list[PlannedMove] = []
        self.scanned: list[QueueKey] = []
        self.states: dict[str, SweepState] = {}
        self.owners: dict[str, str] = {}
        self.barrier = 0
        self.waiting = 0
        self.away = 0

    def add(self, domain: str, tag: str, count: int, pool: str = "p", lane: int = 0, reclaims: int = 0) -> None:
        for _ in range(count):
            name = delivery_id(new_message_id(lane, 1), 1)
            record = Record("s@example.net", f"u@{domain}", (tag,), 10, 1, 2)
            self.mail.setdefault((lane, QueueKey(pool, domain)), {})[name] = WaitingDelivery(
                name, QueueKey(pool, domain), 1, record, reclaims
            )

    def left(self) -> int:
        return sum(len(queue) for queue in self.mail.values())

    async def pools(self) -> list[str]:
        if self.away:
            self.away -= 1
            raise StoreAway("away")
        return sorted({queue.pool for _, queue in self.mail})

    async def queues(self, lane: int, pool: str) -> list[QueueShare]:
        return [QueueShare(queue) for at, queue in self.mail if at == lane and queue.pool == pool]

    async def scan(
        self, lane: int, queue: QueueKey, cursor: int, most: int, share: str = ""
    ) -> tuple[int, list[WaitingDelivery]]:
        await asyncio.sleep(0)
        self.scanned.append(queue)
        if not cursor:
            self.walked[lane, queue] = list(self.mail[lane, queue].values())
        page = self.walked[lane, queue][max(0, cursor - self.again) :][: self.page + self.again]
        after = cursor + self.page
        return after if after < len(self.walked[lane, queue]) else 0, page

    async def pauses(self, lane: int) -> list[str]:
        return [pause for (at, pause), found in self.held.items() if at == lane and found]

    async def scan_held(self, lane: int, pause: str, cursor: int, most: int) -> tuple[int, list[WaitingDelivery]]:
        return 0, list(self.held[lane, pause].values())

    async def first_held(self, lane: int, pause: str, most: int) -> list[WaitingDelivery]:
        return sorted(self.held[lane, pause].values(), key=lambda queued: queued.due_at)[:most]

    async def move(
        self, lane: int, source: str, move: SweepMove, generation: int, matches: Sequence[PlannedMove]
    ) -> tuple[MoveAnswer, int]:
        if generation < self.barrier:
            return MoveAnswer.OLD_RULES, 0
        assert len({match.id for match in matches}) == len(matches) <= 100
        self.steps.append(len(matches))
        moved = 0
        for match in matches:
            place = self.held[lane, source] if source else self.mail[lane, match.queue]
            queued = place.pop(match.id, None)
            if queued is None:
                continue
            moved += 1
            if move is SweepMove.INTERCEPT:
                self.ended.append(match)
            elif move is SweepMove.HOLD:
                self.held.setdefault((lane, match.rule), {})[match.id] = queued._replace(record=match.record)
            else:
                self.released.append(match)
                self.mail.setdefault((lane, match.queue), {})[match.id] = queued._replace(record=match.record)
        return MoveAnswer.OK, moved

    async def sweeps(self) -> dict[str, SweepState]:
        return dict(self.states)

    async def sweeps_of(self, orders: Sequence[str]) -> dict[str, SweepState]:
        return {order: state for order, state in self.states.items() if order in orders}

    async def sweep(self, order: str) -> SweepState | None:
        return (await self.sweeps()).get(order)

    async def save_sweep(self, state: SweepState, lease: float, completed: bytes = b"", rule: str = "") -> bool:
        if self.owners.setdefault(state.rule, state.owner) != state.owner:
            return False
        self.completed += [completed] if completed else []
        self.states[state.rule] = state
        return True

    async def backlog(self, lane: int) -> int:
        return self.waiting

    async def traffic(self) -> int:
        return 0


class Rig:
    def __init__(self, wall: Callable[[], int] = wall_ms) -> None:
        self.wall = wall
        self.shared, self.queues = Shared(), Queues()
        self.rules = MemoryRules(self.shared, "sweeper")
        self.api = MemoryRules(self.shared, "api")
        self.known: dict[str, str] = {}  # domain -> site
        self.guard = Guard(self.rules, "", wall=wall, sites=self.known.get)
        self.sweeper, self.releaser = self.processes()

    def processes(self) -> tuple[Sweeper, Releaser]:
        """A sweeper and a releaser that know nothing yet."""
        pace, decider = Pace(self.queues, 0.0, 100), Decider("n1", 600_000, self.wall)
        sites = SitesOfMail(self)
        sweeper = Sweeper(self.queues, self.guard, self.rules, decider, pace, self.account, sites, wall=self.wall)
        return sweeper, Releaser(self.queues, self.guard, decider, pace, sites, self.wall)

    async def find_out(self, domains: Collection[str], seconds: float) -> Collection[str]:
        """Fulfils ports.sites.SiteFinder: DNS knows all but gone.test."""
        self.known |= dict.fromkeys((domain for domain in domains if domain != "gone.test"), "big")
        return {domain for domain in domains if domain == "gone.test"}

    async def put(
        self, name: str, code: int = 554, effective: bool = True, kind: Kind = Kind.ERROR, **selectors: object
    ) -> Rule:
        made = Rule(name, Selectors(**selectors), code, "5.7.1", "stopped", kind=kind)
        put, _ = await self.api.put(made, f"c-{name}")
        if effective:
            await self.effective(put.rule)
        return put.rule

    async def effective(self, rule: Rule) -> None:
        await self.api.save_effect(Effective(rule.id, rule.generation, 5000), rule)

    async def account(self, rule: Rule, sweep: SweepState) -> RuleEvent:
        effect = Effect(rule, False, True, sweep.effective_at, 0, (), sweep.effective_at, (), ())
        counts = {"met": sweep.matched, "intercepted:queued": sweep.matched}
        statement = rule_statement(effect, counts, None, sweep, wall_ms())
        return completed_event(rule, sweep.generation, statement, wall_ms())

    def state(self, name: str) -> str:
        return self.queues.states[name].phase if name in self.queues.states else ""


@pytest.fixture
async def rig():
    made = Rig()
    await made.guard.beat()
    made.guard.start()
    tasks = [asyncio.create_task(one.run()) for one in (made.sweeper, made.releaser)]
    yield made
    made.sweeper.stop()
    made.releaser.stop()
    await asyncio.gather(*tasks)
    await made.guard.stop()


async def until(true) -> None:
    await eventually(true, least=0.005)


async def test_what_matches_is_intercepted_and_the_rest_left(rig):
    rig.queues.add("example.com", "a", 250, reclaims=1)
    rig.queues.add("example.org", "a", 5, lane=1)
    rig.queues.add("example.com", "b", 7)
    rule = await rig.put("r", tag="a")
    await until(lambda: rig.state("r") == "done")
    assert rig.queues.left() == 7
    state = rig.queues.states["r"]
    assert (state.seen, state.matched, state.share) == (262, 255, 1.0)
    event = msgspec.msgpack.decode(rig.queues.ended[0].event, type=Event)
    assert (event.type, event.code, event.enhanced, event.text) == (EventType.INTERCEPTED, 554, "5.7.1", "stopped")
    assert event.forced == Forced("r", rule.generation, Stage.QUEUED)
    assert sum(match.uncertain for match in rig.queues.ended) == 250


async def test_steps_are_full_whatever_a_page_or_a_queue_has(rig):
    rig.queues.page = 30
    for number in range(7):
        rig.queues.add(f"d{number}.example.com", "a", 50)
    await rig.put("r", tag="a")
    await until(lambda: rig.state("r") == "done")
    assert (rig.queues.steps, rig.queues.left()) == ([100, 100, 100, 50], 0)


async def test_a_delivery_that_a_walk_shows_twice_is_ended_once(rig):
    rig.queues.page, rig.queues.again = 30, 10
    rig.queues.add("example.com", "a", 150)
    await rig.put("r", tag="a")
    await until(lambda: rig.state("r") == "done")
    assert (len(rig.queues.ended), rig.queues.states["r"].matched, rig.queues.left()) == (150, 150, 0)


async def test_last_pass_begins_only_when_the_rule_is_effective(rig):
    rig.queues.add("example.com", "a", 3)
    rule = await rig.put("r", effective=False, tag="a")
    await until(lambda: rig.state("r") == "waiting")
    assert rig.queues.left() == 0
    rig.queues.add("example.com", "a", 2)  # a worker with the old table put something back
    await asyncio.sleep(0.1)
    assert (rig.state("r"), rig.queues.completed) == ("waiting", [])
    await rig.effective(rule)
    await until(lambda: rig.state("r") == "done")
    assert rig.queues.left() == 0
    assert rig.queues.states["r"].matched == 5
    (told,) = rig.queues.completed
    event = msgspec.msgpack.decode(told, type=RuleEvent)
    assert (event.reason, event.forced.rule) == ("completed", "r")
    statement = json.loads(event.properties["statement"])
    assert (statement["matched"], statement["sweep"]["state"], statement["complete"]) == (5, "done", True)


async def test_winner_takes_it_and_deferring_rules_are_not_swept(rig):
    rig.queues.add("example.com", "a", 3)
    rig.queues.add("example.com", "b", 3)
    await rig.put("soft", code=450, tag="b")
    await rig.put("wide", domain="example.com", pool="other")
    await rig.put("narrow", tag="a", domain="example.com")
    await rig.put("general", tag="a")
    await until(lambda: rig.state("narrow") == rig.state("general") == "done")
    assert {match.rule for match in rig.queues.ended} == {"narrow"}
    assert rig.queues.left() == 3
    assert rig.state("soft") == ""


async def test_rule_of_a_sending_ip_is_left_to_the_attempt(rig):
    rig.queues.add("example.com", "a", 3)
    await rig.put("m", mta="192.0.2.1")
    await rig.put("r", tag="nothing")
    await until(lambda: rig.state("r") == "done")
    assert rig.state("m") == ""
    assert rig.queues.left() == 3


async def test_queues_that_the_rule_excludes_are_not_walked(rig):
    for pool, domain in (("p", "mail.example.com"), ("p", "example.com"), ("q", "mail.example.com")):
        rig.queues.add(domain, "a", 1, pool)
    await rig.put("r", pool="p", domain="*.example.com")
    await until(lambda: rig.state("r") == "done")
    assert set(rig.queues.scanned) == {QueueKey("p", "mail.example.com")}


async def test_old_rules_are_refreshed_before_deciding_again(rig):
    rig.queues.add("example.com", "a", 3)
    rig.queues.barrier = 2
    rule = await rig.put("r", tag="a")
    await until(lambda: rig.queues.scanned)
    await asyncio.sleep(0.05)
    assert rig.queues.left() == 3
    await rig.api.remove(rule.id, "lifted")
    await until(lambda: rig.state("r") == "stopped")
    assert rig.queues.left() == 3


async def test_sweep_of_another_living_owner_is_left_alone(rig):
    rig.queues.add("example.com", "a", 3)
    rig.queues.owners["r"] = "another"
    await rig.put("r", tag="a")
    await asyncio.sleep(0.1)
    assert rig.queues.left() == 3
    rig.queues.owners.clear()
    await until(lambda: rig.state("r") == "done")
    assert rig.queues.left() == 0


async def test_sweep_waits_behind_a_long_backlog(rig):
    rig.queues.add("example.com", "a", 3)
    rig.queues.waiting = 101
    await rig.put("r", tag="a")
    await asyncio.sleep(0.1)
    assert rig.queues.left() == 3
    rig.queues.waiting = 100
    await until(lambda: rig.state("r") == "done")


async def test_store_that_was_away_is_swept_from_the_start(rig):
    rig.queues.add("example.com", "a", 3)
    rig.queues.away = 1
    await rig.put("r", tag="a")
    await until(lambda: rig.state("r") == "done")
    assert rig.queues.left() == 0


@pytest.mark.parametrize("selectors", [{"ip": "192.0.2.1"}, {"mx": "*.example"}])
async def test_rule_of_a_peer_is_left_to_the_attempt(rig, selectors):
    rig.queues.add("example.com", "a", 3)
    await rig.put("m", **selectors)
    await rig.put("r", tag="nothing")
    await until(lambda: rig.state("r") == "done")
    assert rig.state("m") == ""
    assert rig.queues.left() == 3


async def test_several_tags_are_swept(rig):
    rig.queues.add("example.com", "a", 3)
    rig.queues.add("example.com", "b", 2)
    await rig.put("r", tags_all=("a",), except_tags=("b",))
    await until(lambda: rig.state("r") == "done")
    assert rig.queues.left() == 2


async def test_disabled_rule_is_swept_when_it_is_enabled_and_again_when_it_is_edited(rig):
    rig.queues.add("example.com", "a", 3)
    rule = await rig.put("r", tag="a")
    await until(lambda: rig.state("r") == "done")
    for enabled, left in ((False, 2), (True, 0)):
        rig.queues.add("example.com", "a", 2 if not enabled else 0)
        put, _ = await rig.api.edit(
            rule.id, lambda r, on=enabled: msgspec.structs.replace(r, enabled=on), f"c{enabled}"
        )
        await rig.effective(put.rule)
        if enabled:
            await until(lambda rule=put.rule: rig.queues.states["r"].generation == rule.generation)
            await until(lambda: rig.state("r") == "done")
        else:
            await asyncio.sleep(0.1)
        assert rig.queues.left() == left


async def test_expired_rule_is_not_swept_and_a_sweep_stops_when_it_expires(rig):
    rig.queues.add("example.com", "a", 3)
    rig.queues.waiting = 101  # the sweep cannot begin
    now = int(time.time() * 1000)
    for name, tag, end in (("past", "b", now - 1), ("soon", "a", now + 3000)):
        put, _ = await rig.api.put(Rule(name, Selectors(tag=tag), 554, expires_at=end), f"c-{name}")
        await rig.effective(put.rule)
    await until(lambda: rig.state("soon") == "running")
    await until(lambda: time.time() * 1000 >= now + 3000)
    rig.queues.waiting = 0
    await until(lambda: rig.state("soon") == "stopped")
    assert (rig.state("past"), rig.queues.left(), rig.queues.states["soon"].matched) == ("", 3, 0)


async def test_a_pause_holds_what_waits_and_a_lifted_one_lets_it_go_in_order(rig):
    rig.queues.add("example.com", "a", 130)
    rig.queues.add("example.com", "b", 2)
    for number, (name, queued) in enumerate(rig.queues.mail[0, QueueKey("p", "example.com")].items()):
        rig.queues.mail[0, QueueKey("p", "example.com")][name] = queued._replace(due_at=1000 - number)
    await rig.put("p1", kind=Kind.PAUSE, tag="a")
    await until(lambda: rig.state("p1") == "done")
    held = rig.queues.held[0, "p1"]
    assert (len(held), rig.queues.left(), rig.queues.states["p1"].matched) == (130, 2, 130)
    assert all(queued.record.held_at for queued in held.values())
    due = {name: queued.due_at for name, queued in held.items()}
    await rig.api.remove("p1", "lifted")
    await until(lambda: rig.queues.left() == 132)
    order = [due[match.id] for match in rig.queues.released]
    assert order == sorted(order)
    assert all(match.record.held_at == 0 and match.record.expires_at >= 2 for match in rig.queues.released)


async def test_what_a_pause_holds_is_ended_by_a_rule_that_ends_mail_and_kept_against_a_weaker_one(rig):
    rig.queues.add("example.com", "a", 3)
    rig.queues.add("example.org", "a", 2)
    await rig.put("p1", kind=Kind.PAUSE, tag="a")
    await until(lambda: rig.state("p1") == "done")
    await rig.put("soft", code=450, tag="a", domain="example.com")
    await rig.put("r", domain="example.com")
    await until(lambda: rig.state("r") == "done")
    assert {match.rule for match in rig.queues.ended} == {"r"}
    assert (len(rig.queues.ended), len(rig.queues.held[0, "p1"]), rig.queues.left()) == (3, 2, 0)


async def test_what_is_released_is_matched_again(rig):
    rig.queues.add("example.com", "a", 2)
    rig.queues.add("example.org", "a", 2)
    await rig.put("p1", kind=Kind.PAUSE, tag="a")
    await until(lambda: rig.state("p1") == "done")
    await rig.put("p2", kind=Kind.PAUSE, domain="example.com")
    await rig.api.remove("p1", "lifted")
    await until(lambda: rig.queues.left() == 2)
    assert len(rig.queues.held[0, "p2"]) == 2


async def test_a_pause_that_becomes_a_forced_error_lets_nothing_through(rig):
    rig.queues.add("example.com", "a", 120)
    pause = await rig.put("p1", kind=Kind.PAUSE, tag="a")
    await until(lambda: rig.state("p1") == "done")
    put, _ = await rig.api.edit(pause.id, lambda r: msgspec.structs.replace(r, kind=Kind.ERROR, code=554), "convert")
    await rig.effective(put.rule)
    await until(lambda: len(rig.queues.ended) == 120)
    assert (rig.queues.left(), rig.queues.released) == (0, [])


async def test_a_pause_that_becomes_a_4xx_holds_no_longer(rig):
    rig.queues.add("example.com", "a", 3)
    pause = await rig.put("p1", kind=Kind.PAUSE, tag="a")
    await until(lambda: rig.state("p1") == "done")
    await rig.api.edit(pause.id, lambda r: msgspec.structs.replace(r, kind=Kind.ERROR, code=450), "convert")
    await until(lambda: rig.queues.left() == 3)


async def test_a_pause_that_is_over_by_its_time_releases(rig):
    rig.queues.add("example.com", "a", 3)
    end = int(time.time() * 1000) + 3000
    put, _ = await rig.api.put(Rule("p1", Selectors(tag="a"), kind=Kind.PAUSE, expires_at=end), "c1")
    await rig.effective(put.rule)
    await until(lambda: len(rig.queues.held.get((0, "p1"), ())) == 3)
    await until(lambda: rig.queues.left() == 3)
    assert time.time() * 1000 >= end


MONDAY = 1_780_272_000_000  # 2026-06-01T00:00Z
MINUTE = 60_000


@pytest.fixture
async def recurring(monkeypatch):
    """A pause of Monday and Tuesday, 22:00 to 08:00, at Monday noon; `rig.now` is the time."""
    monkeypatch.setattr("mta.sweeps.sweeper._TICK", 0.005)
    monkeypatch.setattr("mta.sweeps.release._TICK", 0.005)
    made = Rig(lambda: made.now)
    made.now = MONDAY + 12 * 60 * MINUTE
    await made.guard.beat()
    made.guard.start()
    made.tasks = [asyncio.create_task(one.run()) for one in (made.sweeper, made.releaser)]
    made.queues.add("example.com", "a", 3)
    made.pause = await made.put("p1", kind=Kind.PAUSE, code=0, tag="a", schedule="Mo,Tu 22:00-08:00", timezone="UTC")
    yield made
    await stop(made)
    await made.guard.stop()


async def stop(made: Rig) -> None:
    made.sweeper.stop()
    made.releaser.stop()
    await asyncio.gather(*made.tasks)


async def start_others(made: Rig) -> None:
    """New processes take over, as after a crash."""
    made.queues.owners.clear()
    made.sweeper, made.releaser = made.processes()
    made.tasks = [asyncio.create_task(one.run()) for one in (made.sweeper, made.releaser)]


def held(made: Rig) -> int:
    return len(made.queues.held.get((0, "p1"), ()))


@pytest.mark.parametrize("dies", ["nobody", "before each time", "at each time"])
async def test_a_recurring_pause_holds_at_each_time_and_releases_at_the_end(recurring, dies):
    rig = recurring
    await asyncio.sleep(0.05)
    assert (rig.state("p1"), rig.queues.left()) == ("", 3), "its schedule is off: there is nothing to sweep"
    for now, waits in ((22 * 60, 0), (32 * 60, 3), (46 * 60, 0), (56 * 60, 3)):
        if dies == "before each time":
            await stop(rig)
        rig.now = MONDAY + now * MINUTE
        if dies == "at each time":
            await until(lambda waits=waits: rig.queues.left() == waits)
            await stop(rig)
        if dies != "nobody":
            await start_others(rig)
        await until(lambda waits=waits: rig.queues.left() == waits)
        assert held(rig) == 3 - waits
    assert len(rig.queues.released) == 6


async def test_the_last_pass_begins_when_each_process_has_seen_the_time_begin(recurring):
    rig = recurring
    rig.now = MONDAY + 22 * 60 * MINUTE
    await until(lambda: rig.state("p1") == "waiting")
    assert held(rig) == 3
    rig.queues.add("example.com", "a", 2)  # a worker whose clock is late put something back
    rig.now += 2000
    await until(lambda: rig.state("p1") == "done")
    assert held(rig) == 5
    rig.now += 1000
    scans = len(rig.queues.scanned)
    await stop(rig)
    await start_others(rig)
    await asyncio.sleep(0.05)
    assert len(rig.queues.scanned) == scans, "the time is swept once, whoever did it"
    rig.now += 24 * 60 * MINUTE
    await until(lambda: len(rig.queues.scanned) > scans)


async def test_a_sweep_that_outlasts_its_time_stops(recurring):
    rig = recurring
    rig.queues.waiting = 101  # the sweep cannot begin
    rig.now = MONDAY + 22 * 60 * MINUTE
    await until(lambda: rig.state("p1") == "running")
    rig.now = MONDAY + 32 * 60 * MINUTE
    rig.queues.waiting = 0
    await until(lambda: rig.state("p1") == "stopped")
    assert (rig.queues.left(), held(rig)) == (3, 0)


def test_mail_of_a_pause_whose_time_begins_just_now_stays_where_it_is():
    """The decider reads the clock before the table does."""
    moments = iter([MONDAY - 1, MONDAY])
    rule = Rule("p1", Selectors(tag="a", schedule="Mo 00:00-08:00", timezone="UTC"), kind=Kind.PAUSE)
    table = RuleTable.empty("", (), lambda: next(moments)).rebuilt(Head(1, "x"), [rule])
    record = Record("s@example.net", "u@example.com", ("a",), 10, 1, 2)
    name = delivery_id(new_message_id(0, 1), 1)
    waiting = WaitingDelivery(name, QueueKey("p", "example.com"), 1, record, 0)
    assert Decider("n1", 0, lambda: next(moments)).decide(table, [waiting], "p1") == {}


STATES = {"due": (1, 0), "scheduled": (1 << 50, 0), "deferred": (1 << 50, 3), "held": (1, 0)}  # due at, attempts


@pytest.mark.parametrize("state", STATES)
async def test_a_delivery_in_each_state_is_swept(rig, state):
    due_at, attempts = STATES[state]
    queue = QueueKey("p", "example.com")
    rig.queues.add(queue.domain, "b", 1)  # the queue is there, whatever waits in it
    name = delivery_id(new_message_id(0, 1), 1)
    record = Record("s@example.net", "u@example.com", ("a",), 10, 1, 2, attempts=attempts)
    place = rig.queues.mail[0, queue]
    if state == "held":
        pause, _ = await rig.api.put(Rule("p1", Selectors(tag="a"), kind=Kind.PAUSE), "c-p1")
        await rig.effective(pause.rule)
        await until(lambda: rig.state("p1") == "done")
        place = rig.queues.held.setdefault((0, "p1"), {})
    place[name] = WaitingDelivery(name, queue, due_at, record, 0)
    await rig.put("r", tag="a")
    await until(lambda: rig.state("r") == "done")
    assert [match.id for match in rig.queues.ended] == [name]


async def test_where_nothing_is_held_and_no_pause_stands_nobody_looks_each_second(monkeypatch):
    monkeypatch.setattr("mta.sweeps.release._TICK", 0.001)
    made, looks = Rig(), 0
    pauses = made.queues.pauses

    async def counted(lane: int) -> list[str]:
        nonlocal looks
        looks += 1
        return await pauses(lane)

    made.queues.pauses = counted
    await made.guard.beat()
    running = asyncio.create_task(made.releaser.run())
    await asyncio.sleep(0.05)
    assert looks <= 2 * Queues.lanes, "once, and once more for the table that had come before"
    await made.put("w", kind=Kind.PAUSE, code=0, tag="a", effective=False)
    await made.guard.beat()
    await until(lambda: looks > 5 * Queues.lanes)
    made.releaser.stop()
    await running


async def test_the_hold_of_an_order_with_a_bound_sweeps_what_pauses_hold(rig):
    rig.queues.add("example.com", "a", 3)
    await rig.put("pause", kind=Kind.PAUSE, code=0, tag="a", domain="example.com")
    await until(lambda: rig.state("pause") == "done")
    assert len(rig.queues.held[0, "pause"]) == 3
    put, _ = await rig.api.put(hold_for(Rule("hold", Selectors(tag="a"), 554), 5), "c-hold")
    await rig.effective(put.rule)
    await until(lambda: rig.state("hold") == "done")
    assert (len(rig.queues.held[0, "pause"]), len(rig.queues.held[0, "hold"])) == (0, 3)


async def test_a_sweep_by_site_finds_the_sites_out_and_leaves_what_it_cannot_to_the_attempt(rig):
    rig.queues.add("a.test", "a", 3)
    rig.queues.add("gone.test", "a", 2)
    rig.queues.add("gone.test", "b", 5)
    await rig.put("r", site="big", tag="a")
    await until(lambda: rig.state("r") == "done")
    assert {match.queue.domain for match in rig.queues.ended} == {"a.test"}
    assert rig.queues.left() == 7
    assert (rig.queues.states["r"].matched, rig.queues.states["r"].unresolved) == (3, 2)


async def test_without_a_rule_by_site_a_sweep_asks_for_none(rig):
    rig.queues.add("a.test", "a", 3)
    await rig.put("r", tag="a")
    await until(lambda: rig.state("r") == "done")
    assert (len(rig.queues.ended), rig.known) == (3, {})
