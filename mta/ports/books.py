"""The books as the API reads them: counters by tag, rule and queue; raises StoreAway, StoreError."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

from mta.model.mail import QueueKey, Record


class QueueCounts(NamedTuple):
    """One queue over all lanes."""

    queue: QueueKey
    due: int  # due now
    scheduled: int  # due later: a retry, or a time that the sender asked for
    claimed: int
    held: int = 0
    next_due: int = 0  # when the first of what is due or scheduled is due, Unix ms, 0 = none
    oldest: int = 0  # when the oldest was accepted, Unix ms, 0 = none; where a lane has more than 500 that wait, the
    # oldest of the 250 due first and the 250 due last
    pauses: Mapping[str, int] = MappingProxyType({})  # id of a pause -> how many it holds
    first: Record | None = None  # of what is due first
    parked: int = 0
    tried: Record | None = None  # of a delivery that waits and was attempted: it has the reply of its last attempt


class PoolDepth(NamedTuple):
    """The deliveries of one pool that have not ended, by state; `oldest` as in QueueCounts, of smaller samples."""

    due: int = 0
    scheduled: int = 0
    claimed: int = 0
    held: int = 0
    oldest: int = 0  # when the oldest was accepted, Unix ms, 0 = none

    def plus(self, other: "PoolDepth") -> "PoolDepth":
        """Of both together."""
        return PoolDepth(
            self.due + other.due,
            self.scheduled + other.scheduled,
            self.claimed + other.claimed,
            self.held + other.held,
            min(filter(None, (self.oldest, other.oldest)), default=0),
        )


class RuleAccount(NamedTuple):
    """The figures of one rule. Those of a lane are of one moment, so that none of them contradicts another."""

    counts: Mapping[str, int]  # as Books.rule gives them
    of_tag: Mapping[str, int] | None  # as Books.tag gives them; None = none was asked for
    undoable: int  # intercepted deliveries that can be undone
    undo_until: int  # until when all of them can be undone, Unix ms, 0 = nothing can


class Books(Protocol):
    """Each answer sums the lanes, read one after the other: every lane balances at every instant."""

    async def total(self) -> dict[str, int]:
        """Field -> count: "accepted", the classes ("intercepted:<stage>" by stage), "rejected", "deferred_by_rule",
        "uncertain", "undone" (interceptions that an undo took back)."""
        ...

    async def tag(self, tag: str, tenant: str = "") -> dict[str, int]:
        """The same fields for one tag, of all mail, or of the mail of one tenant alone; {} = never seen."""
        ...

    async def tags(self, most: int, cursor: str) -> tuple[list[str], str]: ...

    async def rule(self, rule_id: str) -> dict[str, int]:
        """Fields "met" (each delivery once, when the rule first met it), "intercepted:<stage>", "after",
        "deferred", "held", "other", "undone", "uncertain", "hits", "last_hit_at": met = intercepted + after +
        deferred + held + other + undone."""
        ...

    async def account(self, rule_id: str, tag: str | None, now_ms: int) -> RuleAccount:
        """The figures of a rule, and of the tag where it is given, at `now_ms`."""
        ...

    async def together(self, rule_ids: Sequence[str], now_ms: int) -> RuleAccount:
        """The figures of many rules, summed, in a few calls; `of_tag` is None."""
        ...

    async def rules(self, rule_ids: Sequence[str]) -> list[dict[str, int]]:
        """The same of many rules, in their order, in a few calls."""
        ...

    async def unseen(self, tags: Sequence[str]) -> list[str]:
        """Those of the tags that no accepted mail has carried."""
        ...

    async def tags_lately(self, tenant: str = "") -> set[str]:
        """Tags that mail (of the tenant) carried lately; not all of them where there are many. A bounded number of
        calls."""
        ...

    async def unmet(self, domains: Sequence[str]) -> list[str]:
        """Those of the domains (`*.x`: each one below x) for which no delivery is queued or held."""
        ...

    async def queues(
        self,
        pool: str | None = None,
        domain: str | None = None,
        after: QueueKey | None = None,
        most: int | None = None,
        tenant: str | None = None,
    ) -> list[QueueCounts]:
        """The queues in which something waits, is held or parked, or is with a worker; by name, at most `most` behind
        `after`. Of all mail, or of one tenant's alone ("" = of mail without one).

        Costs a question for each lane and pool, and one for ten queues of the answer and lane. `held` and `parked` may
        be as old as twenty times the time that counting them takes."""
        ...

    async def depths(self) -> dict[str, PoolDepth]:
        """By pool. It reads every queue, slowly, so that the server is hardly busy with it: half a minute for a million
        queues."""
        ...

    async def earliest(self, pools: Sequence[str]) -> dict[str, int]:
        """Of those pools that have mail in their queues the earliest due time, Unix ms."""
        ...

    async def cluster(self) -> dict[str, str]:
        """Cluster-wide settings: lanes, max_staleness."""
        ...
