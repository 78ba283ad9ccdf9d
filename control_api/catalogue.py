"""The rule table as this API process shows it: brought up to date by the changes since it was read last."""

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import NamedTuple, TypeVar

from control_api.http.turns import SLICE
from mta.model.errors import UnreadableRule
from mta.model.rules import Change, Rule
from mta.policy.rule_table import NoSuccessor, RuleTable
from mta.ports.rule_store import RuleStore

Position = tuple[str, ...]
_Made = TypeVar("_Made")


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

    def __init__(self, store: RuleStore, node: str, protected: Iterable[str]) -> None:
        self._store = store
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
            self._listing = await _beside(len(table), partial(_listed, table))
        return self._listing

    async def readable(self, rule: str = "") -> RuleTable:
        """The same without the rules that this build cannot read. Raises UnreadableRule where `rule` is one of them."""
        async with self._turn:
            if await self._store.head() != self._table.head:
                self._table = await self._caught_up()
            if rule in self._unreadable:
                raise self._unreadable[rule]
            return self._table

    async def _caught_up(self) -> RuleTable:
        changes = await self._changes()
        if changes and not self._unreadable:
            try:
                return await _beside(len(changes), partial(self._table.apply, changes))
            except NoSuccessor:
                pass  # they do not follow
        head, rules, self._unreadable = await self._store.load_readable()
        return await _beside(len(rules), partial(self._table.rebuilt, head, rules))

    async def _changes(self) -> list[Change]:
        """All changes from the table's head on; [] where they do not lead to the head of now."""
        found: list[Change] = []
        since, head = self._table.head, await self._store.head()
        while since.generation < head.generation:
            page = await self._store.changes(since)
            if not page:
                return []
            found += page
            since = page[-1].head
        return found


def _listed(table: RuleTable) -> Listing:
    keyed = sorted(((position_of(rule), rule) for rule in table.rules()), key=itemgetter(0))
    return Listing(table, [position for position, _ in keyed], [rule for _, rule in keyed])


async def _beside(rules: int, make: Callable[[], _Made]) -> _Made:
    """The result of `make`. With many rules a thread makes it, and the loop answers other requests meanwhile."""
    return await asyncio.to_thread(make) if rules > SLICE else make()
