"""Recurring times of the week, such as `Mo-Fr 22:00-08:00` in a time zone: how they are written, and whether one is on.

A time belongs to the day on which it begins; where its end is not later than its begin, it ends on the next day. Where
the clocks go back, a time begins at the first of two equal readings of the clock and ends at the last. Where they go
forward, a reading that is skipped stands for the instant of the change.
"""

import datetime
import functools
import re
import zoneinfo
from collections.abc import Iterator
from typing import Final, NamedTuple

from mta.model.errors import BadValue

UTC: Final = "UTC"
DAYS: Final = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")
MOST_TIMES: Final = 20  # in one schedule
_DAY_MINUTES: Final = 24 * 60
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_HOW: Final = 'write days and times, such as "Mo-Fr 22:00-08:00; Sa,Su 00:00-24:00"'

# Files beside the time zones of the IANA: settings of a machine, and zones whose clocks count leap seconds.
_OF_ONE_MACHINE: Final = ("localtime", "posixrules", "Factory")
_VARIANTS: Final = ("posix/", "right/")

_ENTRY = re.compile(r"(?:([A-Za-z, -]+?) +)?([0-9]{1,2}):([0-9]{2}) *- *([0-9]{1,2}):([0-9]{2})", re.ASCII)


class Time(NamedTuple):
    """A time on some days of the week."""

    days: frozenset[int]  # 0 = Monday
    begin: int  # minutes since midnight
    end: int  # the same; later than `begin`, beyond 24 hours where it is on the next day


class Period(NamedTuple):
    """A stretch of time, Unix ms; its end does not belong to it."""

    begin: int
    end: int
    on: bool


def parse_schedule(text: str, field: str) -> str:
    """The schedule as rules keep it. Raises BadValue."""
    times = sorted(set(_times(text, field)), key=lambda time: (min(time.days), time.begin, time.end))
    return "; ".join(_written(time) for time in times)


def parse_timezone(text: str, field: str) -> str:
    """The name of a time zone that is known here. Raises BadValue."""
    try:
        if text in _OF_ONE_MACHINE or text.startswith(_VARIANTS):
            raise ValueError
        zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise BadValue(field, 'is no IANA time zone; give a name such as "Europe/Berlin" or "UTC"') from None
    return text


