"""The sweep: waiting mail that a rule matches is intercepted or held now, not at its next attempt hours later."""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from typing import Final

import msgspec

from mta.model.errors import StoreError, severity
from mta.model.rules import PastDot, Rule
from mta.model.sweeps import SweepPhase, SweepState
from mta.policy.rule_effect import ends, in_force, is_counting, on_since, swept
from mta.policy.rule_table import RuleTable
from mta.ports.rule_store import RuleStore
from mta.ports.rules import Rules
from mta.ports.sweeps import Account, MoveAnswer, PlannedMove, SweepStore, WaitingDelivery
from mta.sweeps.owned import OwnedSweep
from mta.sweeps.pace import Pace
from mta.sweeps.reach import Reach
from mta.sweeps.sites_of_mail import NO_SITES, SHORTLY, SitesOfMail
from mta.sweeps.sweep_moves import Decider
from mta.timing.alarm import Alarm
from mta.timing.clock import boottime, wall_ms

log = logging.getLogger(__name__)

CHUNK: Final = 100  # deliveries a step
_MOVES: Final = 2  # steps of a lane that are under way, so that the server never waits for the next
LEASE: Final = 10.0  # seconds after which another process takes the sweep of a dead one over
_SAVE_EVERY: Final = 0.25
_SAVE_TIME: Final = 0.001  # seconds of that for each sweep that is saved
_SAVED_TOGETHER: Final = 20
_TICK: Final = 1.0
_EFFECT_POLL: Final = 0.03
_RETRY: Final = 0.5
_RESOLVING: Final = 30.0  # seconds of a pass that it waits for DNS at most
_LONGER: Final = 5.0  # seconds for the domains of one page in the last pass
_STALE_PAUSE: Final = 0.01
_CLOCKS_AGREE_MS: Final = 2000  # after the begin of a period each process has seen it, by whatever its clock says

_encode: Final = msgspec.msgpack.Encoder().encode

_Pages = AsyncGenerator[list[WaitingDelivery], None]


