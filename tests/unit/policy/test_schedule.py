"""Recurring times of the week: how they are written, and when they are on, also where the clocks change."""

import datetime
import zoneinfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.model.errors import BadValue
from mta.policy.schedule import DAYS, Schedule, parse_schedule, parse_timezone

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"


def at(text: str, zone: str = "UTC", fold: int = 0) -> int:
    """Unix ms of a time of day in a zone."""
    local = datetime.datetime.fromisoformat(text).replace(tzinfo=zoneinfo.ZoneInfo(zone), fold=fold)
    return int(local.timestamp() * 1000)


def is_on(text: str, zone: str, now: int) -> bool:
    period = Schedule(text, zone).period(now)
    assert period.begin <= now < period.end
    return period.on


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Mo-Fr 22:00-08:00", "Mo-Fr 22:00-08:00"),
        (" mo-FR  22:00 - 8:00 ", "Mo-Fr 22:00-08:00"),
        ("22:00-08:00", "22:00-08:00"),
        ("Mo-Su 22:00-08:00", "22:00-08:00"),
        ("Sa,Su 00:00-24:00; Mo-Fr 22:00-08:00", "Mo-Fr 22:00-08:00; Sa,Su 00:00-24:00"),
        ("Su,Sa,Sa 00:00-24:00", "Sa,Su 00:00-24:00"),
        ("Fr-Mo 10:00-12:00", "Mo,Fr-Su 10:00-12:00"),
        ("Mo, We-Th 10:00-00:00", "Mo,We,Th 10:00-24:00"),
        ("Mo 10:00-11:00; Mo 10:00-11:00", "Mo 10:00-11:00"),
    ],
)
def test_a_schedule_is_kept_in_one_form(given: str, kept: str) -> None:
    assert parse_schedule(given, "schedule") == kept
    assert parse_schedule(kept, "schedule") == kept


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no schedule; write days and times"),
        ("Mo-Fr", "is no schedule"),
        ("Mon 10:00-11:00", "'Mon', which is no day; there are Mo, Tu"),
        ("Mo-We-Fr 10:00-11:00", "'Mo-We-Fr', which is no range of days"),
        ("Mo 10:00-25:00", "25:00, which is no time of day"),
        ("Mo 10:60-11:00", "10:60, which is no time of day"),
        ("Mo 24:00-01:00", "begins at 24:00"),
        ("Mo 10:00-10:00", "ends when it begins"),
        ("Mo 10:00-11:00;", "is no schedule"),
        ("; ".join(["Mo 10:00-11:00"] * 21), "more than 20 times"),
    ],
)
def test_a_schedule_that_is_none_is_refused_with_the_fix(text: str, words: str) -> None:
    with pytest.raises(BadValue, match=words) as refused:
        parse_schedule(text, "schedule")
    assert refused.value.field == "schedule"


@pytest.mark.parametrize(
    "name", ["Berlin", "", "europe/berlin ", "../UTC", "/etc/localtime", "localtime", "x" * 300, "a\0b"]
)
def test_a_time_zone_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(BadValue, match="is no IANA time zone"):
        parse_timezone(name, "timezone")


@pytest.mark.parametrize("name", ["UTC", BERLIN, NEW_YORK, "Asia/Kolkata", "Australia/Lord_Howe", "Etc/GMT+5"])
def test_a_time_zone_that_is_known_is_taken(name: str) -> None:
    assert parse_timezone(name, "timezone") == name


def test_a_time_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    nights = "Mo-Fr 22:00-08:00"  # 2026-06-01 is a Monday
    for text, on in {
        "2026-06-01T07:59": False,  # of Sunday, which is not among the days
        "2026-06-01T21:59:59.999": False,
        "2026-06-01T22:00": True,
        "2026-06-02T07:59:59.999": True,
        "2026-06-02T08:00": False,
        "2026-06-06T07:59": True,  # Saturday morning is of Friday
        "2026-06-06T22:00": False,
    }.items():
        assert is_on(nights, BERLIN, at(text, BERLIN)) is on, text
    period = Schedule(nights, BERLIN).period(at("2026-06-05T23:00", BERLIN))
    assert (period.begin, period.end) == (at("2026-06-05T22:00", BERLIN), at("2026-06-06T08:00", BERLIN))
    weekend = Schedule(nights, BERLIN).period(at("2026-06-06T12:00", BERLIN))
    assert (weekend.begin, weekend.end) == (at("2026-06-06T08:00", BERLIN), at("2026-06-08T22:00", BERLIN))


def test_times_that_join_each_other_are_one_period() -> None:
    whole = Schedule("Mo-Fr 22:00-24:00; Tu-Sa 00:00-08:00", BERLIN).period(at("2026-06-02T01:00", BERLIN))
    assert (whole.begin, whole.end) == (at("2026-06-01T22:00", BERLIN), at("2026-06-02T08:00", BERLIN))
    week = Schedule("Mo-Fr 00:00-24:00", "UTC").period(at("2026-06-05T23:00"))
    assert (week.begin, week.end, week.on) == (at("2026-06-01T00:00"), at("2026-06-06T00:00"), True)
    always = Schedule("00:00-24:00", "UTC")
    assert all(always.period(at(f"2026-06-{day:02}T00:00")).on for day in range(1, 30))


