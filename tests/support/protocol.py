"""Processes of a cluster for a check of the rule protocol: each runs the real code, and nothing moves by itself."""

import asyncio
import contextlib
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

from mta.admission.at_acceptance import AcceptanceRules
from mta.admission.batch import Batch
from mta.admission.group_commit import GroupCommit
from mta.model.errors import StoreAway, StoreError
from mta.model.mail import Claimed, NewMessage, QueueKey
from mta.model.rules import ChangeOp, PastDot, Rule, Selectors
from mta.orders.order_book import OrderBook
from mta.policy.rule_table import RuleTable
from mta.ports.queueing import AcceptanceDecision
from mta.rules.guard import Guard
from tests.support.memory_rules import Clock, MemoryRules, Shared, Wire
from tests.support.stores import message

_ROUNDS = 6  # of the loop, until a process waits for its store again


class _NoWait(selectors.SelectSelector):
    """Instead of waiting, the loop's own clock jumps."""

    elapsed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.elapsed += max(0.0, timeout or 0.0)
        return super().select(0)


class StillLoop(asyncio.SelectorEventLoop):
    """A loop whose time passes only while it is run, and then without waiting."""

    def __init__(self) -> None:
        self._still = _NoWait()
        super().__init__(self._still)

    def time(self) -> float:
        return self._still.elapsed

    def rounds(self, seconds: float = 0.0) -> None:
        for _ in range(_ROUNDS):
            self.run_until_complete(asyncio.sleep(seconds / _ROUNDS))

    def end(self) -> None:
        tasks = asyncio.all_tasks(self)
        for task in tasks:
            task.cancel()
        if tasks:
            self.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.close()


class HeldWire(Wire):
    """Every call stops before its step runs, and again with its answer, until it is let through or lost."""

    def __init__(self) -> None:
        self._gate: asyncio.Future[None] | None = None

    async def there(self) -> None:
        await self._wait()

    async def back(self) -> None:
        await self._wait()

    async def _wait(self) -> None:
        self._gate = asyncio.get_running_loop().create_future()
        await self._gate

    def let(self, lost: bool) -> None:
        gate, self._gate = self._gate, None
        if gate is not None and not gate.done():
            if lost:
                gate.set_exception(StoreAway("lost on the way"))
            else:
                gate.set_result(None)


class WorkerProcess:
    """Egress and sweep with a guard: MAIL, the last look, the dot and the second look, and the sweep's decision."""

    def __init__(
        self,
        shared: Shared,
        clock: Clock,
        loop: StillLoop,
        name: str,
        staleness: float,
        roles: tuple[str, ...] = ("delivery",),
    ) -> None:
        self.clock, self.loop = clock, loop
        self.wire = HeldWire()
        self.store = MemoryRules(shared, name, staleness, self.wire, roles)
        self.guard = Guard(self.store, "n", clock, wall=clock.wall)
        self.guard.on_change(self._abort)
        self.guard.on_lost(self._drop)
        self.begun: dict[str, str] = {}  # delivery -> tag: MAIL was written
        self.looked: tuple[str, str] | None = None  # passed its last look; its dot comes before anything else
        self.past: dict[str, str] = {}  # the dot was handed over, not settled
        self.escaped: set[str] = set()
        self._beat: asyncio.Task[None] | None = None

    # The guard's side

    def ask(self) -> None:
        """Confirm, unless that is under way."""
        if self._beat is None:
            self._beat = self.loop.create_task(self.guard.beat())
        self._go_on()

    def let(self, lost: bool) -> None:
        """The octets on the wire arrive, or are lost."""
        self.wire.let(lost)
        self._go_on()

    def beat(self) -> None:
        """A whole confirmation, catching up included."""
        self.ask()
        while self._beat is not None:
            self.let(lost=False)

    @property
    def asking(self) -> bool:
        return self._beat is not None

    def leave(self) -> None:
        """A stop in good order: transactions that have begun end first, the goodbye comes after the last dot."""
        self.begun.clear()
        self.past.clear()
        with contextlib.suppress(StoreError):
            self.loop.run_until_complete(self.guard.stop())

    def _go_on(self) -> None:
        self.loop.rounds()
        if self._beat is not None and self._beat.done():
            beat, self._beat = self._beat, None
            with contextlib.suppress(StoreError):
                beat.result()

    def _abort(self, table: RuleTable) -> Sequence[PastDot]:
        self.begun = {name: tag for name, tag in self.begun.items() if match(table, tag) is None}
        hits = ((name, match(table, tag)) for name, tag in self.past.items())
        return [PastDot(rule.id, name, "", 1) for name, rule in hits if rule is not None]

    def _drop(self) -> None:
        self.begun.clear()

    # Egress's side

    def mail(self, name: str, tag: str) -> bool:
        if not self.guard.may_send_mail() or match(self.guard.table, tag) is not None:
            return False
        self.begun[name] = tag
        return True

    def look(self) -> None:
        """The last look, of what began first: the next thing is the write."""
        name = next(iter(self.begun))
        if match(self.guard.table, self.begun[name]) is not None:
            del self.begun[name]
        elif self.guard.may_send_dot():
            self.looked = name, self.begun.pop(name)

    def write(self, taking: float) -> str:
        """The dot is handed over, and `taking` seconds later the second look comes, before any answer of the store."""
        assert self.looked is not None
        (name, tag), self.looked = self.looked, None
        self.past[name] = tag
        self.clock.seconds += taking
        if not self.guard.may_send_dot():
            self.escaped.add(name)
        return name


