"""The account of a rule or of a set of rules: its statement, as the books have it now."""

from collections.abc import Callable, Sequence

from mta.model.rule_events import RuleEvent, completed_event
from mta.model.rules import Effective, Rule
from mta.model.statements import RuleStatement, SetStatement
from mta.model.sweeps import SweepState
from mta.orders.effects import Effects
from mta.orders.set_statement import set_statement
from mta.orders.statement import only_tag, rule_statement
from mta.policy.rule_sets import stand_in
from mta.ports.books import Books
from mta.ports.orders import Effect
from mta.ports.rule_sets import RuleSets, StoredSet
from mta.ports.rule_store import RuleStore
from mta.timing.clock import wall_ms


class Accounts:
    """Reads the books; raises StoreError."""

    def __init__(self, rules: RuleStore, sets: RuleSets, books: Books, wall: Callable[[], int] = wall_ms) -> None:
        self._rules = rules
        self._sets = sets
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

    async def of_set(
        self, effect: Effect, stored: StoredSet, standing: Sequence[Rule], sweep: SweepState | None
    ) -> SetStatement:
        """`effect` is that of the set, `standing` are its rules that stand as it made them."""
        now = self._wall()
        account = await self._books.together(stored.members.made, now)
        return set_statement(effect, stored, standing, account, sweep, now)

    async def at_the_end(self, rule: Rule, sweep: SweepState) -> RuleEvent:
        """The event of the end of `sweep`, with the statement of then; the order is effective and made `rule`."""
        known = (await self._rules.effects([rule.order_id])).get(rule.order_id)
        if known is None or known.generation < rule.generation:
            known = Effective(rule.order_id, sweep.generation, sweep.effective_at)
        stored = await self._sets.stored_set(rule.set_id) if rule.set_id else None
        if stored is None:
            statement = await self.of(await self._effects.known(rule, False, known), sweep)
            return completed_event(rule, sweep.generation, statement, self._wall())
        standing = await self._rules.standing(stored.set.id, stored.members.made)
        shown = stand_in(stored.set, sweep.generation, standing)
        of_set = await self.of_set(await self._effects.known(shown, False, known), stored, standing, sweep)
        return completed_event(shown, sweep.generation, of_set, self._wall())
