"""The time at which the messages of a call are to be sent, and the window in which they may."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from mta.content.injection_headers import MAX_PAST
from mta.model.errors import BadValue
from mta.model.sending_window import SendingWindow
from mta.model.units import LAST_MS, parse_time
from mta.policy.schedule import UTC

AT_ONCE: Final = "leave it out to send the message at once"


class Asked(NamedTuple):
    """Unix ms, None = at once; the window, None = any time."""

    due_at: int | None
    window: SendingWindow | None


def schedule_of(given: Mapping[str, Any], now_ms: int) -> Asked:
    """By the values of a body. Raises BadValue."""
    due_at = None
    if (delay := given.get("delay")) is not None:
        if given.get("send_at") is not None:
            raise BadValue("delay", "cannot be combined with send_at; give one of them")
        due_at = min(now_ms + round(float(delay) * 1000), LAST_MS)
    elif (moment := given.get("send_at")) is not None:
        due_at = parse_time(moment, "send_at", now_ms)
        if due_at < now_ms - MAX_PAST * 1000:
            raise BadValue("send_at", f"is more than {MAX_PAST // 60} minutes past; {AT_ONCE}")
    return Asked(due_at, _window(given))


def _window(given: Mapping[str, Any]) -> SendingWindow | None:
    times, timezone = given.get("window"), given.get("timezone")
    if times is None:
        if timezone is not None:
            raise BadValue("timezone", "is given without window; give both")
        return None
    return SendingWindow(times, timezone or UTC)