class AcceptingProcess(WorkerProcess):
    """A process that accepts and does not deliver: it decides with its guard's table, as `admission` does."""

    def __init__(self, shared: Shared, clock: Clock, loop: StillLoop, name: str, staleness: float) -> None:
        super().__init__(shared, clock, loop, name, staleness, ("smtp",))
        self._rules = AcceptanceRules(self.guard, "n", 0.0, clock=clock)

    def decide(self, tag: str) -> AcceptanceDecision:
        return self._rules.decide([a_message(tag)])

    def accept(self, tag: str, decision: AcceptanceDecision, barrier: int) -> AcceptanceDecision:
        """The decision with which a lane with that barrier takes a message, after this process had made `decision`."""

        return self.loop.run_until_complete(accepted_with(decision, lambda: self.decide(tag), barrier))


async def accepted_with(
    decision: AcceptanceDecision, again: Callable[[], AcceptanceDecision], barrier: int
) -> AcceptanceDecision:
    """The decision with which a lane takes a batch that was decided by `decision`; `again` decides anew."""
    made = [decision]
    group = GroupCommit(_Lane(barrier), 0.0, lambda messages: made.pop() if made else again())
    batch = Batch(0)
    batch.add(a_message("any"), lambda reply: None, 0)
    return await group._store_batch(batch)


class _Lane:
    """The accept step of a lane, as far as its barrier goes."""

    lanes = 1

    def __init__(self, barrier: int) -> None:
        self._barrier = barrier

    async def accept(
        self, lane: int, messages: Sequence[NewMessage], decision: AcceptanceDecision, *more: object
    ) -> Mapping[QueueKey, Sequence[Claimed]] | None:
        return None if 0 <= decision.generation < self._barrier else {}


class ApiProcess:
    """The order book of an API process, and what it has told people."""

    def __init__(self, shared: Shared, clock: Clock, name: str, staleness: float) -> None:
        self.loop = StillLoop()
        self.store = MemoryRules(shared, name, staleness)
        self.book = OrderBook(self.store, NoSweeps(), clock, clock.wall)
        self.told: list[tuple[ChangeOp, asyncio.Task[Any]]] = []

    def order(self, op: ChangeOp, change: Coroutine[Any, Any, Any]) -> None:
        """Ask for a change and wait for it as long as it takes; the answers are in `told`."""
        self.told.append((op, self.loop.create_task(change)))
        self.loop.rounds()

    def run(self) -> None:
        self.loop.rounds(0.2)

    def ask(self, question: Awaitable[Any]) -> Any:
        return self.loop.run_until_complete(question)  # type: ignore[arg-type]

    def end(self) -> None:
        self.loop.run_until_complete(self.book.stop())
        self.loop.end()


class NoSweeps:
    async def sweeps(self) -> dict[str, Any]:
        return {}

    async def sweep(self, rule: str) -> Any:
        return None


class NoClaims:
    """Claims for a reaper where no test looks at them."""

    lanes = 1

    async def holders(self) -> set[str]:
        return set()

    async def reclaim(self, lane: int, session: str, most: int) -> int:
        return 0

    async def forget(self, session: str) -> None:
        return None


def a_message(tag: str) -> NewMessage:
    return message(to=("a@example.com",), tags=(tag,), pool="p")


def match(table: RuleTable, tag: str) -> Rule | None:
    return table.match("p", "", "example.com", (tag,))


def forced(tag: str, name: str = "", code: int = 554) -> Rule:
    return Rule(name or f"r-{tag}", Selectors(tag=tag), code)
