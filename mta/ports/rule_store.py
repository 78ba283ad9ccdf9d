"""Where rules, their changes and the effects of these are kept; raises StoreAway, StoreError."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from mta.model.actor import NOBODY, Actor
from mta.model.errors import UnreadableRule
from mta.model.rules import Change, Effective, Head, Kind, PastDot, Rule
from mta.model.sweeps import SweepState
from mta.ports.sessions import SessionStore

Edit = Callable[[Rule], Rule]


class Step(NamedTuple):
    """One change of the rule table."""

    head: Head
    was: int = 0  # put again after a failover: the generation of the order; 0 = it is an order


class Trail(NamedTuple):
    """The changes that led to the head of the rule table."""

    steps: tuple[Step, ...]  # the oldest that is kept, then those that were asked for, in order
    regained: int  # generation up to which changes that a failover lost were put again


class Exists(Exception):
    """There is another rule with this identity already; the argument is its id."""


class Put(NamedTuple):
    """A written rule."""

    rule: Rule
    head: Head
    created: bool
    before: int = 0  # generation of the rule that it replaced, 0 = there was none


class Removed(NamedTuple):
    """The answer to a removal."""

    rule: Rule
    head: Head


class RemovedRule(NamedTuple):
    """A rule that was removed a while ago."""

    rule: Rule
    at: int  # when it was removed, Unix ms
    effective: Effective | None  # of the last generation that was known to be effective
    sweep: SweepState | None


class RuleStore(SessionStore, Protocol):
    """The rule table in `{rules}`, with the sessions that confirm it; raises StoreAway, StoreError."""

    async def head(self) -> Head: ...

    async def load(self) -> tuple[Head, tuple[Rule, ...]]:
        """The whole table. Raises UnreadableRule: nothing may be decided by a part of it."""
        ...

    async def load_readable(self) -> tuple[Head, tuple[Rule, ...], Mapping[str, UnreadableRule]]:
        """The same to show, never to decide by: the rules that can be read, and by id those that cannot."""
        ...

    async def ids_of(self, rules: Sequence[Rule]) -> list[str]:
        """The ids of the rules that have the kinds and selectors of these, "" where there is none."""
        ...

    async def rule(self, rule_id: str) -> Rule | None:
        """Raises UnreadableRule."""
        ...

    async def standing(self, set_id: str, rule_ids: Sequence[str]) -> list[Rule]:
        """Those of these rules that stand as the set made them. Raises UnreadableRule."""
        ...

    async def removed(self, rule_id: str) -> RemovedRule | None:
        """A rule that was removed within `status.retention`; None: nothing is known of it."""
        ...

    async def changes(self, since: Head) -> tuple[Change, ...]:
        """From `since` on, in order; up to the head where they are not many. () where they do not lead there, are too
        many or cannot all be read: load the table."""
        ...

    async def knows(self, head: Head) -> bool:
        """Whether the change that made this head is one of the store's."""
        ...

    async def trail(self, since: int) -> Trail:
        """The changes from generation `since` on that lead to the head."""
        ...

    async def put(self, rule: Rule, change: str, by: Actor = NOBODY) -> tuple[Put, frozenset[str]]:
        """Create a rule, or replace the rule of the same selectors (its id, created_* and counters stay). Answers with
        the wait set: the sessions that were registered at that moment. Raises OldReaders, UnreadableRule."""
        ...

    async def edit(
        self, rule_id: str, edit: Edit, change: str, by: Actor = NOBODY
    ) -> tuple[Put, frozenset[str]] | None:
        """Replace the rule, as it is in the store then, by the answer of `edit`, which may be called again, and refuses
        by raising. Id, selectors and created_* stay. A pause may become a forced error: raises Exists where there is
        one with its selectors. None: no such rule. Raises OldReaders, UnreadableRule."""
        ...

    async def remove(
        self, rule_id: str, change: str, by: Actor = NOBODY, kind: Kind | None = None
    ) -> tuple[Removed, frozenset[str]] | None:
        """None: no such rule, or none of that kind. Raises UnreadableRule."""
        ...

    async def canary(self, change: str) -> tuple[Head, frozenset[str]]:
        """Move the head by a change without a rule, event or audit. Answers with the wait set, as `put`."""
        ...

    async def regain(self, lost: Head, rules: Sequence[Rule], stored: Mapping[str, Rule], last: bool) -> bool:
        """Put rules again, by id, that a failover lost; `lost` is the head that it forgot, `stored` are those of these
        rules that the store has. No generation up to `lost` is used again. True: done, by this call or by another
        process that knew as much; False: something has changed meanwhile, nothing was written, look again."""
        ...

    async def save_effect(self, effect: Effective, rule: Rule, removed: bool = False) -> None:
        """Keep it by the order's id, with its event, unless one of the same or a later generation is there already.
        `rule` is as the order left it; that of a rule that was `removed` stands with what is remembered of it."""
        ...

    async def effects(self, order_ids: Sequence[str]) -> dict[str, Effective]:
        """By the order's id. An effect of an earlier generation than the rule's says nothing about the rule."""
        ...

    async def past_dot(self, order_id: str) -> list[PastDot]:
        """All deliveries that any session listed for the order."""
        ...

    async def raise_barrier(self, generation: int) -> None:
        """In every lane: decisions by older tables answer OLD_RULES from now on."""
        ...
