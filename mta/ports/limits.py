"""The use of shared limits as the API sees it; raises StoreAway, StoreError."""

from collections.abc import Sequence
from typing import Protocol

from mta.model.limit_use import LimitUse


class LimitReader(Protocol):
    """Reads what workers count."""

    async def use(self, asked: Sequence[tuple[str, str]]) -> list[LimitUse]:
        """Of each of the scopes (site, scope), in order."""
        ...
