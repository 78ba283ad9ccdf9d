"""The books as the API reads them: counters by tag, rule and queue; raises StoreAway, StoreError."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from mta.model.mail import QueueKey


class QueueCounts(NamedTuple):
    """One queue over all lanes."""

    queue: QueueKey
    due: int  # due now
    scheduled: int  # due later
    claimed: int
    oldest: int  # earliest due time, Unix ms, 0 = none


class Books(Protocol):
    """Each answer sums the lanes, read one after the other: every lane balances at every instant."""

    async def total(self) -> dict[str, int]:
        """Field -> count: "accepted", the classes ("intercepted:<stage>" by stage), "deferred_by_rule", "uncertain"."""
        ...

    async def tag(self, tag: str) -> dict[str, int]:
        """The same fields for one tag; {} = never seen."""
        ...

    async def tags(self, most: int, cursor: str) -> tuple[list[str], str]: ...

    async def rule(self, rule_id: str) -> dict[str, int]:
        """Fields "met" (each delivery once, when the rule first met it), "intercepted:<stage>", "after",
        "deferred", "held", "other", "uncertain", "hits", "last_hit_at": met = intercepted + after + deferred + held +
        other."""
        ...

    async def rules(self, rule_ids: Sequence[str]) -> list[dict[str, int]]:
        """The same of many rules, in their order, in a few calls."""
        ...

    async def queues(self) -> list[QueueCounts]: ...

    async def earliest(self, pools: Sequence[str]) -> dict[str, int]:
        """Of those pools that have mail in their queues the earliest due time, Unix ms."""
        ...

    async def cluster(self) -> dict[str, str]:
        """Cluster-wide settings: lanes, max_staleness."""
        ...
