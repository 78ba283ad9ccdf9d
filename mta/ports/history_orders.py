"""Orders about history that the journals carry out: erasures, and lanes whose missing events are given up."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec


class Erasure(msgspec.Struct, frozen=True):
    """An address that history forgets."""

    id: str
    address: str
    salt: str  # secret while it is carried out, and kept nowhere afterwards
    asked_at: int  # Unix ms


class ErasureReport(msgspec.Struct, frozen=True):
    """The result of an erasure in the journal of one node."""

    node: str
    deliveries: int = 0
    events: int = 0
    files: tuple[str, ...] = ()  # logs of the node that still have the address
    trouble: str = ""  # why it has not erased anything


class Erased(NamedTuple):
    """Counts of one day."""

    deliveries: int
    events: int


class HistoryOrders(Protocol):
    """Raises StoreAway, StoreError."""

    async def erase(self, erasure: Erasure) -> None:
        """Every journal sees it within seconds. An hour after the last order nothing of it is kept."""
        ...

    async def erasures(self) -> Sequence[Erasure]:
        """Those under way."""
        ...

    async def report(self, erasure: str, report: ErasureReport) -> None:
        """The first report of a node counts."""
        ...

    async def reports(self, erasure: str) -> Sequence[ErasureReport]: ...

    async def end(self, erasure: str) -> None:
        """All nodes have reported: the address is kept no longer."""
        ...

    async def skip(self, lane: str) -> None:
        """History goes on without the events of the lane that it waits for."""
        ...

    async def take_skip(self, lane: str) -> bool:
        """Whether that was ordered; once."""
        ...


class HistoryEraser(Protocol):
    """Blocking calls, made on the thread that writes history; they raise HistoryAway."""

    def days(self) -> Sequence[int]: ...

    def erase(self, day: int, address: str, instead: str) -> Erased:
        """Put `instead` in place of the address, of replies' texts, of dialogues and of metadata, in the deliveries of
        that day from or to the address. May be repeated."""
        ...

    def close(self) -> None: ...
