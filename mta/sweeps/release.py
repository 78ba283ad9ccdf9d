"""Release: mail that a pause holds goes on when the pause is lifted, disabled or over, earliest due first."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from mta.model.errors import StoreError, severity
from mta.model.rules import PastDot
from mta.policy.rule_effect import holds, still_holds
from mta.policy.rule_table import RuleTable
from mta.ports.rules import Rules
from mta.ports.sweeps import MoveAnswer, SweepStore
from mta.sweeps.pace import Pace
from mta.sweeps.sites_of_mail import NO_SITES, SitesOfMail
from mta.sweeps.sweep_moves import Decider
from mta.timing.alarm import Alarm
from mta.timing.clock import wall_ms

log = logging.getLogger(__name__)

_PAGE: Final = 100
_TICK: Final = 1.0  # a pause that expires changes no table, and a late process may still hold mail by it
_NOTHING_TICK: Final = 5.0  # while there is no pause and no held mail


class Releaser:
    """Looks at every pause that holds mail. Any number of processes may: a step moves mail that is still there."""

    def __init__(
        self,
        store: SweepStore,
        rules: Rules,
        decider: Decider,
        pace: Pace,
        sites: SitesOfMail = NO_SITES,
        wall: Callable[[], int] = wall_ms,
    ) -> None:
        self._store = store
        self._rules = rules
        self._decider = decider
        self._pace = pace
        self._sites = sites
        self._wall = wall
        self._alarm = Alarm()
        self._stopping = False
        self._table: RuleTable | None = None
        self._pauses = False  # that table has one
        rules.on_change(self._on_change)

    def _on_change(self, table: RuleTable) -> tuple[PastDot, ...]:
        self._alarm.ring()
        return ()

    def stop(self) -> None:
        """`run` returns soon."""
        self._stopping = True
        self._alarm.ring()

    async def run(self) -> None:
        while not self._stopping:
            tick = _TICK
            try:
                held = await asyncio.gather(*(self.look(lane) for lane in range(self._store.lanes)))
                if not any(held) and not self._knows_pauses():
                    tick = _NOTHING_TICK
            except StoreError as error:
                log.log(severity(error), "paused mail is not released yet: %s", error)
            await self._alarm.sleep(tick)

    def _knows_pauses(self) -> bool:
        """Whether a pause stands in the table; looked up once a table."""
        if self._table is not self._rules.table:
            self._table = self._rules.table
            self._pauses = any(map(holds, self._table.rules()))
        return self._pauses

    async def look(self, lane: int) -> bool:
        """Release mail of the lane that no pause in force holds any more; whether any mail was held."""
        pauses = await self._store.pauses(lane)
        for pause in pauses:
            while not self._stopping and not still_holds(self._rules.table.rule(pause), self._wall()):
                page = await self._store.first_held(lane, pause, _PAGE)
                if not page:
                    break
                await self._sites.find(self._rules.table, page)
                table = self._rules.table
                for move, matches in self._decider.decide(table, page, pause).items():
                    async with self._pace.step():
                        answer, _ = await self._store.move(lane, pause, move, table.head.generation, matches)
                    if answer is MoveAnswer.OLD_RULES:
                        return True  # the guard is about to swap the table, and that wakes us
                self._pace.spend(len(page))
                await self._pace.wait(lane, _nothing)
        return bool(pauses)


async def _nothing() -> None:
    pass
