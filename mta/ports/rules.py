"""The rule table as other services see it, and the rule store as the rules service sees it."""

import enum
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from mta.model.actor import Actor
from mta.model.endings import Shared
from mta.model.errors import UnreadableRule
from mta.model.ids import DeliveryId, MessageId
from mta.model.mail import QueueKey, Record
from mta.model.rules import Build, Change, Effective, Head, Kind, PastDot, Rule, SessionState
from mta.policy.rule_table import RuleTable

Edit = Callable[[Rule], Rule]


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
        transaction that matches the new table and has not handed over its dot, and returns those that have, and those
        that have begun and may finish."""
        ...

    def canceled(self, message: MessageId) -> bool:
        """Whether the cancellation of that message was asked for in the last minutes; asked when a claim comes in."""
        ...

    def on_cancel(self, abort: Callable[[Collection[MessageId]], None]) -> None:
        """Register the synchronous hook run when cancellations become known, before the permit is renewed: it ends all
        deliveries of these messages that have not handed over their dot, as canceled."""
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

    async def removed(self, rule_id: str) -> "RemovedRule | None":
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

    async def put(self, rule: Rule, change: str) -> tuple["Put", frozenset[str]]:
        """Create, or replace the rule of the same selectors (its id, created_* and counters stay): what was written,
        and the wait set: the sessions that were registered at that moment. Raises OldReaders, UnreadableRule."""
        ...

    async def edit(self, rule_id: str, edit: Edit, change: str, by: str = "") -> tuple["Put", frozenset[str]] | None:
        """Replace the rule by what `edit` makes of it as it stands then; `edit` may be called again, and refuses by
        raising. Id, selectors and created_* stay. A pause may become a forced error: raises Exists where there is one
        with its selectors. None: no such rule. Raises OldReaders, UnreadableRule."""
        ...

    async def remove(
        self, rule_id: str, change: str, by: str = "", kind: Kind | None = None
    ) -> tuple["Removed", frozenset[str]] | None:
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


class Match(NamedTuple):
    """What a sweep makes of a waiting delivery; `event` is the encoded event that says so."""

    id: DeliveryId
    queue: QueueKey
    rule: str  # the rule that wins; "" = none, with RELEASE
    tags: tuple[str, ...]
    event: bytes
    uncertain: bool
    left_rule: str = ""  # `deferred_by` of its record
    record: Record | None = None  # with HOLD and RELEASE: the new one
    reclaims: int = 0  # with a new record: how often its claim was lost
    final: bytes = b""  # with INTERCEPT: encoded Final
    spare_ms: int = 0  # with INTERCEPT: how long it is kept for an undo, 0 = not
    raw: bytes = b""  # the record that this was decided by: with another it is left alone
    shared: Shared | None = None  # with INTERCEPT: what its Final names by a digest


class Queued(NamedTuple):
    """A delivery that a sweep sees."""

    id: DeliveryId
    queue: QueueKey
    due_at: int
    record: Record
    reclaims: int
    raw: bytes = b""  # the record as the store has it


class SweepMove(enum.Enum):
    """What a sweep's step makes of waiting deliveries."""

    INTERCEPT = "intercept"
    HOLD = "hold"  # by the pause `rule`; keeps its due time
    RELEASE = "release"  # from a pause, back to its queue at its due time


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

    async def pauses(self, lane: int) -> list[str]:
        """Ids of the pauses that hold something there, also of those that were lifted."""
        ...

    async def scan(self, lane: int, queue: QueueKey, cursor: int, most: int) -> tuple[int, list[Queued]]:
        """A piece of a queue and the next cursor (0 = from the start, and the end). What was in the queue for the
        whole walk is seen at least once."""
        ...

    async def scan_held(self, lane: int, pause: str, cursor: int, most: int) -> tuple[int, list[Queued]]:
        """The same for what a pause holds."""
        ...

    async def first_held(self, lane: int, pause: str, most: int) -> list[Queued]:
        """What the pause holds, in the order in which it is due."""
        ...

    async def move(
        self, lane: int, source: str, move: SweepMove, generation: int, matches: Sequence[Match]
    ) -> tuple[InterceptAnswer, int]:
        """Move what is still at its source (at most 100, each once): the pause `source`, or "" = the queues of the
        matches; how many were."""
        ...

    async def spared(self, lane: int) -> list[str]:
        """Ids of the rules of which something is kept for an undo there."""
        ...

    async def drop_spared(self, lane: int, rule: str, most: int, early: bool = False) -> int:
        """Let go of at most `most` spared deliveries whose time is over, or, `early`, of the oldest; how many were."""
        ...

    async def traffic(self) -> int:
        """Deliveries accepted and delivered so far: what other mail does while a sweep goes on."""
        ...

    async def memory_share(self) -> float:
        """How much of the memory that the store may use is used, 0 to 1; of the machine's where it has no limit."""
        ...

    async def sweeps(self) -> dict[str, "SweepState"]:
        """By rule id."""
        ...

    async def sweep(self, rule: str) -> "SweepState | None":
        """Of the rule with this id; None: no sweep of it has begun."""
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


class RemovedRule(NamedTuple):
    """What is remembered of a rule that was removed."""

    rule: Rule
    at: int  # when it was removed, Unix ms
    effective: Effective | None  # of the last generation that was known to be effective
    sweep: SweepState | None


class Orders(Protocol):
    """Changing the rule table, as the API sees it; raises StoreAway, BadValue."""

    async def put(self, rule: Rule, actor: Actor, wait: float, until: str) -> "Effect":
        """`actor` is its author. `until`, at most `wait` seconds: "effective" | "quiet" | "swept"."""
        ...

    async def edit(self, rule_id: str, edit: Edit, actor: Actor, wait: float, until: str) -> "Effect | None":
        """As RuleStore.edit, followed like `put`. None: no such rule."""
        ...

    async def remove(self, rule_id: str, actor: Actor, wait: float, kind: Kind | None = None) -> "Effect | None":
        """None: no such rule, or none of that kind."""
        ...

    async def effect(self, rule: Rule) -> "Effect":
        """What is known now of the rule's last change; made good from then on where nobody follows it any more."""
        ...

    async def effect_of_removed(self, removed: RemovedRule) -> "Effect":
        """What was known of the last change of a rule before it was removed."""
        ...

    def figures(self) -> "OrderFigures":
        """What the orders of this process came to since its start."""
        ...


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