def test_where_the_clocks_go_back_a_time_begins_at_the_first_reading_and_ends_at_the_last() -> None:
    """In Berlin 02:00 to 03:00 is read twice on 2026-10-25, in New York 01:00 to 02:00 on 2026-11-01."""
    night = Schedule("Sa 22:00-02:30", BERLIN).period(at("2026-10-25T00:00", BERLIN))
    assert night.end == at("2026-10-25T02:30", BERLIN, fold=1)
    assert night.end - night.begin == (5 * 60 + 30) * 60_000
    morning = Schedule("Su 02:30-04:00", BERLIN).period(at("2026-10-25T03:00", BERLIN))
    assert morning.begin == at("2026-10-25T02:30", BERLIN, fold=0)
    assert morning.end - morning.begin == (60 + 90) * 60_000
    inside = Schedule("Su 01:15-01:45", NEW_YORK).period(at("2026-11-01T01:30", NEW_YORK))
    assert (inside.on, inside.end - inside.begin) == (True, 90 * 60_000), "on without a gap"


def test_where_the_clocks_go_forward_a_skipped_reading_is_the_instant_of_the_change() -> None:
    """In Berlin 02:00 to 03:00 is not read on 2026-03-29, in Lord Howe 02:00 to 02:30 on 2026-10-04."""
    change = at("2026-03-29T03:00", BERLIN)
    night = Schedule("Sa 22:00-02:30", BERLIN).period(at("2026-03-29T01:00", BERLIN))
    assert (night.on, night.end) == (True, change)
    morning = Schedule("Su 02:30-04:00", BERLIN).period(change)
    assert (morning.on, morning.begin, morning.end - morning.begin) == (True, change, 60 * 60_000)
    assert not is_on("Su 02:15-02:45", BERLIN, change)
    assert not is_on("Su 02:15-02:45", BERLIN, change - 1)
    lord_howe = "Australia/Lord_Howe"
    half = Schedule("Su 02:10-03:00", lord_howe).period(at("2026-10-04T02:45", lord_howe))
    assert (half.begin, half.end - half.begin) == (at("2026-10-04T02:30", lord_howe), 30 * 60_000)


def test_a_night_lasts_an_hour_more_or_less_when_the_clocks_change() -> None:
    nights = Schedule("22:00-08:00", BERLIN)
    hours = {
        day: (found.end - found.begin) / 3_600_000
        for day in ("2026-03-27", "2026-03-28", "2026-10-23", "2026-10-24")
        if (found := nights.period(at(f"{day}T23:00", BERLIN))).on
    }
    assert hours == {"2026-03-27": 10, "2026-03-28": 9, "2026-10-23": 10, "2026-10-24": 11}


minutes = st.integers(0, 24 * 60 - 1)
entries = st.lists(
    st.tuples(st.lists(st.sampled_from(DAYS), min_size=1, max_size=7, unique=True), minutes, st.integers(1, 24 * 60)),
    min_size=1,
    max_size=3,
)


@settings(max_examples=150, deadline=None)
@given(entries, st.sampled_from(["UTC", BERLIN, NEW_YORK, "Asia/Kolkata"]), st.integers(0, 60 * 24 * 365), st.data())
def test_the_periods_agree_with_the_clock_on_the_wall(
    entries: list[tuple[list[str], int, int]], zone: str, minute: int, data: st.DataObject
) -> None:
    """Asked minute by minute, where no clock changes: the time of the clock is in one of the times, or in none."""
    times = [(days, begin, begin + length) for days, begin, length in entries]
    text = "; ".join(
        f"{','.join(days)} {begin // 60:02}:{begin % 60:02}-{end % 1440 // 60:02}:{end % 60:02}"
        for days, begin, end in times
        if end - begin < 24 * 60
    )
    times = [time for time in times if time[2] - time[1] < 24 * 60]
    if not times:
        return
    schedule, info = Schedule(text, zone), zoneinfo.ZoneInfo(zone)
    now = at("2026-01-01T00:00") + minute * 60_000
    around = [datetime.datetime.fromtimestamp(now / 1000 + hours * 3600, info).utcoffset() for hours in range(-30, 31)]
    if len(set(around)) > 1:
        return
    local = datetime.datetime.fromtimestamp(now // 1000, info)
    day, shown = local.weekday(), local.hour * 60 + local.minute
    wanted = any(
        (DAYS[day] in days and begin <= shown < end) or (DAYS[day - 1] in days and begin <= shown + 1440 < end)
        for days, begin, end in times
    )
    period = schedule.period(now)
    assert period.on is wanted
    other = data.draw(st.integers(period.begin, period.end - 1))
    assert Schedule(text, zone).period(other).on is wanted, "the whole period is alike"
    assert Schedule(text, zone).period(period.end).on is not wanted or period.end - now > 7 * 86_400_000
