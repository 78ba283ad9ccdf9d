"""The promise of a forced error, against every order of events that Hypothesis finds."""

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from mta.model.errors import StoreAway
from mta.model.rules import ChangeOp, Rule
from mta.ports.queueing import AcceptanceDecision
from mta.scheduling.reaper import Reaper
from tests.support.actors import ME
from tests.support.memory_rules import Clock, MemoryRules, Shared
from tests.support.protocol import AcceptingProcess, ApiProcess, NoClaims, StillLoop, WorkerProcess, forced, match

S = 5.0
LEASE = 2 * S
FOREVER = 1e9
TAGS = st.sampled_from(["a", "a", "a", "b"])
WORKERS = st.sampled_from([0, 0, 0, 1])
STOPS = st.sampled_from([0.0, 0.0, 0.5, 2.6, 6.0])  # seconds that a process stands still
STEPS = st.sampled_from([-3600.0, -3.0, 3.0, 3600.0])  # of a clock that somebody sets


class Protocol(RuleBasedStateMachine):
    """A worker stands still whenever no step of its own comes, and the clock goes on meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.shared = Shared(self.clock.store)
        self.loop = StillLoop()
        self.count = 0
        self.workers = [self.new_worker(), self.new_worker()]
        self.acceptor = self.new_acceptor()
        for worker in (*self.workers, self.acceptor):
            worker.beat()
        self.new_api()
        watching = MemoryRules(self.shared, "reaper", S)
        self.reaper = Reaper(watching, NoClaims(), NoClaims(), LEASE, clock=self.clock)
        self.told: dict[int, tuple[str, ...]] = {}  # effective generation -> what is past its dot
        self.decisions: list[tuple[str, int, int]] = []  # tag, generation of the rule, and of the table
        self.returns: list[tuple[str, int]] = []  # tag, generation of the table that let it back
        self.accepts: list[tuple[str, AcceptanceDecision]] = []  # on their way to a lane

    def teardown(self) -> None:
        self.api.end()
        self.loop.end()

    def new_worker(self) -> WorkerProcess:
        self.count += 1
        return WorkerProcess(self.shared, self.clock, self.loop, f"w{self.count}", S)

    def new_acceptor(self) -> AcceptingProcess:
        self.count += 1
        return AcceptingProcess(self.shared, self.clock, self.loop, f"a{self.count}", S)

    def new_api(self) -> None:
        self.count += 1
        self.api = ApiProcess(self.shared, self.clock, f"api{self.count}", S)

    # People and the API

    @rule(tag=TAGS, what=st.sampled_from(["put", "put", "put", "edit", "enable", "disable", "remove"]))
    def order(self, tag: str, what: str) -> None:
        book, name = self.api.book, f"r-{tag}"
        if what == "put":
            self.api.order(ChangeOp.PUT, book.put(forced(tag), ME, FOREVER, "effective"))
        elif what == "remove":
            self.api.order(ChangeOp.REMOVE, book.remove(name, ME, FOREVER))
        else:
            values = {"code": 553} if what == "edit" else {"enabled": what == "enable"}
            change = book.edit(name, lambda rule: msgspec.structs.replace(rule, **values), ME, FOREVER, "effective")
            self.api.order(ChangeOp.PUT, change)
        self.hear()

    @rule(how=st.sampled_from(["runs", "cut off", "restarts"]))
    def people_wait(self, how: str) -> None:
        if how == "restarts":
            self.api.end()
            self.new_api()
            self.api.ask(self.api.book.start())
        self.api.store.away = how == "cut off"
        self.api.run()
        self.api.store.away = False
        self.hear()

    # Time

    @rule(
        seconds=st.sampled_from([0, 1, 6, 6, 11]),
        more=st.sampled_from([0.0, 0.4]),
        still=st.sets(WORKERS),
        accepting=st.booleans(),
    )
    def life_goes_on(self, seconds: int, more: float, still: set[int], accepting: bool) -> None:
        """For all but the processes that stand still."""
        self.clock.seconds += more
        for _ in range(seconds):
            self.api.ask(self.reaper.look())
            self.clock.seconds += 1.0
            for who, worker in enumerate(self.workers):
                if who not in still and worker.looked is None:
                    worker.beat()
            if accepting:
                self.acceptor.beat()
            self.api.run()
        self.hear()

    @rule(wall=STEPS, store=STEPS)
    def clocks_are_set(self, wall: float, store: float) -> None:
        self.clock.wall_step += wall
        self.clock.store_step += store

    # Workers

    @rule(who=WORKERS, how=st.sampled_from(["whole", "bit", "lost", "answer lost"]))
    def confirm(self, who: int, how: str) -> None:
        """Wholly; or a question sets out, or what is on the wire arrives, or is lost there."""
        worker = self.workers[who]
        if worker.looked is not None:
            return  # between its last look and the write it does nothing else
        if how == "whole":
            worker.beat()
        elif how == "answer lost":
            worker.ask()
            worker.let(lost=False)
            worker.let(lost=True)
        elif worker.asking:
            worker.let(lost=how == "lost")
        else:
            worker.ask()

    @rule(who=WORKERS, how=st.sampled_from(["leaves", "crashes", "is reaped"]))
    def ends(self, who: int, how: str) -> None:
        """And another process is started in its place."""
        worker = self.workers[who]
        if how == "leaves":
            if worker.asking or worker.looked is not None:
                return
            worker.leave()
        elif how == "is reaped":
            self.api.ask(self.api.store.mark_dead(worker.store.session, None))
        self.workers[who] = self.new_worker()

    @rule(who=WORKERS, tag=TAGS, another=st.booleans(), stop=STOPS)
    def egress(self, who: int, tag: str, another: bool, stop: float) -> None:
        """A delivery goes a step on: MAIL, the last look, the dot."""
        worker = self.workers[who]
        if worker.looked is not None:
            late = self.is_effective(worker.looked[1])
            name = worker.write(stop)
            assert not late or name in worker.escaped, "a dot after the promise, and nobody heard of it"
        elif worker.begun and not another:
            worker.look()
        else:
            self.count += 1
            if worker.mail(f"D.{self.count}", tag):
                assert not self.is_effective(tag), f"MAIL of {tag} after it was told that none comes"

    @rule(who=WORKERS)
    def settle(self, who: int) -> None:
        if self.workers[who].past:
            self.workers[who].past.popitem()

    @rule(who=WORKERS, tag=TAGS, late=st.booleans())
    def lane(self, who: int, tag: str, late: bool) -> None:
        """A decision by the table is written: at once, or whenever."""
        table = self.workers[who].guard.table
        winner = match(table, tag)
        if winner is not None:
            self.decisions.append((tag, winner.generation, table.head.generation))
        else:
            self.returns.append((tag, table.head.generation))
        if late:
            return
        while self.decisions:
            self.intercept(*self.decisions.pop())
        while self.returns:
            self.put_back(*self.returns.pop())

    # A process that accepts and does not deliver

    @rule(tag=TAGS, what=st.sampled_from(["beats", "decides", "decides", "accepts", "accepts", "is replaced"]))
    def accept(self, tag: str, what: str) -> None:
        """A decision reaches its lane at once, or whenever."""
        if what == "beats":
            self.acceptor.beat()
        elif what == "is replaced":
            self.acceptor, self.accepts = self.new_acceptor(), []
        else:
            self.accepts.append((tag, self.acceptor.decide(tag)))
        while what == "accepts" and self.accepts:
            self.take(*self.accepts.pop())

    def take(self, tag: str, decision: AcceptanceDecision) -> None:
        made = self.acceptor.accept(tag, decision, self.barrier)
        if made.generation >= 0:
            older = [generation for generation in self.told if generation > made.generation]
            assert not older, f"accepted by a table of before {older}, which were told to be effective"
        elif self.workers[0].looked is None and self.workers[0].mail(f"D.{len(self.accepts)}.{self.count}", tag):
            assert not self.is_effective(tag), "accepted undecided, and delivered after the promise"

    def intercept(self, tag: str, version: int, generation: int) -> None:
        if generation >= self.barrier:
            lifted = [g for g in self.generations(tag) if g in self.told and g > version]
            assert not lifted, f"ended by a rule that {lifted} had lifted"

    def put_back(self, tag: str, generation: int) -> None:
        if generation >= self.barrier:
            effect = self.shared.effects.get(f"r-{tag}")
            assert effect is None or not self.stands(tag, effect.generation), "back behind the sweep's last pass"

    # Invariants

    @property
    def barrier(self) -> int:
        return max(self.shared.barriers, default=0)

    def generations(self, tag: str) -> list[int]:
        return [change.head.generation for change in self.shared.changes if change.rule.id == f"r-{tag}"]

    def stands(self, tag: str, since: int) -> bool:
        """Whether the rule ends such mail, in that generation and in all that were written after it."""
        later = [change for change in self.shared.changes[since - 1 :] if change.rule.id == f"r-{tag}"]
        return all(change.op is ChangeOp.PUT and change.rule.enabled for change in later)

    def is_effective(self, tag: str) -> bool:
        return any(generation in self.told and self.stands(tag, generation) for generation in self.generations(tag))

    def hear(self) -> None:
        """The API's answers so far: those to orders, the effects that it stored, and those about the effects."""
        for op, task in [entry for entry in self.api.told if entry[1].done()]:
            self.api.told.remove((op, task))
            effect = None if isinstance(task.exception(), StoreAway) else task.result()
            if effect is not None and effect.effective:
                listed = tuple(entry.id for entry in effect.past_dot)
                self.tell(self.changed(op, effect.rule), effect.rule.id, listed, effect.confirmed)
        for effect in list(self.shared.effects.values()):
            self.tell(effect.generation, effect.rule, effect.past_dot, effect.confirmed)
        for known in list(self.shared.rules.values()):
            if known.generation in self.told:
                effect = self.api.ask(self.api.book.effect(known))
                self.tell(known.generation, known.id, tuple(e.id for e in effect.past_dot), effect.confirmed)

    def changed(self, op: ChangeOp, of: Rule) -> int:
        """The generation that the order made."""
        if op is ChangeOp.PUT:
            return of.generation
        later = self.shared.changes[of.generation :]
        return next(change.head.generation for change in later if change.rule.id == of.id)

    def tell(self, generation: int, rule_id: str, listed: tuple[str, ...], confirmed: tuple[str, ...]) -> None:
        if generation in self.told:
            assert set(listed) <= set(self.told[generation]), "the list has grown"
            return
        self.told[generation] = listed
        assert not any(session.startswith("a") and not session.startswith("api") for session in confirmed), (
            "it only accepts: nobody waits for it"
        )
        tag = rule_id[2:]
        if not self.stands(tag, generation) or self.generations(tag)[-1] != generation:
            return
        for worker in self.workers:
            if worker.store.session in confirmed:
                unsettled = {name for name, of in worker.past.items() if of == tag}
                assert unsettled <= set(listed), "past its dot and not listed"


Protocol.TestCase.settings = settings(
    max_examples=250, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestProtocol = pytest.mark.timeout(600)(Protocol.TestCase)  # one that fails is shrunk, which takes longer
