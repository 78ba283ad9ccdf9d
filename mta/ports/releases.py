"""Staged releases as the store keeps them, one for each pause; raises StoreAway, StoreError."""

from collections.abc import Callable
from typing import Protocol

from mta.model.releases import StagedRelease


class ReleaseStore(Protocol):
    """Orders stand beside the rule table; how much of a round has gone stands in each lane."""

    lanes: int

    async def get(self, pause: str) -> StagedRelease | None:
        """The last one of the pause."""
        ...

    async def all(self) -> list[StagedRelease]:
        """The last one of each pause that ever had one."""
        ...

    async def forget(self, pause: str) -> None:
        """The pause is gone."""
        ...

    async def change(self, before: StagedRelease | None, after: StagedRelease) -> bool:
        """Write `after` where `before` stands (None: where the pause has none). False: another process was first."""
        ...

    async def held(self, lane: int, pause: str) -> int:
        """Deliveries that the pause holds there."""
        ...

    async def released(self, lane: int, order: StagedRelease) -> int:
        """Deliveries that the round has let go there so far."""
        ...

    async def close(self, lane: int, order: StagedRelease) -> int:
        """As `released`; from now on the round lets nothing go there."""
        ...

    def on_ordered(self, hint: Callable[[], None]) -> None:
        """Call `hint` when somebody gives an order; hints may be lost."""
        ...
