"""The rule table as other services see it, and the rule store as the rules service sees it."""

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from mta.model.ids import DeliveryId
from mta.model.mail import QueueKey, Record
from mta.model.rules import Change, Effective, ForcedError, Head, PastDot, SessionState
from mta.policy.rule_table import RuleTable

Edit = Callable[[ForcedError], ForcedError]


class Rules(Protocol):
    """The current table of this process, fresh until; reading it is synchronous and costs nothing."""

    @property
    def table(self) -> RuleTable:
        """Immutable; swapped whole. Its `head` tells which."""
        ...

    def may_begin(self) -> bool:
        """Whether a MAIL may be written now: now() < permit_until - S/2."""
        ...

    def may_dot(self) -> bool:
        """Whether a final dot may be written now: now() < permit_until. Asked before and after the write."""
        ...

    def on_change(self, abort: Callable[[RuleTable], Sequence[PastDot]]) -> None:
        """Register the synchronous hook run right after each swap and before it is confirmed: it aborts every
        transaction that matches the new table and has not handed over its dot, and returns those that have."""
        ...

    def on_permit(self, resume: Callable[[], None]) -> None:
        """Register a hook run after each renewed permit (deliveries that waited for one go on)."""
        ...

    def on_lost(self, drop: Callable[[], None]) -> None:
        """Register a hook run when the session was given up for dead: every claim held is someone else's now."""
        ...


class Confirmed(NamedTuple):
    """The answer to rules_confirm."""

    ok: bool  # False: BEHIND, nothing was written
    head: Head  # the store's
    changes: tuple[Change, ...] = ()  # from the asked head to `head`, in order
    reload: bool = False  # `changes` cannot lead there (no successor, or too far behind): load the whole table


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
        """Compare and register in one step. seq 1 registers this process; may be repeated. Raises SessionLost."""
        ...

    async def leave(self) -> None:
        """The goodbye: after the last dot; claims must have been given back."""
        ...

    async def load(self) -> tuple[Head, tuple[ForcedError, ...]]:
        """The whole table, without rules that cannot be read (alarm)."""
        ...

    async def put(self, rule: ForcedError, change: str) -> tuple["Put", frozenset[str]]:
        """Create, or replace the rule of the same selectors (its id, created_* and counters stay): what was written,
        and the wait set: the sessions that were registered at that moment."""
        ...

    async def edit(self, rule_id: str, edit: Edit, change: str, by: str = "") -> tuple["Put", frozenset[str]] | None:
        """Replace the rule by what `edit` makes of it as it stands then; `edit` may be called again, and refuses by
        raising. Id, selectors and created_* stay. None: no such rule."""
        ...

    async def remove(self, rule_id: str, change: str, by: str = "") -> tuple["Removed", frozenset[str]] | None:
        """None: no such rule."""
        ...

    async def save_effect(self, effect: Effective) -> None:
        """Keep it by rule id, unless one of the same or a later generation is there already."""
        ...

    async def effects(self, rule_ids: Sequence[str] | None = None) -> dict[str, Effective]:
        """By rule id, of these rules or of all; what is of another generation than the rule says nothing about it."""
        ...

    async def sessions(self) -> dict[str, SessionState]: ...

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


class Put(NamedTuple):
    """A written rule."""

    rule: ForcedError
    head: Head
    created: bool


class Removed(NamedTuple):
    """A removed rule."""

    rule: ForcedError
    head: Head


class Match(NamedTuple):
    """A queued delivery that a sweep found to match; `event` is its encoded Intercepted event."""

    id: DeliveryId
    rule: str  # the rule that wins
    tags: tuple[str, ...]
    event: bytes
    uncertain: bool
    left_rule: str = ""  # `deferred_by` of its record


class Queued(NamedTuple):
    """A delivery that a sweep sees."""

    id: DeliveryId
    record: Record
    reclaims: int


class InterceptAnswer(enum.Enum):
    OK = "ok"
    OLD_RULES = "old_rules"


class SweepStore(Protocol):
    """What a sweep walks over; raises StoreAway, StoreError."""

    lanes: int

    async def pools(self) -> list[str]: ...

    async def queues(self, lane: int, pool: str) -> list[QueueKey]:
        """Every queue of the pool that has deliveries not claimed."""
        ...

    async def scan(self, lane: int, queue: QueueKey, cursor: int, most: int) -> tuple[int, list[Queued]]:
        """A piece of a queue and the next cursor (0 = from the start, and the end). What was in the queue for the
        whole walk is seen at least once."""
        ...

    async def intercept(
        self, lane: int, queue: QueueKey, generation: int, matches: Sequence[Match]
    ) -> tuple[InterceptAnswer, int]:
        """End what is still in that queue (at most 100); how many were."""
        ...

    async def sweeps(self) -> dict[str, "SweepState"]:
        """By rule id."""
        ...

    async def save_sweep(self, state: "SweepState", lease: float) -> bool:
        """Take or keep the sweep for `lease` seconds as `state.owner`; False: another owner has it."""
        ...

    async def backlog(self, lane: int) -> int:
        """Event entries that the journal has not made durable yet."""
        ...


class SweepState(NamedTuple):
    """How far the sweep of a rule is; times are Unix milliseconds."""

    rule: str
    generation: int
    state: str  # "running" | "waiting" (for the rule to be effective) | "done" | "stopped" (rule lifted)
    seen: int  # deliveries looked at: those intercepted by earlier passes, and this pass's
    matched: int  # of them intercepted for this rule
    started_at: int
    updated_at: int
    effective_at: int  # 0 = not yet: the last pass has not begun
    owner: str = ""
    share: float = 0.0  # of this pass that is walked, 0 to 1


class Orders(Protocol):
    """Changing the rule table, as the API sees it; raises StoreAway, BadValue."""

    async def put(self, rule: ForcedError, wait: float, until: str) -> "Effect":
        """`until`: "effective" | "quiet" | "swept": what is waited for, at most `wait` seconds."""
        ...

    async def edit(self, rule_id: str, edit: Edit, by: str, wait: float, until: str) -> "Effect | None":
        """As RuleStore.edit, followed like `put`. None: no such rule."""
        ...

    async def remove(self, rule_id: str, by: str, wait: float) -> "Effect | None": ...

    async def effect(self, rule: ForcedError) -> "Effect":
        """What is known now of the rule's last change; made good from then on where nobody follows it any more."""
        ...


class Effect(NamedTuple):
    """What is known of a change: effective_at is set once every session of the wait set has left it."""

    rule: ForcedError
    created: bool
    effective: bool
    effective_at: int
    effective_by: int
    past_dot: tuple[PastDot, ...]  # fixed once effective, () before
    quiet_at: int  # 0 = not effective yet, or something is still past its dot and unsettled
    confirmed: tuple[str, ...]  # session ids
    unconfirmed: tuple[str, ...]  # still waited for; once effective: those that the time alone has stopped
