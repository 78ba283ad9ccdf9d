"""The sweep: waiting mail that a rule matches is intercepted or held now, not at its next attempt hours later."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Final

import msgspec

from mta.model.errors import StoreError, severity
from mta.model.rule_events import completed_event
from mta.model.rules import PastDot, Rule
from mta.model.sweeps import SweepPhase, SweepState
from mta.policy.rule_effect import ends, in_force, swept
from mta.policy.rule_table import RuleTable, may_match
from mta.ports.rule_store import RuleStore
from mta.ports.rules import Rules
from mta.ports.sweeps import Account, MoveAnswer, PlannedMove, SweepStore, WaitingDelivery
from mta.sweeps.pace import Pace
from mta.sweeps.sweep_moves import Decider
from mta.timing.alarm import Alarm
from mta.timing.clock import boottime, wall_ms

log = logging.getLogger(__name__)

CHUNK: Final = 100  # deliveries a step
LEASE: Final = 10.0  # seconds after which another process takes the sweep of a dead one over
_SAVE_EVERY: Final = 0.25
_TICK: Final = 1.0
_EFFECT_POLL: Final = 0.03
_RETRY: Final = 0.5
_STALE_PAUSE: Final = 0.01

_encode: Final = msgspec.msgpack.Encoder().encode

_Pages = AsyncGenerator[list[WaitingDelivery], None]


class _OwnedSweep:
    """One rule's sweep, as this process owns it."""

    def __init__(self, rule: Rule, started_at: int) -> None:
        self.rule = rule
        self.started_at = started_at
        self.seen = 0
        self.matched = 0
        self.effective_at = 0
        self.last_pass = False  # this pass began after the rule was effective everywhere
        self.phase = SweepPhase.RUNNING

    def applies(self, table: RuleTable, now: int) -> bool:
        """Whether the rule is in the table as it is swept, and in force."""
        current = table.rule(self.rule.id)
        return current is not None and current.generation == self.rule.generation and in_force(current, now)


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
        now: Callable[[], float] = boottime,
        wall: Callable[[], int] = wall_ms,
    ) -> None:
        self._store = store
        self._rules = rules
        self._rule_store = rule_store
        self._decider = decider
        self._pace = pace
        self._account = account
        self._now = now
        self._wall = wall
        self._own: dict[str, _OwnedSweep] = {}
        self._nothing_in: RuleTable | None = None  # a table that has no rule to be swept any more
        self._settled: dict[str, int] = {}  # rule -> generation whose sweep is done, by any process
        self._alarm = Alarm()
        self._stopping = False
        self._saved_at = 0.0
        self._places = self._walked = 0  # of this pass: queues and pauses, as far as known
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
        """Own the sweep of each rule that needs one and has no living owner; let go of rules that were lifted, edited,
        or have expired."""
        table, now = self._rules.table, self._wall()
        if table is self._nothing_in and not self._own:
            return
        for sweep in list(self._own.values()):
            if not sweep.applies(table, now):
                sweep.phase = SweepPhase.STOPPED
                await self._save(sweep)
                self._own.pop(sweep.rule.id, None)
        wanted = [
            rule
            for rule in table.rules()
            if swept(rule)
            and in_force(rule, now)
            and rule.id not in self._own
            and self._settled.get(rule.id) != rule.generation
        ]
        self._nothing_in = None if wanted else table
        known = await self._store.sweeps() if wanted else {}
        for rule in wanted:
            state = known.get(rule.id)
            if state is not None and state.generation == rule.generation and state.phase == SweepPhase.DONE:
                self._settled[rule.id] = rule.generation
                continue
            sweep = _OwnedSweep(rule, self._wall())
            if state is not None and state.generation == rule.generation:
                sweep.started_at = state.started_at
                sweep.seen = sweep.matched = state.matched
            self._own[rule.id] = sweep
            await self._save(sweep)

    async def _is_time(self) -> bool:
        """Whether a pass may begin: the first at once, the last once the rule is effective everywhere."""
        effects = await self._rule_store.effects(list(self._own))
        begin = False
        for sweep in self._own.values():
            effect = effects.get(sweep.rule.id)
            if effect is not None and effect.generation == sweep.rule.generation:
                sweep.effective_at = effect.effective_at
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
            sweep.phase = SweepPhase.RUNNING
            sweep.last_pass = sweep.effective_at > 0
            sweep.seen = sweep.matched
        self._places = self._walked = 0
        pools = [pool for pool in await self._store.pools() if _may_match(self._own.values(), pool)]
        lanes = [self._lane(lane, pools) for lane in range(self._store.lanes)]
        failed = [answer for answer in await asyncio.gather(*lanes, return_exceptions=True) if answer is not None]
        if failed:
            raise failed[0]
        if self._stopping:
            return
        for sweep in pass_of:
            if self._own.get(sweep.rule.id) is not sweep or not sweep.applies(self._rules.table, self._wall()):
                continue  # another process has it, or the rule was lifted or has expired meanwhile
            sweep.phase = SweepPhase.DONE if sweep.last_pass else SweepPhase.WAITING
            await self._save(sweep)
            if sweep.last_pass:
                self._own.pop(sweep.rule.id, None)
                self._settled[sweep.rule.id] = sweep.rule.generation

    async def _lane(self, lane: int, pools: Sequence[str]) -> None:
        await self._walk(lane, "", self._queued(lane, pools))
        if any(ends(sweep.rule) for sweep in self._own.values()):
            held = await self._store.pauses(lane)
            self._places += len(held)
            for pause in held:
                await self._walk(lane, pause, self._held(lane, pause))

    async def _walk(self, lane: int, pause: str, pages: _Pages) -> None:
        """Walk over all queues of a lane, or over the mail that one pause holds. Each page is asked for while the page
        before it is moved. Steps are filled across pages and queues, so that short queues do not make short steps."""
        waits: list[WaitingDelivery] = []
        ahead = asyncio.ensure_future(anext(pages, None))
        try:
            while (page := await ahead) is not None:
                ahead = asyncio.ensure_future(anext(pages, None))
                for sweep in self._own.values():
                    sweep.seen += len(page)
                waits += page
                while len(waits) >= CHUNK:
                    await self._move(lane, pause, _once(waits[:CHUNK]))
                    del waits[:CHUNK]
                self._pace.spend(len(page))
            await self._move(lane, pause, _once(waits))
        finally:
            await asyncio.gather(ahead, return_exceptions=True)  # an answer that is on its way is waited for
            await pages.aclose()

    async def _queued(self, lane: int, pools: Sequence[str]) -> _Pages:
        """Pages of the lane's queues."""
        for pool in pools:
            queues = await self._store.queues(lane, pool)
            self._places += len(queues)
            for queue, share in queues:
                if self._stopping or not self._own:
                    return
                if _may_match(self._own.values(), pool, queue.domain):
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

    def _note(self, matches: Sequence[PlannedMove], count: int) -> None:
        """Progress only; the books count exactly. Deliveries that had left their place are taken off the last rules."""
        for rule, found in Counter(match.rule for match in matches).items():
            sweep = self._own.get(rule)
            if sweep is not None:
                sweep.matched += min(found, count)
            count -= min(found, count)

    async def _progress(self) -> None:
        """Save now and then how far the sweeps are."""
        now = self._now()
        if now - self._saved_at >= max(_SAVE_EVERY, len(self._own) * 0.01):
            self._saved_at = now
            await self._save_all()

    async def _save_all(self, lease: float = LEASE) -> None:
        for sweep in list(self._own.values()):
            await self._save(sweep, lease)

    async def _save(self, sweep: _OwnedSweep, lease: float = LEASE) -> None:
        share = self._walked / self._places if self._places else 0.0
        state = SweepState(
            rule=sweep.rule.id,
            generation=sweep.rule.generation,
            phase=sweep.phase,
            seen=sweep.seen,
            matched=sweep.matched,
            started_at=sweep.started_at,
            updated_at=self._wall(),
            effective_at=sweep.effective_at,
            owner=self._rule_store.session,
            share=1.0 if sweep.phase == SweepPhase.DONE else min(share, 0.99),
        )
        completed = b""
        if sweep.phase == SweepPhase.DONE:
            completed = _encode(completed_event(sweep.rule, await self._account(sweep.rule, state), self._wall()))
        if not await self._store.save_sweep(state, lease, completed):
            self._own.pop(sweep.rule.id, None)


def _once(seen: Iterable[WaitingDelivery]) -> list[WaitingDelivery]:
    """Each delivery once, as it was seen last: a walk may see it several times, and a step would count it as often."""
    return list({queued.id: queued for queued in seen}.values())


def _may_match(sweeps: Iterable[_OwnedSweep], pool: str, domain: str | None = None) -> bool:
    """Whether some rule could match mail of that pool (and domain) with the right tags."""
    return any(may_match(sweep.rule.selectors, pool, domain) for sweep in sweeps)
