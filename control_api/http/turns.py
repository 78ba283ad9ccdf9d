"""Long work in slices: the loop answers other requests between them, and rests longer while an order is under way."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final, TypeVar

SLICE: Final = 200  # rules: a slice takes a few milliseconds
_STEP_BACK: Final = 0.005  # seconds between slices while an order is under way

_Item = TypeVar("_Item")


class Turns:
    """Knows whether orders are under way in this process."""

    def __init__(self) -> None:
        self._orders = 0

    @contextlib.contextmanager
    def order(self) -> Iterator[None]:
        """The span of a request that changes something."""
        self._orders += 1
        try:
            yield
        finally:
            self._orders -= 1

    async def rest(self) -> None:
        """Let other requests run."""
        await asyncio.sleep(_STEP_BACK if self._orders else 0)

    async def slices(self, items: Sequence[_Item]) -> AsyncIterator[Sequence[_Item]]:
        """The items in slices of SLICE, with a rest after each."""
        for at in range(0, len(items), SLICE):
            if at:
                await self.rest()
            yield items[at : at + SLICE]
