"""Decisions about requests to webhook endpoints that failed: when the next try is, and when an endpoint is given up."""

from typing import Final

RETRIES: Final = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 28800.0)  # seconds
JITTER: Final = 0.1  # of a pause, at most, that is added to it
MOST_FAILURES: Final = 20  # in a row, after which an endpoint is failing
MOST_WAITING: Final = 10_000  # events in the retry list, after which it is
GIVE_UP_MS: Final = 28 * 3_600_000  # without a success, after which it is disabled
_LONGEST_WISH: Final = RETRIES[-1]  # seconds of a Retry-After that is heeded
GONE: Final = 410  # RFC 9110 15.5.11
_BUSY: Final = (429, 503)  # a Retry-After of these is about the whole endpoint


def pause_ms(failures: int, chance: float, wish: float | None = None) -> int:
    """Milliseconds until the next try after so many failures in a row (1 or more). `chance` is from 0 to 1; `wish` is
    the Retry-After of the answer, in seconds."""
    planned = RETRIES[min(failures, len(RETRIES)) - 1] * (1 + JITTER * chance)
    return int(1000 * max(planned, min(wish or 0.0, _LONGEST_WISH)))


def is_last(failures: int) -> bool:
    """Whether no further retry is planned after so many failures of a request."""
    return failures > len(RETRIES)


def holds_all(status: int) -> bool:
    """Whether the Retry-After of such an answer holds all requests to the endpoint."""
    return status in _BUSY
