"""The journal of the node that holds the history has all lanes while it lives; those of other nodes wait for them."""

import time
from collections.abc import Awaitable, Callable
from typing import Final

from mta.ports.journal import Journals

_LOOK: Final = 1.0  # seconds between two looks


class HolderFirst:
    """Judges by this process's clock whether the holder's journal lives: it tells its figures every few seconds."""

    def __init__(
        self,
        journals: Journals,
        holder: Callable[[], Awaitable[str]],
        lease: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`holder` names the node; `lease` in seconds: a journal that was silent for so long is dead."""
        self._journals = journals
        self._holder = holder
        self._lease = lease
        self._clock = clock
        self._told: tuple[str, int] = ("", 0)
        self._since = clock()  # when it told something last
        self._next_look = 0.0

    async def must_wait(self) -> bool:
        """Whether the lanes are left to the holder. Raises StoreError."""
        now = self._clock()
        if now >= self._next_look:
            self._next_look = now + _LOOK
            holder = await self._holder()
            told = [journal.told_at for journal in await self._journals.journals() if journal.node == holder]
            newest = (holder, max(told, default=0))
            if newest != self._told:
                self._told = newest
                self._since = now
        return now - self._since < self._lease
