"""Where rules and sessions are kept: confirmations, changes, the effects of changes; raises StoreAway, StoreError."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from mta.model.errors import UnreadableRule
from mta.model.ids import MessageId
from mta.model.rules import Build, Change, Effective, Head, Kind, PastDot, Rule, SessionState
from mta.model.sweeps import SweepState

Edit = Callable[[Rule], Rule]


class Confirmed(NamedTuple):
    """The answer to rules_confirm."""

    ok: bool  # False: BEHIND, nothing was written
    head: Head  # the store's
    changes: tuple[Change, ...] = ()  # from the asked head to `head`, in order
    canceled: tuple[MessageId, ...] = ()  # asked for since the last answer that was OK; told with OK only
    reload: bool = False  # `changes` cannot lead there (no successor, or too far behind): load the whole table


class Step(NamedTuple):
    """One change of the rule table, as the next one knows it."""

    head: Head
    was: int = 0  # put again after a failover: the generation of the order; 0 = it is an order


class Trail(NamedTuple):
    """How the rule table came to where it is."""

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
    """A removed rule."""

    rule: Rule
    head: Head


class RemovedRule(NamedTuple):
    """What is remembered of a rule that was removed."""

    rule: Rule
    at: int  # when it was removed, Unix ms
    effective: Effective | None  # of the last generation that was known to be effective
    sweep: SweepState | None


class RuleStore(Protocol):
    """Rules and sessions in `{rules}`; raises StoreAway, StoreError."""

    @property
    def session(self) -> str: ...

    def renew(self) -> str:
        """Go on under a new session, after the old one was given up for dead; not registered before confirmed."""
        ...

    async def confirm(
        self, seq: int, head: Head, past_dot: Sequence[PastDot], metrics: Mapping[str, float]
    ) -> Confirmed:
        """Compare and register in one step. seq 1 registers this process; may be repeated, and the
        session's number in the store moves with each that runs. StoreAway also where too few replicas have it:
        nobody may act upon what a failover may forget. Raises SessionLost."""
        ...

    async def cannot_read(self, seq: int, reason: str, metrics: Mapping[str, float]) -> None:
        """This process lives, and confirms nothing because of a rule that it cannot read; registers it where seq is 1.
        Raises SessionLost."""
        ...

    async def leave(self) -> None:
        """The goodbye: after the last dot; claims must have been given back."""
        ...

    async def head(self) -> Head: ...

    async def load(self) -> tuple[Head, tuple[Rule, ...]]:
        """The whole table. Raises UnreadableRule: nothing may be decided by a part of it."""
        ...

    async def load_readable(self) -> tuple[Head, tuple[Rule, ...], Mapping[str, UnreadableRule]]:
        """The same to show, never to decide by: the rules that can be read, and by id those that cannot."""
        ...

    async def rule(self, rule_id: str) -> Rule | None:
        """Raises UnreadableRule."""
        ...

    async def removed(self, rule_id: str) -> RemovedRule | None:
        """A rule that was removed within `status.retention`; None: nothing is known of it."""
        ...

    async def changes(self, since: Head) -> tuple[Change, ...]:
        """From `since` to the head, in order; () where they do not lead there, are too many or cannot all be read: load
        the table."""
        ...

    async def knows(self, head: Head) -> bool:
        """Whether the change that made this head is one of the store's."""
        ...

    async def trail(self, since: int) -> Trail:
        """The changes from generation `since` on that lead to the head."""
        ...

    async def regain(self, lost: Head, rules: Sequence[Rule], stored: Mapping[str, Rule], last: bool) -> bool:
        """Put rules again, by id, that a failover lost; `lost` is the head that it forgot, `stored` what stands in the
        store of these rules. No generation up to `lost` is used again. True: done, by this call or by another process
        that knew as much; False: something has changed meanwhile, nothing was written, look again."""
        ...

    async def put(self, rule: Rule, change: str) -> tuple[Put, frozenset[str]]:
        """Create, or replace the rule of the same selectors (its id, created_* and counters stay): what was written,
        and the wait set: the sessions that were registered at that moment. Raises OldReaders, UnreadableRule."""
        ...

    async def edit(self, rule_id: str, edit: Edit, change: str, by: str = "") -> tuple[Put, frozenset[str]] | None:
        """Replace the rule by what `edit` makes of it as it stands then; `edit` may be called again, and refuses by
        raising. Id, selectors and created_* stay. A pause may become a forced error: raises Exists where there is one
        with its selectors. None: no such rule. Raises OldReaders, UnreadableRule."""
        ...

    async def remove(
        self, rule_id: str, change: str, by: str = "", kind: Kind | None = None
    ) -> tuple[Removed, frozenset[str]] | None:
        """None: no such rule, or none of that kind. Raises UnreadableRule."""
        ...

    async def save_effect(self, effect: Effective) -> None:
        """Keep it by rule id, unless one of the same or a later generation is there already."""
        ...

    async def effects(self, rule_ids: Sequence[str] | None = None) -> dict[str, Effective]:
        """By rule id, of these rules or of all; what is of another generation than the rule says nothing about it."""
        ...

    async def sessions(self) -> dict[str, SessionState]: ...

    async def builds(self) -> dict[str, Build]:
        """By session, of those that said."""
        ...

    async def mark_dead(self, session: str, seq: int | None) -> bool:
        """Give a session up: `seq` is what it stood still at (None: its process was reaped). False: it has moved on."""
        ...

    async def forget(self, session: str) -> None:
        """Remove a dead session, after its claims were taken back in every lane."""
        ...

    async def past_dot(self, rule_id: str) -> list[PastDot]:
        """All that was listed for the rule, by whichever session."""
        ...

    async def raise_barrier(self, generation: int) -> None:
        """In every lane: decisions by older tables answer OLD_RULES from now on."""
        ...

    async def max_staleness(self) -> float:
        """S, seconds: one value for the cluster."""
        ...

    def on_published(self, hint: Callable[[], None]) -> None:
        """Register a hook run when the store says that the head moved; a hint, it may never come."""
        ...
