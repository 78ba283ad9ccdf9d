"""Orders: changes of the rule table, followed until they are effective; raises StoreAway, BadValue."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from mta.model.actor import Actor
from mta.model.rules import Kind, PastDot, Rule, RuleSet
from mta.ports.rule_sets import SetPlaced, StoredSet
from mta.ports.rule_store import Edit, RemovedRule


class OrderFigures(NamedTuple):
    """How long orders took to be effective, and how they became so."""

    pending: int
    in_time: int  # every process of the wait set confirmed or left
    by_time: int  # some process had neither confirmed nor left when S + 0.5 s had passed
    seconds: float  # from order to effect, all of them together
    within: tuple[tuple[float, int], ...]  # seconds -> how many took at most that long


class Effect(NamedTuple):
    """How far a change is: it is effective once every session of the wait set has left it."""

    rule: Rule
    created: bool
    effective: bool
    effective_at: int  # Unix ms, 0 = not effective yet
    effective_by: int
    past_dot: tuple[PastDot, ...]  # fixed once effective, () before
    quiet_at: int  # 0 = not effective yet, or something is still past its dot and unsettled
    confirmed: tuple[str, ...]  # session ids
    unconfirmed: tuple[str, ...]  # still waited for; once effective: those that only the time has stopped


class Orders(Protocol):
    """Changing the rule table, as the API sees it. `wait` is in seconds; an order is followed beyond it."""

    async def put(self, rule: Rule, actor: Actor, wait: float, until: str) -> Effect:
        """As RuleStore.put, with `actor` as its author; waits until the change is "effective", "quiet" or "swept", as
        `until` says."""
        ...

    async def edit(self, rule_id: str, edit: Edit, actor: Actor, wait: float, until: str) -> Effect | None:
        """As RuleStore.edit, followed like `put`. None: no such rule."""
        ...

    async def remove(self, rule_id: str, actor: Actor, wait: float, kind: Kind | None = None) -> Effect | None:
        """Waits until the removal is effective. None: no such rule, or none of that kind."""
        ...

    async def effect(self, rule: Rule) -> Effect:
        """How far the rule's last change is. A change that an earlier process left behind is followed from then on."""
        ...

    async def effect_of_removed(self, removed: RemovedRule) -> Effect:
        """How far the last change of a rule was when the rule was removed."""
        ...

    def figures(self) -> OrderFigures:
        """Of the orders of this process since its start."""
        ...


class SetEffect(NamedTuple):
    """An order for many rules; the rule of the effect stands for the set."""

    effect: Effect
    placed: SetPlaced


class SetOrders(Protocol):
    """Orders for many rules at once, as the API sees them."""

    async def put(
        self, about: RuleSet, rules: Sequence[Rule], remove: Sequence[str], actor: Actor, wait: float, until: str
    ) -> SetEffect:
        """As RuleSets.put_set, followed like Orders.put. Raises OutcomeUnknown where the store failed in the middle;
        the rules that were made are followed all the same."""
        ...

    async def effect(self, stored: StoredSet, standing: Sequence[Rule]) -> Effect:
        """How far the order is; `standing` are its rules that stand as it made them."""
        ...
