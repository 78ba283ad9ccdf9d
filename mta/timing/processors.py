"""How busy the machine is."""

import os
from typing import Final

_TICK: Final = 1.0 / os.sysconf("SC_CLK_TCK")
_IDLE: Final = 4  # the word of the line, in ticks (proc(5), /proc/stat)


def idle_seconds() -> float:
    """Seconds that all processors together had nothing to do since the machine started; 0.0 = unknown."""
    try:
        with open("/proc/stat", "rb") as file:
            return int(file.readline().split()[_IDLE]) * _TICK
    except (OSError, ValueError, IndexError):
        return 0.0
