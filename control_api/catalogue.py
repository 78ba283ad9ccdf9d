"""The rule table as this API process shows it: brought up to date by the changes since it was read last."""

import asyncio
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

from control_api.http.turns import SLICE, Turns
from mta.model.errors import UnreadableRule
from mta.model.rules import Rule
from mta.policy.rule_table import NoSuccessor, RuleTable
from mta.ports.rule_store import RuleStore

Position = tuple[str, ...]


def position_of(rule: Rule) -> Position:
    """The sort key of lists of rules, which a cursor quotes."""
    return f"{rule.created_at:015d}", rule.id


class Listing(NamedTuple):
    """All rules of a table, oldest first."""

    table: RuleTable
    positions: Sequence[Position]
    rules: Sequence[Rule]

    def behind(self, cursor: Position | None) -> Sequence[Rule]:
        """The rules behind this position; None: all."""
        return self.rules if cursor is None else self.rules[bisect_right(self.positions, cursor) :]


class Catalogue:
    """Never acted upon, so it needs no permit; each answer is at least as new as its question."""

    def __init__(self, store: RuleStore, node: str, protected: Iterable[str], turns: Turns) -> None:
        self._store = store
        self._turns = turns
        self._table = RuleTable.empty(node, protected)
        self._unreadable: Mapping[str, UnreadableRule] = {}
        self._listing = Listing(self._table, (), ())
        self._turn = asyncio.Lock()  # a request that has waited for it finds the table up to date

    async def table(self) -> RuleTable:
        """Raises StoreAway, StoreError; UnreadableRule where this build cannot read all of it."""
        table = await self.readable()
        for error in self._unreadable.values():
            raise error
        return table

    async def listing(self) -> Listing:
        """The same table in order, which is sorted once for each. Raises as `table`."""
        table = await self.table()
        if self._listing.table is not table:
            keyed: list[tuple[Position, Rule]] = []
            async for some in self._turns.slices(list(table.rules())):
                keyed += [(position_of(rule), rule) for rule in some]
            keyed.sort(key=itemgetter(0))
            self._listing = Listing(table, [position for position, _ in keyed], [rule for _, rule in keyed])
        return self._listing

    async def readable(self, rule: str = "") -> RuleTable:
        """The same without the rules that this build cannot read. Raises UnreadableRule where `rule` is one of them."""
        async with self._turn:
            head = await self._store.head()
            while self._table.head != head:
                self._table = await self._caught_up()
                if self._table.head.generation >= head.generation:
                    break  # at least as new as the question
                await self._turns.rest()
            if rule in self._unreadable:
                raise self._unreadable[rule]
            return self._table

    async def _caught_up(self) -> RuleTable:
        changes = await self._store.changes(self._table.head)
        if changes and not self._unreadable:
            try:
                return self._table.apply(changes)
            except NoSuccessor:
                pass  # they do not follow
        head, rules, self._unreadable = await self._store.load_readable()
        table = self._table.rebuilt(head, rules[:SLICE])
        async for some in self._turns.slices(rules[SLICE:]):
            table = table.with_rules(some)
        return table
