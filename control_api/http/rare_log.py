"""Log lines about events that any client can cause: one line now and then, with the number of events it stands for."""

import logging
import time
from collections.abc import Callable


class RareLog:
    """Writes at most one warning of its kind in `every` seconds and counts the others."""

    def __init__(self, log: logging.Logger, every: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._every = every
        self._clock = clock
        self._said_at: float | None = None
        self._left_out = 0

    def warning(self, words: str) -> None:
        """`words` must not hold anything of the request."""
        now = self._clock()
        if self._said_at is not None and now - self._said_at < self._every:
            self._left_out += 1
            return
        more = f" (and {self._left_out} more like this before it)" if self._left_out else ""
        self._said_at, self._left_out = now, 0
        self._log.warning("%s%s", words, more)
