"""The account of a rule: its statement, as the books have it now."""

from collections.abc import Callable

from mta.model.rules import Effective, Rule
from mta.model.statements import RuleStatement
from mta.model.sweeps import SweepState
from mta.orders.effects import Effects
from mta.orders.statement import only_tag, rule_statement
from mta.ports.books import Books
from mta.ports.orders import Effect
from mta.ports.rule_store import RuleStore
from mta.timing.clock import wall_ms


class Accounts:
    """Reads the books; raises StoreError."""

    def __init__(self, rules: RuleStore, books: Books, wall: Callable[[], int] = wall_ms) -> None:
        self._rules = rules
        self._books = books
        self._wall = wall
        self._effects = Effects(rules, wall)

    async def of(self, effect: Effect, sweep: SweepState | None, removed_at: int = 0) -> RuleStatement:
        """`sweep` was read before; `removed_at` in Unix ms, 0 = the rule stands."""
        rule = effect.rule
        now = self._wall()
        account = await self._books.account(rule.id, only_tag(rule.selectors), now)
        return rule_statement(
            effect, account.counts, account.of_tag, sweep, now, account.undoable, removed_at, account.undo_until
        )

    async def at_the_end(self, rule: Rule, sweep: SweepState) -> RuleStatement:
        """When `sweep`, of a rule that is effective, has just ended."""
        known = (await self._rules.effects([rule.id])).get(rule.id)
        if known is None or known.generation != rule.generation:
            known = Effective(rule.id, rule.generation, sweep.effective_at)
        return await self.of(await self._effects.known(rule, False, known), sweep)