class Schedule:
    """A schedule in its time zone. It remembers the period that it was asked about last."""

    __slots__ = ("_period", "_times", "_zone")

    def __init__(self, text: str, timezone: str) -> None:
        """Raises BadValue."""
        self._times = _times(text, "schedule")
        self._zone = zoneinfo.ZoneInfo(parse_timezone(timezone, "timezone"))
        self._period = Period(0, 0, on=False)

    def period(self, now: int) -> Period:
        """The period to which the instant `now` (Unix ms) belongs. One that is longer than some days may be given in
        parts."""
        known = self._period
        if not known.begin <= now < known.end:
            known = self._period = self._found(now)
        return known

    def _found(self, now: int) -> Period:
        today = datetime.datetime.fromtimestamp(now // 1000, self._zone).date()
        first = _ms(datetime.datetime.combine(today - datetime.timedelta(7), datetime.time(), datetime.UTC))
        last = _ms(datetime.datetime.combine(today + datetime.timedelta(9), datetime.time(), datetime.UTC))
        begin = first
        for on_from, on_until in _merged(sorted(self._around(today))):
            if now < on_from:
                return Period(begin, on_from, on=False)
            if now < on_until:
                return Period(on_from, on_until, on=True)
            begin = on_until
        return Period(begin, last, on=False)

    def _around(self, today: datetime.date) -> Iterator[tuple[int, int]]:
        """The times that begin from eight days before until ten days later, so that times which join each other are
        seen from the first on."""
        for offset in range(-8, 11):
            day = today + datetime.timedelta(offset)
            for time in self._times:
                if day.weekday() in time.days:
                    begin, end = self._instant(day, time.begin, first=True), self._instant(day, time.end, first=False)
                    if begin < end:
                        yield begin, end

    def _instant(self, day: datetime.date, minutes: int, *, first: bool) -> int:
        """The first or the last instant at which a clock in the zone shows this time of that day, Unix ms."""
        days, minutes = divmod(minutes, _DAY_MINUTES)
        shown = datetime.datetime.combine(
            day + datetime.timedelta(days), datetime.time(*divmod(minutes, 60)), self._zone
        )
        early, late = shown.astimezone(datetime.UTC), shown.replace(fold=1).astimezone(datetime.UTC)
        if early <= late:
            return _ms(early if first else late)
        # The reading is skipped: `late` is before the change of the clocks, `early` behind it.
        before, behind = _ms(late) // 1000, _ms(early) // 1000
        offset = datetime.datetime.fromtimestamp(before, self._zone).utcoffset()
        while behind - before > 1:
            middle = (before + behind) // 2
            same = datetime.datetime.fromtimestamp(middle, self._zone).utcoffset() == offset
            before, behind = (middle, behind) if same else (before, middle)
        return behind * 1000


@functools.lru_cache(maxsize=4096)
def schedule_of(text: str, timezone: str) -> Schedule:
    """The same object for the same schedule. Raises BadValue."""
    return Schedule(text, timezone)


def _ms(at: datetime.datetime) -> int:
    return (at - _EPOCH) // datetime.timedelta(milliseconds=1)


def _merged(times: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Times that overlap or touch as one; `times` in order of their begin."""
    begin, end = times[0] if times else (0, 0)
    for next_begin, next_end in times[1:]:
        if next_begin <= end:
            end = max(end, next_end)
        else:
            yield begin, end
            begin, end = next_begin, next_end
    if times:
        yield begin, end


@functools.lru_cache(maxsize=4096)
def _times(text: str, field: str) -> tuple[Time, ...]:
    entries = [entry.strip() for entry in text.split(";")]
    if len(entries) > MOST_TIMES:
        raise BadValue(field, f"has more than {MOST_TIMES} times")
    return tuple(_time(entry, field) for entry in entries)


def _time(entry: str, field: str) -> Time:
    found = _ENTRY.fullmatch(entry)
    if found is None:
        raise BadValue(field, f"is no schedule; {_HOW}")
    begin, end = _minutes(found[2], found[3], field), _minutes(found[4], found[5], field)
    if begin == _DAY_MINUTES:
        raise BadValue(field, "has a time that begins at 24:00; write 00:00 of the next day")
    if begin == end:
        raise BadValue(field, "has a time that ends when it begins; write 00:00-24:00 for a whole day")
    return Time(_days(found[1], field), begin, end if begin < end else end + _DAY_MINUTES)


def _minutes(hour: str, minute: str, field: str) -> int:
    found = int(hour) * 60 + int(minute)
    if int(minute) > 59 or found > _DAY_MINUTES:
        raise BadValue(field, f"has {hour}:{minute}, which is no time of day; {_HOW}")
    return found


def _days(text: str | None, field: str) -> frozenset[int]:
    """Without days it is every day."""
    if text is None:
        return frozenset(range(7))
    found: set[int] = set()
    for part in text.split(","):
        ends = [_day(name.strip(), field) for name in part.split("-")]
        if len(ends) > 2:
            raise BadValue(field, f"has {part.strip()!r}, which is no range of days; {_HOW}")
        first, last = ends[0], ends[-1]
        found.update(day % 7 for day in range(first, last + 1 if first <= last else last + 8))
    return frozenset(found)


def _day(name: str, field: str) -> int:
    try:
        return DAYS.index(name.capitalize())
    except ValueError:
        raise BadValue(field, f"has {name!r}, which is no day; there are {', '.join(DAYS)}") from None


def _written(time: Time) -> str:
    end = time.end if time.end <= _DAY_MINUTES else time.end - _DAY_MINUTES
    times = f"{_clock(time.begin)}-{_clock(end)}"
    return times if len(time.days) == 7 else f"{_written_days(time.days)} {times}"


def _written_days(days: frozenset[int]) -> str:
    """Runs of three days or more as a range."""
    runs: list[list[int]] = []
    for day in sorted(days):
        if runs and runs[-1][-1] == day - 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    parts = [f"{DAYS[run[0]]}-{DAYS[run[-1]]}" if len(run) > 2 else ",".join(DAYS[day] for day in run) for run in runs]
    return ",".join(parts)


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
