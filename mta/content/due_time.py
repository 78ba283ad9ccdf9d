"""The bounds on the time at which a message is to be sent, alike for header fields, parameters of MAIL and calls."""

from typing import Final

from mta.model.errors import BadValue
from mta.model.units import LONGEST_DURATION, parse_time

MAX_PAST: Final = 600  # seconds that a time may lie in the past: clocks differ, and mail waits before it is handed in
_YEARS: Final = LONGEST_DURATION // (365 * 86400)


def parse_due(text: str, field: str, now_ms: int) -> int:
    """Unix ms. Raises BadValue."""
    return check_due(parse_time(text, field, now_ms), field, now_ms)


def check_due(due_at: int, field: str, now_ms: int) -> int:
    """The same time, Unix ms. Raises BadValue."""
    if due_at < now_ms - MAX_PAST * 1000:
        raise BadValue(field, f"is more than {MAX_PAST // 60} minutes past; leave it out to send the message at once")
    if due_at > now_ms + LONGEST_DURATION * 1000:
        raise BadValue(field, f"is more than {_YEARS} years away; give an earlier time")
    return due_at
