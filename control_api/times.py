"""The API's wall clock, and times as it shows them."""

import time

from mta.model.units import format_time


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def shown(ms: int) -> str | None:
    """RFC 3339 with milliseconds; None where the time is not set."""
    return format_time(ms) if ms else None
