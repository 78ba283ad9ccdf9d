"""The counts of TLS results by day, of all nodes."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from mta.policy.tls_results import TlsResult


class TlsDay(NamedTuple):
    """The sessions of one UTC day."""

    day: int  # days since 1970-01-01
    sessions: Mapping[TlsResult, int]


class TlsResults(Protocol):
    """Kept for 30 days. Raises StoreAway, StoreError."""

    async def add(self, day: int, counts: Mapping[TlsResult, int]) -> None: ...

    async def days(self, first: int, last: int) -> list[TlsDay]:
        """Those days of which something is kept, both ends included."""
        ...
