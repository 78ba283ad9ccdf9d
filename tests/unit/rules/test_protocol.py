"""The promise of a forced error, against every order of events that Hypothesis finds."""

import asyncio
import contextlib

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from mta.model.errors import StoreError
from mta.model.rules import PastDot, Rule, Selectors
from mta.rules.guard import Guard
from mta.rules.orders import GRACE, Order
from tests.support.memory_rules import Clock, MemoryRules, Shared

S = 5.0
TAGS = st.sampled_from(["a", "b"])
WORKERS = st.sampled_from([0, 1])


class Worker:
    """What egress does with a guard: MAIL, last look, dot, settle."""

    def __init__(self, shared: Shared, clock: Clock, name: str) -> None:
        self.clock = clock
        self.store = MemoryRules(shared, name, S)
        self.guard = Guard(self.store, "n", clock)
        self.guard.on_change(self.abort)
        self.begun: dict[str, str] = {}  # delivery -> tag
        self.past: dict[str, str] = {}

    def abort(self, table) -> list[PastDot]:
        hit = {name: table.match("p", "", "example.com", (tag,)) for name, tag in {**self.begun, **self.past}.items()}
        self.begun = {name: tag for name, tag in self.begun.items() if hit[name] is None}
        return [PastDot(hit[name].id, name, "", 0) for name in self.past if hit[name] is not None]


class Protocol(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock, self.shared = Clock(), Shared()
        self.api = MemoryRules(self.shared, "api", S)
        self.workers = [Worker(self.shared, self.clock, f"w{number}") for number in range(2)]
        self.orders: dict[str, Order] = {}  # by tag; lifted again by a removal
        self.fixed: dict[str, set[str]] = {}  # tag -> the past-dot list at effective_at
        self.count = 0

    @rule(tag=TAGS)
    def put(self, tag: str) -> None:
        if tag in self.orders:
            return
        wanted = Rule(f"r-{tag}-{self.shared.head.generation}", Selectors(tag=tag), 554)
        put, waits = asyncio.run(self.api.put(wanted, f"c{self.shared.head.generation}"))
        self.orders[tag] = Order(put.rule, put.head, waits, self.clock(), self.clock.wall(), S + GRACE)

    @rule(tag=TAGS)
    def remove(self, tag: str) -> None:
        order = self.orders.pop(tag, None)
        self.fixed.pop(tag, None)
        if order is not None:
            asyncio.run(self.api.remove(order.rule.id, f"c{self.shared.head.generation}"))

    @rule(who=WORKERS, delay=st.sampled_from([0.0, 0.5, 6.0]), lose=st.booleans(), put_meanwhile=st.none() | TAGS)
    def beat(self, who: int, delay: float, lose: bool, put_meanwhile: str | None) -> None:
        worker = self.workers[who]

        def under_way() -> None:
            self.clock.seconds += delay

        worker.store.before_answer, worker.store.lose_reply = under_way, lose
        with contextlib.suppress(StoreError):
            asyncio.run(worker.guard.beat())
        if put_meanwhile:
            self.put(put_meanwhile)

    @rule(seconds=st.sampled_from([0.1, 1.0, 2.4, 4.6, 5.4]))
    def time_passes(self, seconds: float) -> None:
        self.clock.seconds += seconds

    @rule(who=WORKERS)
    def given_up_for_dead_after_its_lease(self, who: int) -> None:
        self.clock.seconds += 60.0
        asyncio.run(self.api.mark_dead(self.workers[who].store.session, None))

    @rule(who=WORKERS, tag=TAGS)
    def begin(self, who: int, tag: str) -> None:
        worker = self.workers[who]
        if worker.guard.may_begin() and worker.guard.table.match("p", "", "example.com", (tag,)) is None:
            self.count += 1
            worker.begun[f"D.{self.count}"] = tag
            assert not self.is_effective(tag), f"MAIL of {tag} after effective_at"

    @rule(who=WORKERS)
    def dot(self, who: int) -> None:
        worker = self.workers[who]
        if worker.begun and worker.guard.may_dot():
            name, tag = worker.begun.popitem()
            worker.past[name] = tag
            assert not self.is_effective(tag), f"dot of {tag} after effective_at"

    @rule(who=WORKERS)
    def settle(self, who: int) -> None:
        if self.workers[who].past:
            self.workers[who].past.popitem()

    @rule()
    def look(self) -> None:
        for tag, order in self.orders.items():
            order.look(self.shared.sessions, self.clock(), self.clock.wall())
            if order.emptied_at and tag not in self.fixed:
                self.fixed[tag] = set(self.shared.past.get(order.rule.id, {}))
                for worker in self.workers:
                    if worker.store.session in order.confirmed:
                        unsettled = {name for name, of in worker.past.items() if of == tag}
                        assert unsettled <= self.fixed[tag], "past its dot and not listed"

    def is_effective(self, tag: str) -> bool:
        order = self.orders.get(tag)
        return order is not None and order.emptied_at > 0


Protocol.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestProtocol = Protocol.TestCase
