"""Orders: changes of the rule table, followed until they are effective; raises StoreAway, BadValue."""

from typing import NamedTuple, Protocol

from mta.model.actor import Actor
from mta.model.rules import Kind, PastDot, Rule
from mta.ports.rule_store import Edit, RemovedRule


class OrderFigures(NamedTuple):
    """How long orders took to be effective, and how they became so."""

    pending: int
    in_time: int  # every process of the wait set confirmed or left
    by_time: int  # the time alone has stopped somebody
    seconds: float  # from order to effect, all of them together
    within: tuple[tuple[float, int], ...]  # seconds -> how many took at most that long


class Effect(NamedTuple):
    """What is known of a change: effective_at is set once every session of the wait set has left it."""

    rule: Rule
    created: bool
    effective: bool
    effective_at: int
    effective_by: int
    past_dot: tuple[PastDot, ...]  # fixed once effective, () before
    quiet_at: int  # 0 = not effective yet, or something is still past its dot and unsettled
    confirmed: tuple[str, ...]  # session ids
    unconfirmed: tuple[str, ...]  # still waited for; once effective: those that the time alone has stopped


class Orders(Protocol):
    """Changing the rule table, as the API sees it; raises StoreAway, BadValue."""

    async def put(self, rule: Rule, actor: Actor, wait: float, until: str) -> Effect:
        """`actor` is its author. `until`, at most `wait` seconds: "effective" | "quiet" | "swept"."""
        ...

    async def edit(self, rule_id: str, edit: Edit, actor: Actor, wait: float, until: str) -> Effect | None:
        """As RuleStore.edit, followed like `put`. None: no such rule."""
        ...

    async def remove(self, rule_id: str, actor: Actor, wait: float, kind: Kind | None = None) -> Effect | None:
        """None: no such rule, or none of that kind."""
        ...

    async def effect(self, rule: Rule) -> Effect:
        """What is known now of the rule's last change; made good from then on where nobody follows it any more."""
        ...

    async def effect_of_removed(self, removed: RemovedRule) -> Effect:
        """What was known of the last change of a rule before it was removed."""
        ...

    def figures(self) -> OrderFigures:
        """What the orders of this process came to since its start."""
        ...
