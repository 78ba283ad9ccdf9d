"""Canary orders of the cluster: whose turn it is, and how the last one went; raises StoreAway, StoreError."""

from typing import Protocol

from mta.model.canaries import CanaryFlight


class Canaries(Protocol):
    """One canary in a period, whatever number of nodes there is."""

    async def turn(self, node: str, period: float) -> float:
        """0: this node is to give the next one, and no other is for `period` seconds. Else the seconds until somebody
        may ask again."""
        ...

    async def save(self, flight: CanaryFlight) -> None: ...

    async def last(self) -> CanaryFlight | None:
        """None: there was none in the last hour."""
        ...
