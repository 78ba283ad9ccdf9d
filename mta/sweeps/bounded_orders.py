"""Orders with a bound, which hold the mail that they match until it is counted.

Such an order begins as a hold: a pause that wins over all pauses, so that each delivery that it matches comes to it.
Once its sweep is done, the deliveries that it holds are counted. Then it becomes the forced error, or, where it matches
more than its bound, it is disabled, its mail is released, and it is removed. Only a count releases it, or a person.

Several holds may match the same mail. The oldest of them wins, and is decided first. One that was refused is removed
before another is decided: its mail goes to those that match it, too.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from mta.model.actor import Actor, ActorKind
from mta.model.errors import OldReaders, StoreError, severity
from mta.model.ids import delivery_text
from mta.model.process_metrics import BOUNDED_ORDER_OLDEST, BOUNDED_ORDERS
from mta.model.rules import Kind, PastDot, Rule
from mta.model.sweeps import SweepPhase, SweepState
from mta.policy.bounded_orders import Decided, in_place, passed, refused, replaced
from mta.policy.rule_effect import holds, is_counting
from mta.policy.rule_table import RuleTable, rank
from mta.ports.books import Books
from mta.ports.orders import Orders
from mta.ports.rule_store import Edit, Exists, RuleStore
from mta.ports.rules import Rules
from mta.ports.sweeps import SweepStore, WaitingDelivery
from mta.sweeps.sites_of_mail import NO_SITES, SitesOfMail
from mta.timing.alarm import Alarm
from mta.timing.clock import wall_ms

log = logging.getLogger(__name__)

_LOOK: Final = 0.02  # seconds between looks while a hold is not decided
_TICK: Final = 5.0
_RETRY: Final = 0.5
_LATE: Final = 30_000  # ms after which a hold that is not decided is told of
_TELL_EVERY: Final = 60_000  # ms
_ORPHANED: Final = 1000  # ms after which the API process that gave an order may have died
_SETTLES: Final = 2000  # ms in which workers put back what they aborted; a delivery that is claimed then counts as held
_PAGE: Final = 200


class BoundedOrders:
    """Decides for all nodes. Any number of processes may: a decision is one change of the hold as it was counted, and
    a process that comes second finds it changed."""

    def __init__(
        self,
        rules: Rules,
        store: RuleStore,
        orders: Orders,
        sweeps: SweepStore,
        books: Books,
        figures: dict[str, float],
        sites: SitesOfMail = NO_SITES,
        wall: Callable[[], int] = wall_ms,
    ) -> None:
        """`rules` is this process's guard, made for no node; it tells `figures` with its confirmations."""
        self._rules = rules
        self._store = store
        self._orders = orders
        self._sweeps = sweeps
        self._books = books
        self._figures = figures
        self._sites = sites
        self._wall = wall
        self._table = rules.table
        self._open: dict[str, Rule] = {}  # holds, and forced errors that are not known to be effective
        self._told: dict[str, int] = {}  # hold -> when it was told of last
        self._trouble = ""  # why nothing could be decided, as it was told
        self._alarm = Alarm()
        self._stopping = False
        rules.on_change(self._on_change)
        self._tell_figures()

    def _on_change(self, table: RuleTable) -> tuple[PastDot, ...]:
        self._open |= {rule.id: rule for rule in table.fresh_since(self._table) if rule.bound is not None}
        self._table = table
        if self._open:
            self._alarm.ring()
        return ()

    def stop(self) -> None:
        """`run` returns soon; another process decides."""
        self._stopping = True
        self._alarm.ring()

    async def run(self) -> None:
        while not self._stopping:
            pause = _LOOK
            try:
                await self._look()
                self._trouble = ""
            except (StoreError, OldReaders) as error:
                if self._trouble != str(error):
                    self._trouble = str(error)
                    log.log(severity(error), "orders with a bound wait: %s", error)
                pause = _RETRY
            self._tell_figures()
            await self._alarm.sleep(pause if self._open else _TICK)

    async def _look(self) -> None:
        current = {name: self._table.rule(name) for name in self._open}
        self._open = {name: rule for name, rule in current.items() if rule is not None and rule.bound is not None}
        counting: list[Rule] = []
        cleared = True
        for rule in list(self._open.values()):
            if is_counting(rule):
                counting.append(rule)
            elif holds(rule):
                cleared &= await self._clear(rule)
            elif await self._is_effective(rule):
                del self._open[rule.id]
        self._tell_late(counting)
        if counting:
            await self._count(sorted(counting, key=rank, reverse=True), cleared)

    async def _is_effective(self, rule: Rule) -> bool:
        """Whether the last change of the rule is effective. One that no process follows is followed from now on."""
        known = (await self._store.effects([rule.id])).get(rule.id)
        if known is not None and known.generation >= rule.generation:
            return True
        await self._orders.effect(rule)
        return False

    # The count

    async def _count(self, holds_: Sequence[Rule], cleared: bool) -> None:
        """Decide about those that are swept, the oldest first; `holds_` are in that order."""
        swept = [sweep for hold in holds_ if (sweep := await self._swept(hold)) is not None]
        if not swept or not cleared or swept[0].rule != holds_[0].id:
            return
        claimed = await self._claimed()  # behind the sweeps, before the counts of held deliveries
        for hold, sweep in zip(holds_, swept, strict=False):
            if hold.id != sweep.rule or not await self._decide(hold, sweep, claimed):
                return

    async def _swept(self, hold: Rule) -> SweepState | None:
        """The sweep that moved all waiting mail to the hold, once it is done."""
        sweep = await self._sweeps.sweep(hold.id)
        if sweep is not None and sweep.generation == hold.generation and sweep.phase is SweepPhase.DONE:
            return sweep
        if self._wall() - hold.created_at > _ORPHANED:
            await self._is_effective(hold)
        return None

    async def _claimed(self) -> list[WaitingDelivery]:
        """Everything that workers have."""
        found: list[WaitingDelivery] = []
        for lane in range(self._sweeps.lanes):
            for session in await self._sweeps.holders(lane):
                cursor = 0
                while True:
                    cursor, page = await self._sweeps.scan_claimed(lane, session, cursor, _PAGE)
                    found += page
                    if not cursor:
                        break
        return found

    async def _decide(self, hold: Rule, sweep: SweepState, claimed: Sequence[WaitingDelivery]) -> bool:
        """Whether the next hold may be decided, too."""
        assert hold.bound is not None
        on_its_way = await self._on_its_way(hold, claimed)
        if on_its_way and self._wall() - sweep.updated_at < _SETTLES:
            return False
        matched = (await self._books.rule(hold.id)).get("held", 0) + on_its_way
        if matched > hold.bound.max_matches:
            words = "the order %s of %s matches %d deliveries, more than the %d that it allows: it is lifted"
            log.warning(words, hold.id, hold.created_by or "?", matched, hold.bound.max_matches)
            await self._change(hold, partial(refused, generation=hold.generation, matched=matched))
            return False
        become = partial(passed, generation=hold.generation, matched=matched, held_at=sweep.effective_at)
        try:
            return await self._change(hold, become)
        except Exists as exists:
            await self._replace(hold, matched, exists.args[0])
            return False

    async def _on_its_way(self, hold: Rule, claimed: Sequence[WaitingDelivery]) -> int:
        """The number of deliveries that workers will put to the hold. Deliveries past their dot do not count."""
        await self._sites.find(self._rules.table, claimed)
        table = self._rules.table
        found = set()
        for waiting in claimed:
            (pool, domain), record = waiting.queue, waiting.record
            rule = table.match(pool, "", domain, record.labels, "", "", record)
            if rule is not None and rule.id == hold.id:
                found.add(delivery_text(waiting.id))
        if not found:
            return 0
        known = (await self._store.effects([hold.id])).get(hold.id)
        return len(found.difference(known.past_dot if known is not None else ()))

    async def _change(self, hold: Rule, edit: Edit) -> bool:
        """False: another process, or a person, was first. Raises Exists."""
        try:
            return await self._orders.edit(hold.id, edit, self._author(hold), 0.0, "effective") is not None
        except Decided:
            return False

    async def _replace(self, hold: Rule, matched: int, known: str) -> None:
        """There is a forced error with the selectors already: it gets the terms of the order, before the hold lets go
        of its mail."""
        await self._orders.put(in_place(hold, matched), self._author(hold), 0.0, "effective")
        await self._change(hold, partial(replaced, generation=hold.generation, matched=matched, by=known))

    # Afterwards

    async def _clear(self, hold: Rule) -> bool:
        """Remove a hold that was refused or replaced, once all its mail is released; whether it is removed."""
        if not await self._is_effective(hold):
            return False
        for lane in range(self._sweeps.lanes):
            if hold.id in await self._sweeps.pauses(lane):
                return False
        await self._orders.remove(hold.id, self._author(hold), 0.0, Kind.PAUSE)
        del self._open[hold.id]
        self._told.pop(hold.id, None)
        return True

    def _author(self, hold: Rule) -> Actor:
        """The order is that of its author, also where this process carries it on."""
        return Actor(ActorKind.SYSTEM, hold.created_by or "max_matches")

    def _tell_late(self, holds_: Sequence[Rule]) -> None:
        now = self._wall()
        for hold in holds_:
            if now - hold.created_at > _LATE and now - self._told.get(hold.id, 0) > _TELL_EVERY:
                self._told[hold.id] = now
                log.error(
                    "the order %s of %s has held mail for %d s and is not decided; it goes on. "
                    "floodgate pauses convert %s 554 ends that mail by hand, floodgate pauses remove %s releases it",
                    hold.id,
                    hold.created_by or "?",
                    (now - hold.created_at) // 1000,
                    hold.id,
                    hold.id,
                )

    def _tell_figures(self) -> None:
        since = [rule.created_at for rule in self._open.values() if is_counting(rule)]
        self._figures[BOUNDED_ORDERS.key] = float(len(since))
        self._figures[BOUNDED_ORDER_OLDEST.key] = max(0, self._wall() - min(since)) / 1000 if since else 0.0
