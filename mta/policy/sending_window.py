"""The sending window of a message: whether it is open at a time, when it opens, and when it closes."""

from typing import Final

from mta.model.errors import BadValue
from mta.model.sending_window import SendingWindow
from mta.policy.schedule import UTC, Schedule, parse_schedule, parse_timezone, schedule_of

_MOST_PERIODS: Final = 400  # that are looked at for the next one in which the window is open
_UNKNOWN_ZONE_MS: Final = 3_600_000


def read_window(times: str, timezone: str = UTC) -> SendingWindow:
    """The window as records keep it. Raises BadValue, of `window` or `timezone`."""
    return SendingWindow(parse_schedule(times, "window"), parse_timezone(timezone, "timezone"))


def opens_at(window: SendingWindow, at: int) -> int:
    """The first time from `at` on at which the window is open (both Unix ms). Where this process does not know the
    time zone, that is an hour later: another node may know it, and mail is never sent outside its window."""
    schedule = _schedule(window)
    if schedule is None:
        return at + _UNKNOWN_ZONE_MS
    moment = at
    for _ in range(_MOST_PERIODS):
        period = schedule.period(moment)
        if period.on:
            break
        moment = period.end
    return moment


def closes_at(window: SendingWindow, at: int) -> int:
    """The time at which the window that is open at `at` closes (both Unix ms), or `at`: it is closed."""
    schedule = _schedule(window)
    period = None if schedule is None else schedule.period(at)
    return period.end if period is not None and period.on else at


def is_closed(window: SendingWindow | None, at: int) -> bool:
    """Whether mail with this window, None = any time, may not be sent at `at` (Unix ms)."""
    return window is not None and closes_at(window, at) <= at


def _schedule(window: SendingWindow) -> Schedule | None:
    """None: this process does not know the time zone."""
    try:
        return schedule_of(window.times, window.timezone)
    except BadValue:
        return None