class Sweeper:
    """Sweeps for all nodes; `rules` is this process's guard, made for no node. One process owns a sweep at a time."""

    def __init__(
        self,
        store: SweepStore,
        rules: Rules,
        rule_store: RuleStore,
        decider: Decider,
        pace: Pace,
        account: Account,
        sites: SitesOfMail = NO_SITES,
        now: Callable[[], float] = boottime,
        wall: Callable[[], int] = wall_ms,
    ) -> None:
        self._store = store
        self._rules = rules
        self._rule_store = rule_store
        self._decider = decider
        self._pace = pace
        self._account = account
        self._sites = sites
        self._resolving = 0.0  # seconds of this pass that it waited for sites
        self._now = now
        self._wall = wall
        self._own: dict[str, OwnedSweep] = {}  # by order
        self._of_rule: dict[str, OwnedSweep] = {}  # the same by rule
        self._reach = Reach(())  # of all rules of these
        self._looked_at: RuleTable | None = None
        self._unswept: dict[str, Rule] = {}  # by id: rules of that table whose sweep is not known to be done
        self._periods: dict[str, tuple[int, int]] = {}  # by rule with a schedule: generation and period last swept
        self._alarm = Alarm()
        self._stopping = False
        self._saved_at = 0.0
        self._places = self._walked = 0  # of this pass: queues and pauses, as far as known
        self._seen = 0  # deliveries that this pass has seen
        rules.on_change(self._on_change)

    def _on_change(self, table: RuleTable) -> Sequence[PastDot]:
        self._alarm.ring()
        return ()

    def stop(self) -> None:
        """`run` returns soon; another process goes on where this one was."""
        self._stopping = self._pace.stopping = True
        self._alarm.ring()

    async def run(self) -> None:
        while not self._stopping:
            try:
                await self._take()
                if not self._own:
                    await self._alarm.sleep(_TICK)
                elif any(not sweep.last_pass for sweep in self._own.values()) and await self._is_time():
                    await self._pass()
            except StoreError as error:
                log.log(severity(error), "the sweep waits: %s", error)
                for sweep in self._own.values():
                    sweep.last_pass = False  # this pass has not seen everything
                await self._alarm.sleep(_RETRY)
        await self._save_all(lease=0.0)

    # Which rules

    async def _take(self) -> None:
        """Own the sweep of each order that needs one and has no living owner; let go of orders whose rules were lifted,
        edited, or have expired."""
        table, now = self._rules.table, self._wall()
        for sweep in list(self._own.values()):
            if sweep.lead(table, now) is None:
                sweep.phase = SweepPhase.STOPPED
                await self._save(sweep)
                self._let_go(sweep)
        self._look_at(table)
        wanted = self._wanted(table, now)
        known = await self._store.sweeps_of([order for order in wanted if order not in self._own]) if wanted else {}
        for order, rules in wanted.items():
            state = known.get(order)
            generation, period = max(rule.generation for rule in rules), on_since(rules[0], now) or 0
            if state is not None and state.started_at < period:
                state = None  # of an earlier period of the schedule
            if state is not None and state.generation >= generation and state.phase == SweepPhase.DONE:
                self._swept(rules, period)
                continue
            sweep = self._own.get(order) or OwnedSweep(order, self._wall(), self._seen, period)
            sweep.add(rules)
            if state is not None and state.generation == generation:
                sweep.go_on(state)
            self._own[order] = sweep
            self._of_rule |= dict.fromkeys(sweep.rules, sweep)
            await self._save(sweep)
        if wanted:
            self._reach = Reach(chain.from_iterable(sweep.rules.values() for sweep in self._own.values()))

    def _look_at(self, table: RuleTable) -> None:
        """Note the rules to be swept that are new in the table."""
        if table is self._looked_at:
            return
        fresh = table.rules() if self._looked_at is None else table.fresh_since(self._looked_at)
        self._unswept |= {rule.id: rule for rule in fresh if swept(rule)}
        self._looked_at = table

    def _wanted(self, table: RuleTable, now: int) -> dict[str, list[Rule]]:
        """By order the rules that are to be swept and that no sweep of this process is for yet."""
        wanted: dict[str, list[Rule]] = {}
        for rule in list(self._unswept.values()):
            current = table.rule(rule.id)
            if current is None or current.generation != rule.generation:
                del self._unswept[rule.id]
                self._periods.pop(rule.id, None)
            elif not in_force(rule, now):
                if rule.selectors.schedule is None:
                    del self._unswept[rule.id]  # it has expired
            elif self._periods.get(rule.id) == (rule.generation, on_since(rule, now)):
                continue
            elif (own := self._own.get(rule.order_id)) is None or own.rules.get(rule.id) != rule:
                wanted.setdefault(rule.order_id, []).append(rule)
        return wanted

    def _swept(self, rules: Iterable[Rule], period: int) -> None:
        """A rule with a schedule is to be swept again in the next period."""
        for rule in rules:
            if rule.selectors.schedule is not None:
                self._periods[rule.id] = rule.generation, period
            elif self._unswept.get(rule.id) == rule:
                del self._unswept[rule.id]

    def _let_go(self, sweep: OwnedSweep) -> None:
        self._own.pop(sweep.order_id, None)
        for rule in sweep.rules:
            if self._of_rule.get(rule) is sweep:
                del self._of_rule[rule]

    async def _is_time(self) -> bool:
        """Whether a pass may begin: the first at once, the last once the order is effective everywhere. A period of a
        schedule is effective a moment after it began: then each process has seen it by its own clock."""
        effects = await self._rule_store.effects(list(self._own))
        begin = False
        known = self._looked_at.head.generation if self._looked_at is not None else 0
        for sweep in self._own.values():
            effect = effects.get(sweep.order_id)
            told = self._wall() >= sweep.period + _CLOCKS_AGREE_MS
            if told and effect is not None and sweep.generation <= effect.generation <= known:
                sweep.generation, sweep.effective_at = effect.generation, effect.effective_at
                begin = True
            elif sweep.phase == SweepPhase.RUNNING:
                begin = True
        if not begin:
            await self._save_all()
            await self._alarm.sleep(_EFFECT_POLL)
        return begin

    # One pass over everything

    async def _pass(self) -> None:
        pass_of = list(self._own.values())
        for sweep in pass_of:
            sweep.begin_pass()
        self._places = self._walked = self._seen = 0
        self._resolving = 0.0
        pools = [pool for pool in await self._store.pools() if self._reach.has(pool)]
        lanes = [self._lane(lane, pools) for lane in range(self._store.lanes)]
        failed = [answer for answer in await asyncio.gather(*lanes, return_exceptions=True) if answer is not None]
        if failed:
            raise failed[0]
        if self._stopping:
            return
        for sweep in pass_of:
            if self._own.get(sweep.order_id) is not sweep or sweep.lead(self._rules.table, self._wall()) is None:
                continue  # another process has it, or the rules were lifted or have expired meanwhile
            sweep.phase = SweepPhase.DONE if sweep.last_pass else SweepPhase.WAITING
            await self._save(sweep)
            if sweep.last_pass:
                self._let_go(sweep)
                self._swept(sweep.rules.values(), sweep.period)

    async def _lane(self, lane: int, pools: Sequence[str]) -> None:
        await self._walk(lane, "", self._queued(lane, pools))
        if any(ends(rule) or is_counting(rule) for sweep in self._own.values() for rule in sweep.rules.values()):
            held = await self._store.pauses(lane)
            self._places += len(held)
            for pause in held:
                await self._walk(lane, pause, self._held(lane, pause))

    async def _walk(self, lane: int, pause: str, pages: _Pages) -> None:
        """Walk over all queues of a lane, or over the mail that one pause holds. Each page is asked for while the pages
        before it are moved. Steps are filled across pages and queues, so that short queues do not make short steps."""
        waits: list[WaitingDelivery] = []
        moves: deque[asyncio.Task[None]] = deque()
        ahead = asyncio.ensure_future(anext(pages, None))
        try:
            while (page := await ahead) is not None:
                ahead = asyncio.ensure_future(anext(pages, None))
                self._seen += len(page)
                waits += page
                while len(waits) >= CHUNK:
                    while len(moves) >= _MOVES:
                        await moves.popleft()
                    moves.append(asyncio.create_task(self._move(lane, pause, _once(waits[:CHUNK]))))
                    del waits[:CHUNK]
                self._pace.spend(len(page))
            moves.append(asyncio.create_task(self._move(lane, pause, _once(waits))))
            while moves:
                await moves.popleft()
        finally:
            # Answers that are on their way are waited for.
            await asyncio.gather(ahead, *moves, return_exceptions=True)
            await pages.aclose()

    async def _queued(self, lane: int, pools: Sequence[str]) -> _Pages:
        """Pages of the lane's queues."""
        for pool in pools:
            queues = await self._store.queues(lane, pool)
            self._places += len(queues)
            for queue, share in queues:
                if self._stopping or not self._own:
                    return
                if self._reach.has(pool, queue.domain):
                    async for page in self._pages(lane, partial(self._store.scan, lane, queue, share=share)):
                        yield page
                self._walked += 1

    async def _held(self, lane: int, pause: str) -> _Pages:
        """Pages of the mail that the pause holds there."""
        async for page in self._pages(lane, partial(self._store.scan_held, lane, pause)):
            yield page
        self._walked += 1

    async def _pages(
        self, lane: int, scan: Callable[[int, int], Awaitable[tuple[int, list[WaitingDelivery]]]]
    ) -> _Pages:
        """Pages of one queue, or of one pause."""
        cursor = 0
        while not self._stopping and self._own:
            await self._progress()
            await self._pace.wait(lane, self._save_all)
            async with self._pace.step():
                cursor, page = await scan(cursor, CHUNK)
            yield page
            if not cursor:
                return

    async def _move(self, lane: int, pause: str, page: Sequence[WaitingDelivery]) -> None:
        await self._find_sites(page)
        while not self._stopping:
            table = self._rules.table
            for move, matches in self._decider.decide(table, page, pause).items():
                async with self._pace.step():
                    answer, count = await self._store.move(lane, pause, move, table.head.generation, matches)
                if answer is MoveAnswer.OLD_RULES:
                    break
                self._note(matches, count)
            else:
                return
            while self._rules.table is table and not self._stopping:  # noqa: ASYNC110 - the guard is about to swap it
                await asyncio.sleep(_STALE_PAUSE)

    async def _find_sites(self, page: Sequence[WaitingDelivery]) -> None:
        """A domain that DNS does not tell soon is waited for in the last pass alone, and not for long."""
        began, table = self._now(), self._rules.table
        is_last = any(sweep.last_pass for sweep in self._own.values())
        most = max(0.0, min(_LONGER if is_last else SHORTLY, _RESOLVING - self._resolving))
        unresolved = await self._sites.find(table, page, most)
        if unresolved:
            self._resolving += self._now() - began
            left = [one for one in page if one.queue.domain in unresolved]
            for sweep in self._own.values():
                sweep.count_unresolved(table, left)

    def _note(self, matches: Sequence[PlannedMove], count: int) -> None:
        """Progress only; the books count exactly. Deliveries that had left their place are taken off the last rules."""
        for rule, found in Counter(match.rule for match in matches).items():
            sweep = self._of_rule.get(rule)
            if sweep is not None:
                sweep.matched += min(found, count)
            count -= min(found, count)

    async def _progress(self) -> None:
        """Save now and then how far the sweeps are."""
        now = self._now()
        if now - self._saved_at >= max(_SAVE_EVERY, len(self._own) * _SAVE_TIME):
            self._saved_at = now
            await self._save_all()

    async def _save_all(self, lease: float = LEASE) -> None:
        sweeps = list(self._own.values())
        for at in range(0, len(sweeps), _SAVED_TOGETHER):
            await asyncio.gather(*(self._save(sweep, lease) for sweep in sweeps[at : at + _SAVED_TOGETHER]))

    async def _save(self, sweep: OwnedSweep, lease: float = LEASE) -> None:
        share = self._walked / self._places if self._places else 0.0
        state = SweepState(
            rule=sweep.order_id,
            generation=sweep.generation,
            phase=sweep.phase,
            seen=sweep.seen(self._seen),
            matched=sweep.matched,
            started_at=sweep.started_at,
            updated_at=self._wall(),
            effective_at=sweep.effective_at,
            owner=self._rule_store.session,
            unresolved=sweep.unresolved,
            share=1.0 if sweep.phase == SweepPhase.DONE else min(share, 0.99),
        )
        completed = b""
        lead = sweep.lead(self._rules.table, self._wall()) or next(iter(sweep.rules.values()))
        if sweep.phase == SweepPhase.DONE:
            completed = _encode(await self._account(lead, state))
        if not await self._store.save_sweep(state, lease, completed, lead.id):
            self._let_go(sweep)


def _once(seen: Iterable[WaitingDelivery]) -> list[WaitingDelivery]:
    """Each delivery once, as it was seen last: a walk may see it several times, and a step would count it as often."""
    return list({queued.id: queued for queued in seen}.values())
