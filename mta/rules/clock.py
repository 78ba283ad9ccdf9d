"""The clock of the rule protocol: it counts the time that the machine was suspended, and nobody can set it."""

import time


def boottime() -> float:
    """Seconds; for safety decisions, which never use wall clocks or Redis's TIME."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def wall_ms() -> int:
    """Unix milliseconds, for what people read, and for the end that they gave a rule."""
    return int(time.time() * 1000)
