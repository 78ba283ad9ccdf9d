import contextlib
import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.model.errors import BadValue
from mta.model.settings import Address
from mta.model.units import (
    format_duration,
    format_rate,
    format_size,
    format_time,
    parse_address,
    parse_duration,
    parse_rate,
    parse_size,
    parse_time,
)

NOW = 1_790_000_000_123


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("5s", 5),
        ("10m", 600),
        ("24h", 86400),
        ("5d", 432000),
        ("1.5h", 5400),
        ("7", 7),
        (7, 7),
        (0.25, 0.25),
    ],
)
def test_durations(text: str | float, seconds: float) -> None:
    assert parse_duration(text, "f") == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("25MiB", 26214400),
        ("64KiB", 65536),
        ("1GiB", 2**30),
        ("10MB", 10_000_000),
        ("100", 100),
        (100, 100),
        ("1.5KiB", 1536),
    ],
)
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text, "f") == size


@pytest.mark.parametrize(("text", "rate"), [("100/s", 100), ("600/m", 10), ("3600/h", 1), ("86400/d", 1), (5, 5)])
def test_rates(text: str | float, rate: float) -> None:
    assert parse_rate(text, "f") == rate


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:25", ("127.0.0.1", 25)),
        ("[::1]:0", ("::1", 0)),
        ("mx.example.com:2525", ("mx.example.com", 2525)),
    ],
)
def test_addresses_read_and_write_alike(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text, "f") == Address(*address)
    assert str(parse_address(text, "f")) == text


@pytest.mark.parametrize(
    "text", ["", ":25", "host", "host:", "host:65536", "host:+1", "::1:25", "[1.2.3.4]:25", "a b:1", "h:²"]
)
def test_what_is_no_address_is_refused_with_the_fix(text: str) -> None:
    with pytest.raises(BadValue) as caught:
        parse_address(text, "smtp.listen")
    assert str(caught.value) == (
        f'smtp.listen: {text!r} is not an address; write "host:port" or "[ipv6]:port", such as "127.0.0.1:2525"'
    )


@pytest.mark.parametrize(
    "text", ["", "s", "5 years", "-5s", "5S", "1e3s", "٣s", True, float("nan"), float("inf"), -1, None]
)
def test_what_is_no_duration_is_refused_with_the_fix(text: str) -> None:
    with pytest.raises(
        BadValue, match=r'^f: .* is not a duration; write a number and ms, s, m, h or d, such as "30s"$'
    ):
        parse_duration(text, "f")


@pytest.mark.parametrize("text", ["", "25 mib", "-1", "1.5.5KiB", True, -1, 1.5, None])
def test_what_is_no_size_is_refused_with_the_fix(text: str) -> None:
    with pytest.raises(
        BadValue, match=r'is not a size; write a number and KiB, MiB, GiB, KB, MB or GB, such as "25MiB"$'
    ):
        parse_size(text, "f")


@pytest.mark.parametrize("text", ["", "100", "100/", "/s", "100/y", "-1/s", True, -1, None])
def test_what_is_no_rate_is_refused_with_the_fix(text: str) -> None:
    with pytest.raises(BadValue, match=r'is not a rate; write a number and /s, /m, /h or /d, such as "100/s"$'):
        parse_rate(text, "f")


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01 00:00:01", 1000),
        ("1970-01-01T01:00:00.5+01:00", 500),
        ("1970-01-01t00:00:00.123456789z", 123),
        ("1969-12-31T23:59:59.250Z", -750),
        ("+10m", NOW + 600_000),
        ("+0.5s", NOW + 500),
    ],
)
def test_times(text: str, ms: int) -> None:
    assert parse_time(text, "f", NOW) == ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        "+-5s",
        "now",
        "2026-02-30 00:00:00",
        "2026-01-01",
        "2026-01-01T24:00:01Z",
        "+9999999d",
        "2026-01-01T00:00:00",
        "2026-01-01 00:00:00.5",
        "9999-12-31T23:59:59-01:00",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(BadValue, match=r"^f: .* is not a (time|duration); write "):
        parse_time(text, "f", NOW)


def test_a_time_is_written_with_milliseconds_and_z_whatever_was_written_before() -> None:
    assert [format_time(ms) for ms in (0, 999, 1000, 7, NOW)] == [
        "1970-01-01T00:00:00.000Z",
        "1970-01-01T00:00:00.999Z",
        "1970-01-01T00:00:01.000Z",
        "1970-01-01T00:00:00.007Z",
        "2026-09-21T14:13:20.123Z",
    ]


@given(st.integers(0, 253402300799999))
def test_written_times_read_back(ms: int) -> None:
    assert parse_time(format_time(ms), "f", 0) == ms
    moment = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(milliseconds=ms)
    assert format_time(ms) == moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@given(st.integers(0, 10**12))
def test_written_durations_read_back(ms: int) -> None:
    assert parse_duration(format_duration(ms / 1000), "f") == pytest.approx(ms / 1000, abs=1e-6)


@given(st.integers(0, 10**15 - 1))
def test_written_sizes_read_back(size: int) -> None:
    assert parse_size(format_size(size), "f") == size


@given(st.integers(0, 10**9), st.sampled_from("smhd"))
def test_written_rates_read_back(count: int, unit: str) -> None:
    rate = parse_rate(f"{count}/{unit}", "f")
    assert parse_rate(format_rate(rate), "f") == pytest.approx(rate, rel=1e-9, abs=1e-9)


@given(st.text(max_size=40))
def test_parsers_raise_nothing_but_bad_value(text: str) -> None:
    for parse in (parse_duration, parse_size, parse_rate, parse_address, lambda t, f: parse_time(t, f, NOW)):
        with contextlib.suppress(BadValue):
            parse(text, "f")
