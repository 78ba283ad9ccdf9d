"""Progress: what people see on standard error while a benchmark runs."""

import sys
import time
from collections.abc import Callable, Iterable

Say = Callable[[str], None]
_STARTED = time.monotonic()


def show(lines: Iterable[str]) -> None:
    """A result for people, without times."""
    print("\n".join(lines), file=sys.stderr, flush=True)


def say(text: str) -> None:
    """One line with the seconds since the start."""
    print(f"{time.monotonic() - _STARTED:7.1f} s  {text}", file=sys.stderr, flush=True)
