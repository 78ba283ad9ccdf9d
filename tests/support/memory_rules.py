"""The rule store's side of the protocol in memory, with clocks that tests move and faults that they choose."""

import copy
from collections.abc import Callable, Mapping, Sequence

import msgspec

from mta.model.actor import NOBODY, Actor
from mta.model.errors import SessionLost, StoreAway, UnreadableRule
from mta.model.ids import MessageId
from mta.model.rules import (
    NO_HEAD,
    Build,
    Change,
    ChangeOp,
    Effective,
    Head,
    Kind,
    PastDot,
    Rule,
    Selectors,
    SessionState,
)
from mta.policy.bounded_orders import is_hold
from mta.ports.rule_store import Edit, Exists, Put, Removed, Step, Trail
from mta.ports.sessions import Confirmed


class Clock:
    """CLOCK_BOOTTIME, and two clocks that people and servers set: their steps are in seconds."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.wall_step = 0.0
        self.store_step = 0.0

    def __call__(self) -> float:
        return self.seconds

    def wall(self) -> int:
        return int((self.seconds + self.wall_step) * 1000)

    def store(self) -> int:
        """Redis's TIME."""
        return int((self.seconds + self.store_step) * 1000)


class Wire:
    """The way to the store and back: raises StoreAway where a call does not arrive, or its answer does not."""

    async def there(self) -> None:
        """Before the step runs."""

    async def back(self) -> None:
        """When it has run."""


class Shared:
    """The contents of the store."""

    def __init__(self, clock: Callable[[], int] = lambda: 0) -> None:
        """`clock` gives Unix milliseconds."""
        self.clock = clock
        self.head = NO_HEAD
        self.rules: dict[str, Rule] = {}
        self.changes: list[Change] = []
        self.sessions: dict[str, SessionState] = {}
        self.builds: dict[str, Build] = {}
        self.past: dict[str, dict[str, PastDot]] = {}
        self.effects: dict[str, Effective] = {}
        self.canceled: list[MessageId] = []
        self.barriers: list[int] = []
        self.was: dict[int, int] = {}
        self.regained = 0
        self.hints: list[Callable[[], None]] = []
        self.replicated = True  # what is written reaches as many replicas as it must

    def promoted(self) -> "Shared":
        """A replica that becomes master: it has what it was given until now."""
        replica = Shared(self.clock)
        for name, value in vars(self).items():
            if name not in ("clock", "hints", "replicated"):
                setattr(replica, name, copy.deepcopy(value))
        return replica

    def move(self, op: ChangeOp, rule: Rule, change: str) -> frozenset[str]:
        self.head = Head(self.head.generation + 1, change)
        self.changes.append(Change(self.head, op, rule))
        self.past.pop(rule.id, None)
        for hint in self.hints:
            hint()
        return frozenset(name for name, state in self.sessions.items() if state.delivers and not state.dead)


