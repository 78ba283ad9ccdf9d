"""The clocks of a process: one for safety decisions, and one that tells the time of day and does not jump with it.

Both count by CLOCK_BOOTTIME, which nobody can set and which goes on while the machine is suspended. The time of day is
the store's as it was when the node started, so that all nodes agree when mail is due. A step of the host's clock that
is larger than `SMALL` is not followed: mail would expire or be due at once, or, when the clock goes back, days late.
"""

import functools
import time
from typing import Final

SMALL: Final = 60.0  # seconds: smaller steps are corrections of a clock that is nearly right

_BOOTTIME: Final = time.CLOCK_BOOTTIME


# Seconds; for safety decisions, which never use wall clocks or Redis's TIME. It is read several times for each message,
# so it is no function of Python.
boottime: Final[functools.partial[float]] = functools.partial(time.clock_gettime, _BOOTTIME)


class SteadyClock:
    """The time of day of one process, in Unix seconds."""

    def __init__(self) -> None:
        """Right by the host's clock, until it is anchored."""
        self.offset = self._host_offset()  # between boottime and the time of day, in seconds
        self._host = self.offset  # the same by the host's clock when it was looked at last

    def now(self) -> float:
        return time.clock_gettime(_BOOTTIME) + self.offset

    def now_ms(self) -> int:
        return int((time.clock_gettime(_BOOTTIME) + self.offset) * 1000)

    def anchor(self, offset: float) -> float:
        """Count from here on by this offset; the seconds by which the host's clock is ahead of it."""
        self.offset = offset
        self._host = self._host_offset()
        return self._host - offset

    def follow(self) -> float:
        """To be called about once a second: follow the small steps of the host's clock. The seconds by which it has
        jumped since the last call, 0 = it has not."""
        host = self._host_offset()
        step, self._host = host - self._host, host
        if abs(step) > SMALL:
            return step
        self.offset += step
        return 0.0

    @property
    def host_is_ahead(self) -> float:
        """Seconds; less than 0: behind."""
        return self._host - self.offset

    @staticmethod
    def _host_offset() -> float:
        return time.time() - time.clock_gettime(_BOOTTIME)


process_clock: Final = SteadyClock()

wall_seconds = process_clock.now
wall_ms = process_clock.now_ms
