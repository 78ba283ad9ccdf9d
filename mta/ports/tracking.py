"""The store behind tracked mail: the secret that its links are made with, events, and clicks by link."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from mta.model.events import Event


class LinkCount(NamedTuple):
    """The key of a count of clicks."""

    tenant: str
    link: str
    is_machine: bool


class LinkDay(NamedTuple):
    """The clicks of one UTC day."""

    day: int  # days since 1970-01-01
    clicks: Mapping[LinkCount, int]


class TrackingKeys(Protocol):
    """Raises SealError, StoreAway, StoreError."""

    async def key(self) -> bytes:
        """The key of the cluster's links, which is made where there is none."""
        ...


class EngagementStore(Protocol):
    """Raises StoreAway, StoreError."""

    async def note(self, events: Sequence[Event]) -> None:
        """Put events of deliveries into the log. A call whose answer was lost may have done it."""
        ...

    async def add_clicks(self, day: int, counts: Mapping[LinkCount, int]) -> None:
        """Kept for 30 days."""
        ...

    async def add_dropped(self, events: int) -> None:
        """Opens and clicks that found no room while the store was away."""
        ...

    async def dropped(self) -> int:
        """All of them, in the cluster."""
        ...

    async def click_days(self, first: int, last: int) -> list[LinkDay]:
        """Those days of which something is kept, both ends included."""
        ...