class MemoryRules:
    """Fulfils ports.rule_store.RuleStore for one session on what is shared."""

    def __init__(
        self,
        shared: Shared,
        name: str,
        staleness: float = 5.0,
        wire: Wire | None = None,
        roles: tuple[str, ...] = ("delivery",),
    ) -> None:
        self.shared = shared
        self.roles = roles
        self.wire = wire or Wire()
        self.name = name
        self.session = f"{name}.1"
        self.staleness = staleness
        self.away = False
        self.lose_reply = False
        self.unknown: set[str] = set()  # rules that this build cannot read
        self._heard: int | None = None  # how many cancellations this session was told of
        self.asked: list[tuple[int, Head, tuple[PastDot, ...]]] = []
        self.before_answer: Callable[[], None] = lambda: None  # runs when the step has run and its answer is under way

    def renew(self) -> str:
        self._heard = None
        name, _, number = self.session.rpartition(".")
        self.session = f"{name}.{int(number) + 1}"
        return self.session

    def _reach(self) -> Shared:
        if self.away:
            raise StoreAway("the store is away")
        return self.shared

    def _must_be_replicated(self) -> None:
        """Raises StoreAway where too few replicas have a change, since a failover may forget it."""
        if not self.shared.replicated:
            raise StoreAway("too few replicas have it")

    async def confirm(
        self, seq: int, head: Head, past_dot: Sequence[PastDot], metrics: Mapping[str, float]
    ) -> Confirmed:
        await self.wire.there()
        shared = self._reach()
        self.asked.append((seq, head, tuple(past_dot)))
        answer, heard = self._step(shared, seq, head, past_dot), len(shared.canceled)
        self.before_answer()
        await self.wire.back()
        if self.lose_reply:
            raise StoreAway("the answer was lost")
        if answer.ok:
            self._must_be_replicated()
            self._heard = heard
        return answer

    def _step(self, shared: Shared, seq: int, head: Head, past_dot: Sequence[PastDot]) -> Confirmed:
        known = shared.sessions.get(self.session)
        if (known is None and seq > 1) or (known is not None and known.dead):
            raise SessionLost(self.session)
        if head != shared.head:
            at = head.generation
            later = [change for change in shared.changes if change.head.generation > at]
            passed = at == 0 or any(change.head == head for change in shared.changes)
            follows = at < shared.head.generation and passed and len(later) == shared.head.generation - at
            follows = follows and not any(change.rule.id in self.unknown for change in later)
            return Confirmed(False, shared.head, tuple(later) if follows else (), reload=not follows)
        number = max(seq, known.seq + 1) if known is not None else seq
        shared.sessions[self.session] = SessionState(
            self.session, self.name, 1, self.roles, head, number, confirmed_at=shared.clock()
        )
        shared.builds[self.session] = Build()
        for entry in past_dot:
            told = msgspec.structs.replace(entry, session=self.session)
            shared.past.setdefault(entry.rule, {}).setdefault(entry.id, told)
        return Confirmed(
            True,
            shared.head,
            canceled=dict.fromkeys([] if self._heard is None else shared.canceled[self._heard :], "ops"),
        )

    async def cannot_read(self, seq: int, reason: str, metrics: Mapping[str, float]) -> None:
        await self.wire.there()
        shared = self._reach()
        known = shared.sessions.get(self.session)
        if (known is None and seq > 1) or (known is not None and known.dead):
            raise SessionLost(self.session)
        if known is None:
            known = SessionState(self.session, self.name, 1, self.roles, NO_HEAD, 0)
        shared.sessions[self.session] = msgspec.structs.replace(known, seq=max(seq, known.seq + 1))
        shared.builds[self.session] = Build(unreadable=reason)
        await self.wire.back()

    async def builds(self) -> dict[str, Build]:
        return dict(self._reach().builds)

    async def leave(self) -> None:
        self._reach().sessions.pop(self.session, None)
        self.shared.builds.pop(self.session, None)

    async def head(self) -> Head:
        return self._reach().head

    async def load(self) -> tuple[Head, tuple[Rule, ...]]:
        await self.wire.there()
        head, rules, unreadable = await self.load_readable()
        await self.wire.back()
        for error in unreadable.values():
            raise error
        return head, rules

    async def load_readable(self) -> tuple[Head, tuple[Rule, ...], Mapping[str, UnreadableRule]]:
        shared = self._reach()
        rules = tuple(rule for rule in shared.rules.values() if rule.id not in self.unknown)
        return (
            shared.head,
            rules,
            {id_: UnreadableRule(id_, "unknown field") for id_ in self.unknown & set(shared.rules)},
        )

    async def ids_of(self, rules: Sequence[Rule]) -> list[str]:
        self._reach()
        twins = (self._twin(rule) for rule in rules)
        return [twin.id if twin is not None else "" for twin in twins]

    async def standing(self, set_id: str, rule_ids: Sequence[str]) -> list[Rule]:
        found = [self._reach().rules.get(rule_id) for rule_id in rule_ids]
        return [rule for rule in found if rule is not None and rule.set_id == set_id]

    async def rule(self, rule_id: str) -> Rule | None:
        return self._reach().rules.get(rule_id)

    async def changes(self, since: Head) -> tuple[Change, ...]:
        known = [change.head for change in self._reach().changes]
        return tuple(self.shared.changes[known.index(since) + 1 :]) if since in known else ()

    async def knows(self, head: Head) -> bool:
        return any(change.head == head for change in self._reach().changes)

    async def trail(self, since: int) -> Trail:
        shared = self._reach()
        steps = tuple(Step(change.head, shared.was.get(change.head.generation, 0)) for change in shared.changes)
        return Trail(steps[:1] + tuple(step for step in steps[1:] if step.head.generation >= since), shared.regained)

    async def regain(self, lost: Head, rules: Sequence[Rule], stored: Mapping[str, Rule], last: bool) -> bool:
        shared = self._reach()
        if shared.regained >= lost.generation:
            return True
        if any(shared.rules.get(rule.id) != stored.get(rule.id) for rule in rules):
            return False
        shared.head = Head(max(shared.head.generation, lost.generation), shared.head.change)
        for rule in rules:
            generation = shared.head.generation + 1
            shared.was[generation] = rule.generation
            shared.rules[rule.id] = msgspec.structs.replace(rule, generation=generation)
            shared.move(ChangeOp.PUT, shared.rules[rule.id], f"again-{generation}")
        if last:
            shared.regained = lost.generation
            shared.move(ChangeOp.REGAIN, Rule("", Selectors()), f"regained-{lost.generation}")
        return True

    async def canary(self, change: str) -> tuple[Head, frozenset[str]]:
        shared = self._reach()
        wait_set = shared.move(ChangeOp.CANARY, Rule("", Selectors()), change)
        self._must_be_replicated()
        return shared.head, wait_set

    async def put(self, rule: Rule, change: str, by: Actor = NOBODY) -> tuple[Put, frozenset[str]]:
        shared = self._reach()
        known = self._twin(rule)
        written = msgspec.structs.replace(
            rule, id=known.id if known else rule.id, generation=shared.head.generation + 1
        )
        shared.rules[written.id] = written
        wait_set = shared.move(ChangeOp.PUT, written, change)
        self._must_be_replicated()
        return Put(written, shared.head, known is None, known.generation if known else 0), wait_set

    async def edit(
        self, rule_id: str, edit: Edit, change: str, by: Actor = NOBODY
    ) -> tuple[Put, frozenset[str]] | None:
        shared = self._reach()
        known = shared.rules.get(rule_id)
        if known is None:
            return None
        written = msgspec.structs.replace(edit(known), generation=shared.head.generation + 1)
        twin = self._twin(written)
        if twin is not None and twin.id != rule_id:
            raise Exists(twin.id)
        shared.rules[rule_id] = written
        wait_set = shared.move(ChangeOp.PUT, written, change)
        self._must_be_replicated()
        return Put(written, shared.head, False, known.generation), wait_set

    def _twin(self, rule: Rule) -> Rule | None:
        if is_hold(rule):
            return self.shared.rules.get(rule.id)
        found = (r for r in self.shared.rules.values() if (r.kind, r.selectors) == (rule.kind, rule.selectors))
        return next((known for known in found if not is_hold(known)), None)

    async def remove(
        self, rule_id: str, change: str, by: Actor = NOBODY, kind: Kind | None = None
    ) -> tuple[Removed, frozenset[str]] | None:
        shared = self._reach()
        rule = shared.rules.get(rule_id)
        if rule is None or kind not in (None, rule.kind):
            return None
        del shared.rules[rule_id]
        wait_set = shared.move(ChangeOp.REMOVE, rule, change)
        self._must_be_replicated()
        return Removed(rule, shared.head), wait_set

    async def removed(self, rule_id: str) -> None:
        """Nothing is remembered here."""
        self._reach()

    async def save_effect(self, effect: Effective, rule: Rule, removed: bool = False) -> None:
        known = self._reach().effects.get(effect.rule)
        if removed:
            return  # nothing is remembered here
        if known is None or known.generation < effect.generation:
            self.shared.effects[effect.rule] = effect

    async def effects(self, order_ids: Sequence[str]) -> dict[str, Effective]:
        known = self._reach().effects
        return {order: effect for order, effect in known.items() if order in order_ids}

    async def sessions(self) -> dict[str, SessionState]:
        return dict(self._reach().sessions)

    async def mark_dead(self, session: str, seq: int | None) -> bool:
        state = self._reach().sessions.get(session)
        if state is None or seq not in (None, state.seq):
            return False
        self.shared.sessions[session] = msgspec.structs.replace(state, dead=True)
        return True

    async def forget(self, session: str) -> None:
        self._reach().sessions.pop(session, None)

    async def past_dot(self, rule_id: str) -> list[PastDot]:
        return list(self._reach().past.get(rule_id, {}).values())

    def settled(self, rule_id: str, delivery: str, at: int) -> None:
        entries = self.shared.past[rule_id]
        entries[delivery] = msgspec.structs.replace(entries[delivery], settled_at=at)

    async def raise_barrier(self, generation: int) -> None:
        self._reach().barriers.append(generation)

    async def max_staleness(self) -> float:
        self._reach()
        return self.staleness

    def on_published(self, hint: Callable[[], None]) -> None:
        self.shared.hints.append(hint)
