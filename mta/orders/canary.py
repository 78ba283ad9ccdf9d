"""The canary: once a minute an order of the cluster that matches nothing, to know how fast orders are effective.

It moves the head of the rule table and goes the way of every order: each process confirms it, and the barrier of each
lane is raised. There is no rule, so no list, statement, event or audit has it.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import Final

from mta.model.canaries import CanaryFlight
from mta.model.errors import StoreError, severity
from mta.orders.order import GRACE, WaitSet
from mta.ports.canaries import Canaries
from mta.ports.rule_store import RuleStore
from mta.timing.alarm import Alarm
from mta.timing.clock import boottime, wall_ms

log = logging.getLogger(__name__)

PERIOD: Final = 60.0  # seconds
_RETRY: Final = 5.0
_LOOK: Final = 0.01


class Canary:
    """Of the API process of any node; they take turns."""

    def __init__(
        self,
        rules: RuleStore,
        canaries: Canaries,
        node: str,
        period: float = PERIOD,
        now: Callable[[], float] = boottime,
        wall: Callable[[], int] = wall_ms,
    ) -> None:
        self._rules = rules
        self._canaries = canaries
        self._node = node
        self._period = period
        self._now = now
        self._wall = wall
        self._alarm = Alarm()
        self._stopping = False

    def stop(self) -> None:
        """`run` returns soon."""
        self._stopping = True
        self._alarm.ring()

    async def run(self) -> None:
        """The first canary is due a period after the start: a node that starts has more to do than to be measured."""
        pause = self._period
        while True:
            await self._alarm.sleep(pause)
            if self._stopping:
                return
            try:
                pause = await self._canaries.turn(self._node, self._period)
                if not pause:
                    pause = self._period
                    await self.fly()
            except StoreError as error:
                log.log(severity(error), "no canary order is given now: %s", error)
                pause = _RETRY

    async def fly(self) -> CanaryFlight | None:
        """Give one, and wait until it is effective. None: a failover lost it."""
        limit = await self._rules.max_staleness() + GRACE
        at, asked_at = self._wall(), self._now()
        head, sessions = await self._rules.canary(secrets.token_hex(8))
        waits = WaitSet(head, sessions, self._now(), self._wall(), limit)
        while not waits.emptied_at:
            try:
                waits.look(await self._rules.sessions(), self._now(), self._wall())
            except StoreError:
                waits.look_at_clock(self._now(), self._wall())
            if not waits.emptied_at:
                await asyncio.sleep(_LOOK)
        await self._rules.raise_barrier(head.generation)
        seconds = self._now() - asked_at
        if not await self._rules.knows(head):
            return None
        names = {name: state.name for name, state in (await self._rules.sessions()).items()}
        silent = tuple(sorted(names.get(session, session) for session in waits.waiting))
        flight = CanaryFlight(at, round(seconds, 4), self._node, silent)
        await self._canaries.save(flight)
        if trouble := flight.trouble():
            log.warning("%s%s", trouble, f": {', '.join(silent)}" if silent else "")
        return flight
