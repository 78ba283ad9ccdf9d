"""The store as a process keeps watch on it."""

from typing import Protocol


class StoreHealth(Protocol):
    """Whether the store can be worked with, as one process sees it."""

    async def check(self) -> None:
        """Raises StoreAway; StoreUnsafe: its settings can lose accepted mail; StoreRefuses: it takes no writes."""
        ...

    def take_failover(self) -> object | None:
        """The last failover that a check has seen, told once; its `str` is a sentence for the log."""
        ...
