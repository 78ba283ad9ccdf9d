"""The rule table as this API process shows it: brought up to date by the changes since it was read last."""

import asyncio
from collections.abc import Iterable

from control_api.turns import SLICE, Turns
from mta.policy.rule_table import NoSuccessor, RuleTable
from mta.ports.rules import RuleStore


class Catalogue:
    """Never acted upon, so it needs no permit; each answer is at least as new as its question."""

    def __init__(self, store: RuleStore, node: str, protected: Iterable[str], turns: Turns) -> None:
        self._store = store
        self._turns = turns
        self._table = RuleTable.empty(node, protected)
        self._turn = asyncio.Lock()  # who waits finds it up to date

    async def table(self) -> RuleTable:
        """Raises StoreAway, StoreError."""
        async with self._turn:
            if await self._store.head() != self._table.head:
                self._table = await self._caught_up()
            return self._table

    async def _caught_up(self) -> RuleTable:
        changes = await self._store.changes(self._table.head)
        if changes:
            try:
                return self._table.apply(changes)
            except NoSuccessor:
                pass  # one of them cannot be read
        head, rules = await self._store.load()
        table = self._table.anew(head, rules[:SLICE])
        async for some in self._turns.slices(rules[SLICE:]):
            table = table.with_more(some)
        return table
