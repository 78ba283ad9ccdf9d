"""Staged releases: a pause lets so many deliveries go as an order names, or some at a rate, and keeps the rest.

A delivery that goes carries the pause in its record, so that the pause does not match it again. Other rules do: a
delivery that one of them ends or holds instead is not counted.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from mta.model.errors import StoreError, severity
from mta.model.releases import ReleaseState, StagedRelease
from mta.model.rules import Rule
from mta.policy.rule_effect import still_holds
from mta.policy.staged_release import ended, next_round
from mta.ports.releases import ReleaseStore
from mta.ports.rule_store import RuleStore
from mta.ports.rules import Rules
from mta.ports.sweeps import Allowance, MoveAnswer, SweepMove, SweepStore
from mta.sweeps.pace import Pace
from mta.sweeps.sites_of_mail import NO_SITES, SitesOfMail
from mta.sweeps.sweep_moves import Decider
from mta.timing.alarm import Alarm
from mta.timing.clock import wall_ms

log = logging.getLogger(__name__)

_PAGE: Final = 100
_LOOK: Final = 0.25  # seconds between looks while an order is under way
_TICK: Final = 5.0


class StagedReleaser:
    """Carries out the orders of all nodes. Any number of processes may: the store lets none exceed a share."""

    def __init__(
        self,
        rules: Rules,
        rule_store: RuleStore,
        releases: ReleaseStore,
        sweeps: SweepStore,
        decider: Decider,
        pace: Pace,
        sites: SitesOfMail = NO_SITES,
        wall: Callable[[], int] = wall_ms,
    ) -> None:
        """`rules` is this process's guard, made for no node."""
        self._rules = rules
        self._rule_store = rule_store
        self._releases = releases
        self._sweeps = sweeps
        self._decider = decider
        self._pace = pace
        self._sites = sites
        self._wall = wall
        self._alarm = Alarm()
        self._stopping = False
        releases.on_ordered(self._alarm.ring)

    def stop(self) -> None:
        """`run` returns soon; another process goes on."""
        self._stopping = True
        self._alarm.ring()

    async def run(self) -> None:
        while not self._stopping:
            running = True
            try:
                running = await self.look()
            except StoreError as error:
                log.log(severity(error), "staged releases wait: %s", error)
            await self._alarm.sleep(_LOOK if running else _TICK)

    async def look(self) -> bool:
        """Let go what may go by now; whether an order is still under way."""
        running = False
        for order in await self._releases.all():
            pause = self._rules.table.rule(order.pause)
            if pause is None:
                if await self._rule_store.rule(order.pause) is None:
                    await self._releases.forget(order.pause)
            elif order.state is ReleaseState.RUNNING:
                running |= await self._carry_on(order, pause)
        return running

    async def _carry_on(self, order: StagedRelease, pause: Rule) -> bool:
        """Finish the round under way and go on with the next ones, until nothing may go now; whether the order is
        still under way."""
        while not self._stopping:
            now = self._wall()
            if not still_holds(pause, now):
                await self._releases.change(order, ended(order, ReleaseState.OVER, now))
                return False
            closed = await self._finish_round(order, pause)
            held = await asyncio.gather(*(self._releases.held(lane, pause.id) for lane in range(self._releases.lanes)))
            after = next_round(order, closed, held, now)
            if not order.shares and not sum(after.shares) and after.state is ReleaseState.RUNNING:
                return True
            if not await self._releases.change(order, after) or after.state is not ReleaseState.RUNNING:
                return after.state is ReleaseState.RUNNING
            order = after
            if not closed and order.round > 1:
                return True  # it holds deliveries that do not go: look again later
        return True

    async def _finish_round(self, order: StagedRelease, pause: Rule) -> int:
        """Let the shares of the round go and close it; how many deliveries went."""
        if not order.shares:
            return 0
        lanes = range(len(order.shares))
        await asyncio.gather(*(self._let_go(lane, order, pause) for lane in lanes))
        return sum(await asyncio.gather(*(self._releases.close(lane, order) for lane in lanes)))

    async def _let_go(self, lane: int, order: StagedRelease, pause: Rule) -> None:
        """Deliveries of one lane, those that are due first before others."""
        allowance = Allowance(order.round_id, order.shares[lane])
        room = allowance.share - await self._releases.released(lane, order) if allowance.share else 0
        while room > 0 and not self._stopping:
            page = await self._sweeps.first_held(lane, pause.id, min(room, _PAGE))
            await self._sites.find(self._rules.table, page)
            table, moved = self._rules.table, 0
            for move, matches in self._decider.let_go(table, page, pause).items():
                released = move is SweepMove.RELEASE
                async with self._pace.step():
                    answer, count = await self._sweeps.move(
                        lane, pause.id, move, table.head.generation, matches, allowance if released else None
                    )
                if answer is MoveAnswer.OLD_RULES:
                    return  # the guard is about to swap the table: the next look goes on
                moved += count
                room -= count if released else 0
            if not moved:
                return
            self._pace.spend(len(page))
            await self._pace.wait(lane, _nothing)


async def _nothing() -> None:
    pass
