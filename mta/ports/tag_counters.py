"""Counters of tags at rest, on their way from the store to history."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol


class TagCounters(NamedTuple):
    """The counters of one tag in one lane, since they began anew."""

    tag: str
    tenant: str  # "" = of all mail with the tag
    lane: int
    epoch: (
        str  # no other counters of this tag in this lane had it; they may be negative, where earlier ones were folded
    )
    counts: Mapping[str, int]  # less than 0 where earlier counters were folded


class RestingTags(Protocol):
    """Counters in the store; raises StoreAway, StoreError."""

    async def at_rest(self, lane: int, cursor: int, seconds: int) -> tuple[Sequence[TagCounters], int]:
        """Of a page of a lane's tags those whose mail has all ended, and which nobody has read or changed for so long;
        and the next page, 0 = the end."""
        ...

    async def drop(self, lane: int, tags: Sequence[TagCounters]) -> int:
        """Delete those that are still the same; how many."""
        ...


class TagArchive(Protocol):
    """Counters in history, as the journal writes them. Blocking calls, on the thread that writes history; they raise
    HistoryAway."""

    def keep(self, tags: Sequence[TagCounters]) -> None:
        """Durable on return. May be repeated: the values replace those that are there."""
        ...


class FoldedTags(Protocol):
    """Counters in history, as readers see them; raises HistoryError."""

    async def tag_counters(self, tag: str, tenant: str = "") -> Sequence[TagCounters]:
        """All that were folded, also those that still stand in the store."""
        ...
