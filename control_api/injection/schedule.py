"""The time at which the messages of a call are to be sent, and the window in which they may."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from mta.content.due_time import check_due, parse_due
from mta.model.errors import BadValue
from mta.model.sending_window import SendingWindow
from mta.policy.schedule import UTC


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
        due_at = check_due(now_ms + round(float(delay) * 1000), "delay", now_ms)
    elif (moment := given.get("send_at")) is not None:
        due_at = parse_due(moment, "send_at", now_ms)
    return Asked(due_at, _window(given))


def _window(given: Mapping[str, Any]) -> SendingWindow | None:
    times, timezone = given.get("window"), given.get("timezone")
    if times is None:
        if timezone is not None:
            raise BadValue("timezone", "is given without window; give both")
        return None
    return SendingWindow(times, timezone or UTC)
