"""The tags that a mistyped one may stand for, of those that mail carried lately."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from mta.policy.nearest import nearest
from mta.timing.clock import boottime

_FRESH: Final = 2.0  # seconds for which the names are used: many orders may be mistyped at once
_KEPT: Final = 20  # tenants


class NearestTags:
    """Asks for the known names once for all who ask within two seconds."""

    def __init__(self, lately: Callable[[str], Awaitable[set[str]]], now: Callable[[], float] = boottime) -> None:
        """`lately` names the tags of a tenant's mail, "" = of all mail. Raises StoreError."""
        self._lately = lately
        self._now = now
        self._known: dict[str, tuple[float, set[str]]] = {}  # by tenant, with the time until which it is fresh
        self._turn = asyncio.Lock()

    async def to(self, tag: str, tenant: str = "") -> list[str]:
        """At most three, the nearest first. Raises StoreError."""
        async with self._turn:
            until, names = self._known.get(tenant, (0.0, set()))
            if self._now() >= until:
                names = await self._lately(tenant)
                if len(self._known) >= _KEPT:
                    self._known.clear()
                self._known[tenant] = self._now() + _FRESH, names
        return await asyncio.to_thread(nearest, tag, names)  # it may take a tenth of a second
