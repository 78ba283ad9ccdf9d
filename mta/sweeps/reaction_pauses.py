"""The pauses that reactions ask for: ordered like those of people, with the reaction as the author."""

import logging
import secrets
from collections.abc import Callable
from typing import Final

from mta.model.actor import Actor, ActorKind
from mta.model.errors import OrderMade, StoreError, severity
from mta.model.reactions import PauseWish, author_of
from mta.model.rules import Kind, Rule, Selectors
from mta.ports.orders import Orders
from mta.ports.reactions import ReactionStore
from mta.ports.rules import Rules
from mta.timing.alarm import Alarm
from mta.timing.clock import wall_ms

log = logging.getLogger(__name__)

_LOOK_EVERY: Final = 1.0  # seconds


class ReactionPauses:
    """Any number of processes may look: a pause has one set of selectors, so that two make one."""

    def __init__(self, rules: Rules, orders: Orders, store: ReactionStore, clock: Callable[[], int] = wall_ms) -> None:
        self._rules = rules
        self._orders = orders
        self._store = store
        self._clock = clock
        self._stopping = False
        self._alarm = Alarm()

    def stop(self) -> None:
        self._stopping = True
        self._alarm.ring()

    async def run(self) -> None:
        while not self._stopping:
            try:
                await self.look()
            except (StoreError, OrderMade) as error:
                log.log(severity(error), "pauses of reactions wait: %s", error)
            await self._alarm.sleep(_LOOK_EVERY)

    async def look(self) -> None:
        """Order the pauses that are asked for. Raises StoreError, OrderMade; then it is done with the next look."""
        for wish in await self._store.wishes():
            if wish.until > self._clock():
                await self._order(wish)
            await self._store.fulfilled(wish)

    async def _order(self, wish: PauseWish) -> None:
        author = author_of(wish.reaction)
        selectors = Selectors(tenant=wish.tenant or None, tag=wish.tag or None, site=wish.site)
        there = next(
            (rule for rule in self._rules.table.rules() if rule.kind is Kind.PAUSE and rule.selectors == selectors),
            None,
        )
        if there is not None and (there.created_by != author or there.expires_at >= wish.until):
            return  # somebody else's holds the mail, or another process was first
        now = self._clock()
        pause = Rule(
            f"{now:012x}{secrets.token_hex(5)}",
            selectors,
            kind=Kind.PAUSE,
            created_at=now,
            expires_at=wish.until,
            reason=wish.reason,
        )
        await self._orders.put(pause, Actor(ActorKind.SYSTEM, author), 0.0, "effective")
        log.warning("reaction %s pauses %s at %s: %s", wish.reaction, wish.tenant or wish.tag, wish.site, wish.reason)
