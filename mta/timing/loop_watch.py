"""A watch over the event loop: how often, and for how long, something has held it."""

import asyncio
import time
from typing import Final

HELD: Final = 0.02  # seconds beyond which a hold counts
_EVERY: Final = 0.1
_REMEMBERED: Final = 600  # looks: a minute


class LoopWatch:
    """Looks ten times a second from `start` on."""

    def __init__(self) -> None:
        self.holds = 0
        self._longest = 0.0
        self._before = 0.0  # of the minute before
        self._looks = 0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def longest(self) -> float:
        """Seconds, in the last minute or two."""
        return max(self._longest, self._before)

    def start(self) -> None:
        self._due = time.monotonic() + _EVERY
        self._timer = asyncio.get_running_loop().call_later(_EVERY, self._look)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        late = time.monotonic() - self._due
        self.holds += late > HELD
        self._longest = max(self._longest, late)
        self._looks += 1
        if self._looks >= _REMEMBERED:
            self._before, self._longest, self._looks = self._longest, 0.0, 0
        self.start()
