"""The sending window of a message: when it opens and closes, also where the clocks change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.model.errors import BadValue
from mta.model.sending_window import SendingWindow
from mta.policy.sending_window import closes_at, is_closed, opens_at, read_window
from tests.unit.policy.test_schedule import BERLIN, NEW_YORK, at

OFFICE = read_window("mo-fr 9:00-17:00", BERLIN)


def test_a_window_is_kept_in_one_form() -> None:
    assert SendingWindow("Mo-Fr 09:00-17:00", BERLIN) == OFFICE
    assert read_window("09:00-17:00").timezone == "UTC"


@pytest.mark.parametrize(
    ("times", "zone", "field"), [("Mo-Fr", "UTC", "window"), ("09:00-17:00", "Mars/Base", "timezone")]
)
def test_a_bad_window_is_refused_by_the_name_of_its_field(times: str, zone: str, field: str) -> None:
    with pytest.raises(BadValue) as refused:
        read_window(times, zone)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        ("2026-11-30 08:59:59", "2026-11-30 09:00:00"),  # a Monday
        ("2026-11-30 09:00:00", "2026-11-30 09:00:00"),
        ("2026-11-30 16:59:59", "2026-11-30 16:59:59"),
        ("2026-11-30 17:00:00", "2026-12-01 09:00:00"),
        ("2026-12-04 17:00:00", "2026-12-07 09:00:00"),  # a Friday
        ("2026-12-06 12:00:00", "2026-12-07 09:00:00"),
        ("2026-03-27 18:00:00", "2026-03-30 09:00:00"),  # the clocks go forward in this weekend
        ("2026-10-23 18:00:00", "2026-10-26 09:00:00"),  # and back in this one
    ],
)
def test_mail_outside_its_window_is_due_when_it_opens(now: str, opens: str) -> None:
    assert opens_at(OFFICE, at(now, BERLIN)) == at(opens, BERLIN)


def test_an_hour_that_the_clocks_skip_opens_in_another_week() -> None:
    """In New York the clocks skip 02:00 to 03:00 on 2026-03-08, so no instant of that day is in the window."""
    window = read_window("Su 02:00-03:00", NEW_YORK)
    assert opens_at(window, at("2026-03-07 12:00:00", NEW_YORK)) == at("2026-03-15 02:00:00", NEW_YORK)
    night = read_window("Su 01:30-02:30", NEW_YORK)
    opened = opens_at(night, at("2026-03-07 12:00:00", NEW_YORK))
    assert opened == at("2026-03-08 01:30:00", NEW_YORK)
    assert closes_at(night, opened) == at("2026-03-08 03:00:00", NEW_YORK)


def test_a_window_closes_at_the_end_of_its_time() -> None:
    noon = at("2026-12-01 12:00:00", BERLIN)
    assert closes_at(OFFICE, noon) == at("2026-12-01 17:00:00", BERLIN)
    evening = at("2026-12-01 17:00:00", BERLIN)
    assert closes_at(OFFICE, evening) == evening


def test_where_the_zone_is_not_known_nothing_is_sent_and_it_is_looked_at_again() -> None:
    foreign = SendingWindow("00:00-24:00", "Mars/Base")
    assert (is_closed(foreign, 5), opens_at(foreign, 5)) == (True, 3_600_005)
    assert not is_closed(None, 5)


@given(
    st.integers(1_700_000_000_000, 1_900_000_000_000),
    st.sampled_from(["Mo-Fr 09:00-17:00", "Su 02:00-03:00", "22:00-06:00", "Sa,Su 00:00-24:00; We 12:00-12:01"]),
    st.sampled_from(["UTC", BERLIN, NEW_YORK, "Australia/Lord_Howe"]),
)
def test_the_time_at_which_it_opens_is_in_the_window_and_not_earlier(now: int, times: str, zone: str) -> None:
    window = read_window(times, zone)
    opened = opens_at(window, now)
    assert opened >= now
    assert not is_closed(window, opened)
    assert opened == now or (is_closed(window, now) and is_closed(window, opened - 1))
    assert opened < now + 15 * 86_400_000
