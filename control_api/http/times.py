"""The API's wall clock, and times as it shows them."""

from mta.model.units import format_time
from mta.timing.clock import wall_ms

now_ms = wall_ms


def shown(ms: int) -> str | None:
    """RFC 3339 with milliseconds; None where the time is not set."""
    return format_time(ms) if ms else None
