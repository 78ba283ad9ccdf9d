"""The guard of one process: it holds the rule table, keeps it confirmed, and says until when it may be acted upon."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from mta.model.cancel_orders import CancelOrders
from mta.model.errors import SessionLost, StoreError, UnreadableRule, severity
from mta.model.rules import Head, PastDot, Rule
from mta.policy.rule_table import NoSuccessor, RuleTable, Sites, no_sites
from mta.ports.rule_store import RuleStore
from mta.ports.sessions import Confirmed
from mta.rules.failover import Loss, loss_of
from mta.timing.alarm import Alarm
from mta.timing.backoff import Backoff
from mta.timing.clock import boottime, wall_ms

log = logging.getLogger(__name__)

PERMIT_SHARE: Final = 0.9  # of S: a permit lasts so long, counted from before it was asked for
_FIRST_RETRY, _LAST_RETRY = 0.04, 0.5  # seconds after a confirm that failed
_PASSED: Final = 1000  # heads that are remembered: further back a failover does not reach
_AGAIN: Final = 500  # rules put again in one step
_NAMED: Final = 20  # ids in one line of the log

_REMEMBERED: Final = 300.0  # seconds that a cancellation is known: longer than any claim is on its way
_MOST_REMEMBERED: Final = 100_000

ChangeHook = Callable[[RuleTable], Sequence[PastDot]]
CancelHook = Callable[[CancelOrders], None]


class Guard:
    """Fulfils ports.rules.Rules. `node` is "" in a process that decides for no node (the sweeper)."""

    def __init__(
        self,
        store: RuleStore,
        node: str,
        now: Callable[[], float] = boottime,
        metrics: Callable[[], Mapping[str, float]] = dict,
        protected: Iterable[str] = (),
        wall: Callable[[], int] = wall_ms,
        sites: Sites = no_sites,
    ) -> None:
        """`protected` is `rules.protected_tags`; `wall` (Unix ms) decides when a rule expires; `sites`: of domains."""
        self._store = store
        self._now = now
        self._metrics = metrics
        self.table = RuleTable.empty(node, protected, wall, sites)
        self._staleness = 0.0  # S, seconds
        self._permit_until = float("-inf")
        self._seq = 1  # of the next confirm
        self._known = False  # the table was loaded under this session
        self._passed: deque[Head] = deque(maxlen=_PASSED)  # heads that led to the table, its own the last of them
        self._told: tuple[Head, Head] | None = None  # heads between which a loss was told
        self._unreadable = ""  # why nothing can be confirmed, as it was told
        self._hooks_due = False  # the table was swapped, and the deliveries past their dot are not listed yet
        self._listed: dict[tuple[str, str], PastDot] = {}  # (rule, delivery) to tell with the next confirm
        self.canceled: dict[bytes, str] = {}
        self._canceled_until: dict[bytes, float] = {}  # when each of them is forgotten, the next one first
        self._to_cancel: dict[bytes, str] = {}  # heard of, and the hooks have not run yet
        self._change_hooks: list[ChangeHook] = []
        self._cancel_hooks: list[CancelHook] = []
        self._permit_hooks: list[Callable[[], None]] = []
        self._lost_hooks: list[Callable[[], None]] = []
        self._alarm = Alarm()
        self._ready = asyncio.Event()
        self._stopping = False
        self._loop_task: asyncio.Task[None] | None = None

    @property
    def unreadable(self) -> str:
        """Why nothing can be confirmed: a rule of the store cannot be read here. "" = all can."""
        return self._unreadable

    def may_send_mail(self) -> bool:
        return self._now() < self._permit_until - self._staleness / 2

    def may_send_dot(self) -> bool:
        return self._now() < self._permit_until

    def is_fresh(self) -> bool:
        return self.may_send_dot()

    def on_change(self, abort: ChangeHook) -> None:
        self._change_hooks.append(abort)

    def on_cancel(self, abort: CancelHook) -> None:
        self._cancel_hooks.append(abort)

    def on_permit(self, resume: Callable[[], None]) -> None:
        self._permit_hooks.append(resume)

    def on_lost(self, drop: Callable[[], None]) -> None:
        self._lost_hooks.append(drop)

    def start(self) -> asyncio.Task[None]:
        """Begin to confirm; register the hooks before. The task ends by `stop` only."""
        self._store.on_published(self._alarm.ring)
        self._loop_task = asyncio.create_task(self._run(), name="rule guard")
        return self._loop_task

    async def ready(self) -> None:
        """Returns after the first confirmation: until then nothing may be delivered."""
        await self._ready.wait()

    async def stop(self, goodbye: bool = True) -> None:
        """Stop confirming and say goodbye: only after the last dot, and with every claim given back. Without a goodbye
        the session is given up for dead later, and its claims are taken back then."""
        self._stopping = True
        self._alarm.ring()
        if self._loop_task is not None:
            await self._loop_task
        self._permit_until = float("-inf")
        if goodbye and self._seq > 1:
            try:
                await self._store.leave()
            except StoreError as error:
                log.warning(
                    "this process could not leave the store: orders wait for it until its session is dead: %s", error
                )

    async def _run(self) -> None:
        backoff = Backoff(_FIRST_RETRY, _LAST_RETRY)
        while not self._stopping:
            try:
                await self.beat()
                backoff.succeeded()
                pause = self._staleness / 5
            except SessionLost:
                continue
            except UnreadableRule:
                pause = self._staleness / 5
            except StoreError as error:
                first = not backoff.pause
                pause = backoff.failed()
                if first:
                    log.log(
                        severity(error),
                        "rules not confirmed, delivery goes on for %.1f s: %s",
                        self._permit_left(),
                        error,
                    )
            except Exception:
                # A bug in a hook: without its list nothing is confirmed, the permit runs out, delivery stops.
                log.exception("rules cannot be confirmed")
                pause = _LAST_RETRY
            if not self._stopping:
                # A hint during the confirm may be about a change that it did not see: then this returns at once.
                await self._alarm.sleep(pause)

    async def beat(self) -> None:
        """Confirm the table, catching up as often as needed. Raises StoreError (nothing changed), SessionLost,
        UnreadableRule: the store has been told that this process lives and why it confirms nothing."""
        if not self._staleness:
            self._staleness = await self._store.max_staleness()
        try:
            if not self._known:
                await self._reload(None)
            while not await self._confirm():
                pass
            self._unreadable = ""
        except UnreadableRule as error:
            await self._object(error)
            raise
        except SessionLost:
            self._lose_session()
            raise

    async def _object(self, error: UnreadableRule) -> None:
        """Tell the store why this process confirms nothing. The permit runs out, claims stay. Raises SessionLost."""
        if self._unreadable != str(error):
            self._unreadable = str(error)
            log.debug("this process confirms and delivers nothing: %s", error)  # the supervisor says it for the node
        try:
            await self._store.cannot_read(self._seq, str(error), self._metrics())
        except SessionLost:
            self._lose_session()
            raise
        self._seq += 1

    async def _confirm(self) -> bool:
        """One question to the store; False: the table moved on and must be confirmed as it is now."""
        if self._hooks_due:
            self._run_change_hooks()
        self._run_cancel_hooks()
        asked_at = self._now()
        listed = tuple(self._listed.items())
        answer = await self._store.confirm(self._seq, self.table.head, [entry for _, entry in listed], self._metrics())
        if not answer.ok:
            await self._catch_up(answer)
            return False
        self._seq += 1
        for key, _ in listed:
            del self._listed[key]
        self._hear_of(answer.canceled)
        self._run_cancel_hooks()
        self._permit_until = asked_at + PERMIT_SHARE * self._staleness
        self._ready.set()
        for resume in self._permit_hooks:
            resume()
        return True

    async def _catch_up(self, answer: Confirmed) -> None:
        if not answer.reload:
            try:
                table = self.table.apply(answer.changes)
            except NoSuccessor as error:
                log.error("the changes of the rule table do not follow %s: %s", self.table, error)
            else:
                before, after, newest = self.table.head, table.head, answer.head
                if after == newest or before.generation < after.generation < newest.generation:
                    self._passed.extend(dict.fromkeys(change.head for change in answer.changes))
                    self._swap(table)
                    return
        await self._reload(answer.head)

    async def _reload(self, told: Head | None) -> None:
        """Take the whole table; `told` is the head that ours does not lead to, None: this session knows none yet."""
        if told is not None and not self._unreadable:
            log.error("rule table loaded anew: ours is %s, the store's head is %s", self.table, told)
        while True:
            head, rules = await self._store.load()
            trail = await self._store.trail(self._passed[0].generation if self._passed else 0)
            loss = loss_of(tuple(self.table.rules()), self._passed, head, rules, trail)
            if loss is None:
                break
            await self._put_back(loss, head, rules)
        self._passed = deque((step.head for step in trail.steps if step.head.generation <= head.generation), _PASSED)
        if not self._passed or self._passed[-1] != head:
            self._passed.append(head)
        self._swap(self.table.rebuilt(head, rules))
        self._known = True

    async def _put_back(self, loss: Loss, head: Head, stored: Sequence[Rule]) -> None:
        """The store forgot changes (a failover): the rules of both tables are in force, and unconfirmed, until it has
        them again. Any number of processes may do this at once."""
        ours, again = self.table, (*loss.lost, *loss.stands)
        heads = ours.head, head
        if heads != self._told:
            self._told = heads
            log.error("the rule table went back from %s to %s; put again: %s", ours, head, _ids(loss.lost))
            if loss.stands:
                log.error("rules whose removal was lost with it are in force again: %s", _ids(loss.stands))
            if loss.replaced:
                log.error("rules that were lost with it and have been ordered anew since: %s", _ids(loss.replaced))
        known = {rule.id: rule for rule in stored}
        union = {rule.id: rule for rule in (*ours.rules(), *stored, *loss.lost)}
        self._swap(ours.rebuilt(ours.head, union.values()))
        for at in range(0, max(1, len(again)), _AGAIN):
            some = again[at : at + _AGAIN]
            if not await self._store.regain(ours.head, some, known, last=at + _AGAIN >= len(again)):
                return  # look again

    def _swap(self, table: RuleTable) -> None:
        """No await between the swap and the hooks: transactions that begin afterwards begin under the new table."""
        self.table = table
        self._hooks_due = True
        self._run_change_hooks()

    def _run_change_hooks(self) -> None:
        for abort in self._change_hooks:
            for entry in abort(self.table):
                self._listed[entry.rule, entry.id] = entry
        self._hooks_due = False

    def _hear_of(self, orders: CancelOrders) -> None:
        now, known, until = self._now(), self.canceled, self._canceled_until
        for id_, author in orders.items():
            until.pop(id_, None)
            until[id_] = now + _REMEMBERED
            known.setdefault(id_, author)
        while until and (len(until) > _MOST_REMEMBERED or next(iter(until.values())) <= now):
            oldest = next(iter(until))
            del until[oldest], known[oldest]
        self._to_cancel.update(orders)

    def _run_cancel_hooks(self) -> None:
        """Again with the next confirmation where one of them fails: no permit is renewed before."""
        if self._to_cancel:
            for abort in self._cancel_hooks:
                abort(self._to_cancel)
            self._to_cancel = {}

    def _lose_session(self) -> None:
        lost = self._store.session
        self._permit_until = float("-inf")
        self._seq = 1
        self._known = False
        for drop in self._lost_hooks:
            drop()
        # Transactions without their dot were dropped with the claims: this process will never settle them.
        self._listed = {key: entry for key, entry in self._listed.items() if entry.dot_at}
        log.error("session %s was given up for dead; going on as %s", lost, self._store.renew())

    def _permit_left(self) -> float:
        return max(0.0, self._permit_until - self._now())

    def __repr__(self) -> str:
        return f"<Guard {self._store.session} {self.table}, permit {self._permit_left():.1f} s>"


def _ids(rules: Sequence[Rule]) -> str:
    """For the log, which stays readable where a store came back empty."""
    named = ", ".join(rule.id for rule in rules[:_NAMED]) or "none"
    return named if len(rules) <= _NAMED else f"{named} and {len(rules) - _NAMED} more"
