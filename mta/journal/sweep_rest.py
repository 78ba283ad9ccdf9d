"""The rest of history while a sweep runs on busy processors: the sweep gets the processor time, and the spool keeps the
events meanwhile."""

from collections.abc import Callable
from math import inf
from typing import Final

from mta.model.events import EventType
from mta.ports.history_writer import Round
from mta.ports.spool import Spool
from mta.timing.processors import idle_seconds

_KINDS: Final = frozenset(
    {
        EventType.INTERCEPTED,
        EventType.HOLD,
        EventType.RELEASE,
        EventType.CANCELLATION,
        EventType.REINSTATED,
        EventType.MOVED,
    }
)
_SWEPT: Final = 2_000  # events of these kinds in a round, which only work on waiting mail makes
_IDLE: Final = 0.4  # processors: where more are idle, there is no reason to rest
_LONGEST: Final = 60.0  # seconds
_LOOK: Final = 1.0  # seconds from one look at the spool to the next
_SLOW_LOOKS: Final = 3  # in a row, in which the spool grows slowly: the sweep is over
_SLOW: Final = 0.5  # of its best rate
_SLOWEST: Final = 1_000_000  # bytes a second: 4,000 deliveries, of a sweep that makes thousands more than that
_FULL: Final = 0.25  # the part of the spool that may be full


def _swept(written: Round) -> int:
    """Events of work on waiting mail; the type of an event ends the key of its count."""
    return sum(many for key, many in written.hours.items() if key[-1] in _KINDS)


class SweepRest:
    """Begins behind a round, and ends when the spool grows slowly again."""

    def __init__(self, spool: Spool, idle: Callable[[], float] = idle_seconds) -> None:
        """`idle`: seconds that all processors were idle so far."""
        self._spool = spool
        self._idle = idle
        self._wrote_at, self._idle_then = inf, 0.0  # when the round before was written, and `idle` then
        self._until = 0.0  # 0.0: history does not rest
        self._looked_at = 0.0
        self._size = 0  # of the spool then
        self._best = 0.0  # bytes a second
        self._slow_looks = 0

    @property
    def lasts(self) -> bool:
        """Nothing is gathered now."""
        return self._until > 0.0

    def begin_behind(self, written: Round, now: float) -> None:
        """Rest from now on, where the round was one of a sweep. `now` in seconds, as in `look`."""
        passed, idle = now - self._wrote_at, self._idle()
        is_busy = idle - self._idle_then < _IDLE * passed
        self._wrote_at, self._idle_then = now, idle
        if is_busy and written.events >= _SWEPT and _swept(written) >= _SWEPT:
            self._until, self._looked_at = now + _LONGEST, now
            self._size, self._best, self._slow_looks = self._spool.size, 0.0, 0

    def look(self, now: float) -> None:
        """End the rest, where it is time."""
        passed = now - self._looked_at
        if not self.lasts or passed < _LOOK:
            return
        size = self._spool.size
        rate = (size - self._size) / passed
        self._looked_at, self._size, self._best = now, size, max(self._best, rate)
        self._slow_looks = self._slow_looks + 1 if rate < max(_SLOW * self._best, _SLOWEST) else 0
        if self._slow_looks >= _SLOW_LOOKS or now >= self._until or self._spool.is_full(_FULL):
            self._until = 0.0
