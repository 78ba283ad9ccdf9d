"""Orders for many rules at once: one effective time, one sweep and one account for all rules of a set."""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from mta.model.actor import Actor
from mta.model.errors import OutcomeUnknown, StoreError, severity
from mta.model.rules import Rule, RuleSet
from mta.orders.order import Order
from mta.orders.order_book import OrderBook
from mta.policy.rule_sets import stand_in
from mta.ports.orders import Effect, SetEffect
from mta.ports.rule_sets import RuleSets, SetPlaced, StoredSet
from mta.ports.rule_store import RuleStore

log = logging.getLogger(__name__)

_RETRY: Final = 0.5


class SetOrders:
    """Fulfils ports.orders.SetOrders in the API process, beside the order book, which follows the orders."""

    def __init__(self, book: OrderBook, rules: RuleStore, sets: RuleSets) -> None:
        self._book = book
        self._rules = rules
        self._sets = sets
        self._adopting: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        for task in self._adopting:
            task.cancel()
        await asyncio.gather(*self._adopting, return_exceptions=True)

    async def put(
        self, about: RuleSet, rules: Sequence[Rule], remove: Sequence[str], actor: Actor, wait: float, until: str
    ) -> SetEffect:
        about = msgspec.structs.replace(about, created_by=actor.author)
        rules = [msgspec.structs.replace(rule, created_by=actor.author) for rule in rules]
        book = self._book
        limit, asked_at = await book.limit(), book.now()
        try:
            placed, wait_set = await self._sets.put_set(about, rules, remove, actor)
        except StoreError as error:
            self._adopt(about)
            raise OutcomeUnknown(f"{error}; set {about.id}") from error
        order = Order(
            stand_in(about, placed.head.generation, placed.rules),
            book.wait_set(placed.head, wait_set, limit),
            asked_at=asked_at,
            created=placed.created > 0,
            again=partial(self._again, about, placed),
        )
        effect = await book.wait(book.follow(order), asked_at + wait, until)
        return SetEffect(effect, placed)

    async def effect(self, stored: StoredSet, standing: Sequence[Rule]) -> Effect:
        """The effect of the order so far. `standing`: the rules that nobody has changed since the order."""
        rule = stand_in(stored.set, stored.generation, standing)
        if stored.effective is None:
            return await self._book.effect(rule)
        return await self._book.known(rule, stored.effective)

    def _adopt(self, about: RuleSet) -> None:
        """The store failed in the middle: parts of the set may stand, and are followed."""
        task = asyncio.create_task(self._follow_parts(about), name=f"parts of set {about.id}")
        self._adopting.add(task)
        task.add_done_callback(self._adopting.discard)

    async def _follow_parts(self, about: RuleSet) -> None:
        while True:
            try:
                stored = await self._sets.stored_set(about.id)
                if stored is not None:
                    rules = await self._rules.standing(about.id, stored.members.made)
                    await self._book.effect(stand_in(about, stored.generation, rules))
                return
            except StoreError as error:
                log.log(severity(error), "set %s waits: %s", about.id, error)
                await asyncio.sleep(_RETRY)

    async def _again(self, about: RuleSet, placed: SetPlaced) -> Rule | None:
        """Orders the rules of the set again that a failover lost, except rules that were changed since."""
        lost: list[Rule] = []
        for rule, before in zip(placed.rules, placed.before, strict=True):
            there = await self._rules.rule(rule.id)
            if there is None or (there.set_id != about.id and await self._book.ordered_at(there) == before):
                lost.append(rule)
        remove = [rule.id for rule in placed.removed if await self._rules.rule(rule.id) == rule]
        if lost or remove:
            again, _ = await self._sets.put_set(about, lost, remove)
            return stand_in(about, again.head.generation, again.rules)
        stored = await self._sets.stored_set(about.id)
        if stored is None:
            return None
        return stand_in(about, stored.generation, await self._rules.standing(about.id, stored.members.made))
