"""The reply entries that all nodes share, and the replies that no entry knows."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from mta.model.replies import ReplyEntry, UnknownReply


class SharedEntries(NamedTuple):
    """The entries of the cluster, by name."""

    version: bytes  # another one with each change
    entries: Mapping[str, ReplyEntry]


class CountedReply(NamedTuple):
    """An unknown reply, how often it came, and when last (Unix ms)."""

    reply: UnknownReply
    many: int
    last_at: int


class ReplyStore(Protocol):
    """Each call raises StoreAway, StoreError. A call may be repeated."""

    async def entries(self, since: bytes = b"") -> SharedEntries | None:
        """The entries; None: their version is `since`."""
        ...

    async def put(self, name: str, entry: ReplyEntry) -> bool:
        """Keep the entry in place of one of that name; whether there was none. Raises BadValue: there are too many."""
        ...

    async def remove(self, name: str) -> bool:
        """Whether there was an entry of that name."""
        ...

    async def note_unknown(self, counts: Mapping[UnknownReply, int], now: int) -> None:
        """So many more came until `now` (Unix ms). The store keeps the 1,000 that came last."""
        ...

    async def unknown(self) -> list[CountedReply]:
        """The most frequent first."""
        ...

    def on_change(self, hook: Callable[[], None]) -> None:
        """`hook` is called when the entries may have changed."""
        ...
