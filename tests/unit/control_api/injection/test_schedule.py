"""The time and the window of the messages of a call."""

import pytest

from control_api.injection.schedule import schedule_of
from control_api.schemas.sending_shapes import SEND
from mta.model.errors import BadValue
from mta.model.sending_window import SendingWindow

NOW = 1_800_000_000_000


def asked(**fields):
    return schedule_of(SEND.read(fields, "a field of a message"), NOW)


def test_a_message_that_asks_for_no_time_is_sent_at_once() -> None:
    assert asked() == (None, None)
    assert asked(send_at=None, delay=None, window=None, timezone=None) == (None, None)


@pytest.mark.parametrize(
    ("fields", "due"),
    [
        ({"delay": "90s"}, NOW + 90_000),
        ({"delay": 1}, NOW + 1000),
        ({"send_at": "2027-01-15T08:00:01.500Z"}, NOW + 1500),
        ({"send_at": "2027-01-15T09:00:00+01:00"}, NOW),
        ({"send_at": "+2h"}, NOW + 7_200_000),
        ({"send_at": "2027-01-15T07:55:00Z"}, NOW - 300_000),
    ],
)
def test_times(fields, due: int) -> None:
    assert asked(**fields).due_at == due


def test_windows() -> None:
    assert asked(window="mo-fr 9:00-17:00").window == SendingWindow("Mo-Fr 09:00-17:00", "UTC")
    both = asked(window="09:00-17:00", timezone="Europe/Berlin", delay="1h")
    assert both == (NOW + 3_600_000, SendingWindow("09:00-17:00", "Europe/Berlin"))


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"delay": "1h", "send_at": "+1h"}, "delay", "send_at"),
        ({"delay": "soon"}, "delay", "is not a duration"),
        ({"send_at": "tomorrow"}, "send_at", "is not a time"),
        ({"send_at": "2027-01-15T07:49:00Z"}, "send_at", "10 minutes past"),
        ({"send_at": "9999-12-31T23:59:59Z"}, "send_at", "10 years away"),
        ({"send_at": "+3651d"}, "send_at", "10 years away"),
        ({"delay": "3651d"}, "delay", "at most"),
        ({"window": "always"}, "window", "is no schedule"),
        ({"timezone": "Europe/Berlin"}, "timezone", "without window"),
        ({"window": "09:00-17:00", "timezone": "Mars"}, "timezone", "Europe/Berlin"),
    ],
)
def test_what_is_refused_names_its_field(fields, field: str, words: str) -> None:
    with pytest.raises(BadValue, match=words) as refused:
        asked(**fields)
    assert refused.value.field == field
