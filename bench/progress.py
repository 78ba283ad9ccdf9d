"""Progress: what people see on standard error while a benchmark runs."""

import sys
import time
from collections.abc import Callable

Say = Callable[[str], None]
_STARTED = time.monotonic()


def say(text: str) -> None:
    """One line with the seconds since the start."""
    print(f"{time.monotonic() - _STARTED:7.1f} s  {text}", file=sys.stderr, flush=True)
