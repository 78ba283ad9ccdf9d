"""The shutdown of a worker: its beginning, and the wait for the end of its connections."""

import asyncio
import contextlib
from collections.abc import Callable


class Shutdown:
    """Once it has `begun`, no transaction and no connection is begun."""

    def __init__(self) -> None:
        self.begun = False
        self._progress = asyncio.Event()

    def progressed(self) -> None:
        """A connection or an attempt has ended: `until` looks again."""
        self._progress.set()

    async def until(self, done: Callable[[], bool], end: float) -> None:
        """Wait until `done`, or until the loop time `end`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                while not done():
                    self._progress.clear()
                    await self._progress.wait()
