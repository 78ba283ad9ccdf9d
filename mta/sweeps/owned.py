"""A sweep that this process owns: the rules of one order, and how far the walk for them is."""

from collections.abc import Iterable, Sequence

from msgspec import structs

from mta.model.rules import Rule
from mta.model.sweeps import SweepPhase, SweepState
from mta.policy.rule_effect import in_force, on_since
from mta.policy.rule_table import RuleTable
from mta.ports.sweeps import WaitingDelivery


class OwnedSweep:
    """One sweep serves all rules of a set."""

    def __init__(self, order_id: str, started_at: int, walked: int, period: int = 0) -> None:
        """`walked` is the number of deliveries that the pass under way has seen; `period` is when the period of the
        schedule began that is swept, Unix ms, 0 = the order has no schedule."""
        self.order_id = order_id
        self.period = period
        self.rules: dict[str, Rule] = {}  # by id
        self.generation = 0  # of the last change of the order, as far as it is known
        self.started_at = started_at
        self.matched = 0
        self.effective_at = 0
        self.last_pass = False  # this pass began after the order was effective everywhere
        self.phase = SweepPhase.RUNNING
        self.unresolved = 0  # deliveries of the pass under way whose site nobody knows, and that may match
        self._of_any_site: list[Rule] = []  # its rules that ask for the site, without that selector
        self._lead: Rule | None = None  # a rule that was in force at the last look
        self._seen_before = 0  # by earlier passes
        self._walked = walked

    def add(self, rules: Iterable[Rule]) -> None:
        """Rules of the order that the table has now; the pass under way has not seen everything for them."""
        for rule in rules:
            self.rules[rule.id] = rule
            self.generation = max(self.generation, rule.generation)
        self.last_pass = False
        self._of_any_site = [
            structs.replace(rule, selectors=structs.replace(rule.selectors, site=None))
            for rule in self.rules.values()
            if rule.selectors.site is not None
        ]

    def go_on(self, state: SweepState) -> None:
        """Where a dead process stopped."""
        self.started_at = state.started_at
        self.matched = self._seen_before = state.matched

    def begin_pass(self) -> None:
        """A pass begins at its first delivery."""
        self.phase = SweepPhase.RUNNING
        self.last_pass = self.effective_at > 0
        self._seen_before, self._walked = self.matched, 0
        self.unresolved = 0

    def count_unresolved(self, table: RuleTable, some: Sequence[WaitingDelivery]) -> None:
        """Count those of these deliveries, whose sites nobody knows, that a rule of the order may match."""
        for one in some:
            (pool, domain), record = one.queue, one.record
            self.unresolved += any(
                table.matches(rule, pool, "", domain, record.labels, "", "", record) for rule in self._of_any_site
            )

    def seen(self, walked: int) -> int:
        """Deliveries looked at, when the pass has seen `walked`."""
        return self._seen_before + walked - self._walked

    def lead(self, table: RuleTable, now: int) -> Rule | None:
        """A rule of the order that is in the table as it is swept, and in force; None: there is none any more."""
        if self._lead is None or not self._applies(self._lead, table, now):
            self._lead = next((rule for rule in self.rules.values() if self._applies(rule, table, now)), None)
        return self._lead

    def _applies(self, rule: Rule, table: RuleTable, now: int) -> bool:
        current = table.rule(rule.id)
        if current is None or current.generation != rule.generation or not in_force(current, now):
            return False
        return on_since(current, now) == self.period
