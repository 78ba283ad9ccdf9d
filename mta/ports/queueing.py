"""The queue store as intake and delivery see it: accept, claim, settle.

Every call may raise StoreAway (unknown whether it happened), StoreError. Each call names its other errors.
"""

import enum
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from mta.model.brakes import RateCount
from mta.model.endings import Shared
from mta.model.ids import DeliveryId, MessageId
from mta.model.mail import Claimed, NewMessage, QueueKey, QueueShare, Record
from mta.model.outcomes import Class, Reply
from mta.ports.idempotency import CallPart, KnownCalls


class DeciderKind(enum.StrEnum):
    """The kinds of things that may decide about mail while it is accepted."""

    RULE = "rule"
    SUPPRESSION = "suppression"
    QUOTA = "quota"


class DecidedBy(NamedTuple):
    """The one that decided, by its id."""

    kind: DeciderKind
    id: str


class EndedAtAcceptance(NamedTuple):
    """A delivery that is accepted and ended in the same step."""

    number: int  # of the recipient, from 1
    ended: Class  # the class that it ends in
    by: DecidedBy
    event: bytes  # encoded Event
    final: bytes  # encoded Final
    spare_ms: int  # how long it is kept for an undo of the rule that decided, 0 = not


class Rejected(NamedTuple):
    """A message that is refused: the store keeps only its counts and events."""

    by: DecidedBy
    reply: Reply
    tags: tuple[str, ...]  # as they are counted
    events: tuple[bytes, ...]  # encoded Event, one for each recipient


class AcceptanceDecision(NamedTuple):
    """The decisions about the messages of one batch, and the rule table that they come from."""

    generation: int = -1  # -1 = the rules were not asked
    ended: Mapping[MessageId, Sequence[EndedAtAcceptance]] = {}
    rejected: Mapping[MessageId, Rejected] = {}


UNDECIDED = AcceptanceDecision()


class Accepts(Protocol):
    """The accept step; batches are numbered per lane and session so that a lost reply can be asked for again."""

    lanes: int

    async def accept(
        self,
        lane: int,
        messages: Sequence[NewMessage],
        decision: AcceptanceDecision = UNDECIDED,
        reserved: Mapping[QueueShare, int] = {},
        calls: Sequence[CallPart] = (),
    ) -> Mapping[QueueShare, Sequence[Claimed]] | KnownCalls | None:
        """Store all of `messages` (ids of `lane`, at most 100, without those that `decision` rejects) and the counts
        and events of rejected ones; or store nothing. Of the deliveries that are due now, up to `reserved` of each
        share of a queue are claimed for this session, unless older mail of that share is due in the lane.

        Returns the claimed deliveries once all is persisted. None: `decision` comes from a rule table below the lane's
        barrier, nothing was stored, ask the rules again. KnownCalls: some of `calls`, the idempotent ones among the
        messages, may not run, nothing was stored, send the others again.

        A lost reply is asked for again under the same number until `redis.timeout`; then the number is voided. Claims
        whose answer was lost go back to their queues.
        One call per lane at a time. Raises StoreFull, BacklogFull, StoreUnsafe, SessionLost: nothing was stored, and
        the number is void, so nothing can be later (say 451/452). Raises Ambiguous: not even that could be asked;
        close the connections without a reply.
        """
        ...


class Ambiguous(Exception):
    """Whether the batch was accepted cannot be found out: no reply may be given for it."""


class Due(NamedTuple):
    """A share of a queue that has work at `at` (Unix ms) or later (early is harmless, late is not)."""

    queue: QueueKey
    at: int
    share: str = ""


class ClaimRequest(NamedTuple):
    """How many deliveries of a share of a queue may be claimed now."""

    queue: QueueKey
    most: int
    share: str = ""


class Claims(Protocol):
    """The right to attempt deliveries, owned by this process's session."""

    lanes: int

    async def agenda(self, lane: int, pools: Sequence[str], most: int) -> list[Due]:
        """The queues of `pools` that are due first, in each share earliest first, at most `most` of a pool's
        share, also those not yet due."""
        ...

    async def claim(self, lane: int, requests: Sequence[ClaimRequest], most_bytes: int) -> list[Claimed]:
        """Claim due deliveries of the requested queues, oldest first. Raises SessionLost."""
        ...

    async def settle(
        self, lane: int, changes: Sequence["Settlement"], rates: Sequence[RateCount] = ()
    ) -> list["Settled"]:
        """End claims in one atomic step (at most 100, all of `lane`); the answers are in order. `rates` are counted of
        those that are settled by this call."""
        ...

    async def note(self, lane: int, events: Sequence[bytes]) -> None:
        """Append encoded events that change no state."""
        ...


class Move(enum.Enum):
    """The action of a settlement on a claimed delivery."""

    END = "end"  # in class `ended`
    QUEUE = "queue"  # back to its queue, due at `due_at`
    PARK = "park"
    HOLD = "hold"  # by the pause `rule`; `due_at` is its place when it is released


class Settlement(msgspec.Struct, gc=False):
    """One delivery's way out of its claim; counters, content and events change in the same step."""

    id: DeliveryId
    token: bytes
    queue: QueueKey
    move: Move
    tags: tuple[str, ...]  # as they are counted
    event: bytes  # encoded Event, b"" = none
    # Appended instead of `event` when the claim is no longer ours; b"" = none, None = `event` itself, as a LateOutcome.
    late_event: bytes | None
    ended: Class | None = None  # with END
    stage: str = ""  # with INTERCEPTED: the forced stage, counted on its own
    due_at: int = 0  # with QUEUE and HOLD
    record: Record | None = None  # with QUEUE, HOLD and PARK: the new record, None = unchanged
    generation: int = -1  # decided with the rules: of that table (OLD_RULES below the barrier); -1 = without them
    rule: str = ""  # the rule that decided, "" = none
    uncertain: bool = False
    delivered_late: bool = False  # the remote took it: a delivery that meanwhile ended by order moves to delivered
    past_dot_of: tuple[str, ...] = ()
    deferred_by_rule: bool = False  # with QUEUE: `rule` is a 4xx rule; the new record's `deferred_by` names it
    again: bool = False  # its first call's answer was lost: STALE is no news if that call was carried out
    left_rule: str = ""  # `deferred_by` of the record as it was claimed
    final: bytes = b""  # with END: encoded Final
    shared: Shared | None = None  # with END: what its Final names by a digest
    spare_ms: int = 0  # with INTERCEPTED: how long record and content are kept for an undo, 0 = not
    share: str = ""  # of the queue, as the claim names it
    canceled_by: str = ""  # `settle` sets it where it answers CANCEL: the author of the order


class Settled(enum.Enum):
    """The answer of the store to a settlement."""

    OK = "ok"
    STALE = "stale"  # the claim was not ours any more; only a late event was written
    OLD_RULES = "old_rules"  # decided by a rule table below the lane's barrier: nothing was done, decide again
    CANCEL = "cancel"  # it would have lived on, but somebody cancels it: nothing was done, end it as canceled


class Reclaims(Protocol):
    """Taking back what a dead session held; any process may, any number of times."""

    lanes: int

    async def holders(self) -> set[str]:
        """Sessions that may hold claims, also those that are not registered."""
        ...

    async def reclaim(self, lane: int, session: str, most: int) -> int:
        """Return claims of the session to their queues, due now; how many, 0 = it holds nothing more in the lane."""
        ...
