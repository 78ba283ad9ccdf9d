"""The one grammar of durations, sizes, rates, addresses and times: in settings, headers, commands and requests."""

import datetime
import ipaddress
import re
from typing import Annotated

from msgspec import Meta

from mta.model.errors import BadValue
from mta.model.settings import Address

TimeText = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]  # as `format_time` writes it

_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE_UNITS = {
    "": 1,
    "B": 1,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}
_RATE_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

_QUANTITY = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([A-Za-z]*)", re.ASCII)
_RATE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?/ ?([smhd])", re.ASCII)
_DAY, _CLOCK = r"([0-9]{4}-[0-9]{2}-[0-9]{2})", r"([0-9]{2}:[0-9]{2}:[0-9]{2})"
_TIME = re.compile(
    rf"{_DAY}(?: {_CLOCK}|[Tt ]{_CLOCK}(\.[0-9]{{1,9}})?([Zz]|[+-][0-9]{{2}}:[0-9]{{2}}))",
    re.ASCII,
)
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?\.?", re.ASCII)

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_FIRST_MS = -62135596800000  # 0001-01-01T00:00:00.000Z
LONGEST_DURATION = 10 * 365 * 86400  # seconds, of all that a client may set
LAST_MS = 253402300799999  # 9999-12-31T23:59:59.999Z: no later time can be written


def parse_duration(value: str | int | float, field: str) -> float:
    """Seconds from "500ms", "5s", "10m", "24h", "5d" or a number of seconds. Raises BadValue."""
    if isinstance(value, str):
        found = _QUANTITY.fullmatch(value.strip())
        unit = _DURATION_UNITS.get(found[2] or "s") if found else None
        if found and unit:
            return float(found[1]) * unit
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e15:
        return float(value)
    raise BadValue(field, f'{_shown(value)} is not a duration; write a number and ms, s, m, h or d, such as "30s"')


def parse_size(value: str | int, field: str) -> int:
    """Bytes from "25MiB", "64KiB", "1GiB", "10MB", "100" or a number of bytes. Raises BadValue."""
    if isinstance(value, str):
        found = _QUANTITY.fullmatch(value.strip())
        unit = _SIZE_UNITS.get(found[2]) if found else None
        if found and unit:
            whole, _, part = found[1].partition(".")
            return int(whole) * unit + (int(part) * unit // 10 ** len(part) if part else 0)
    elif not isinstance(value, bool) and isinstance(value, int) and value >= 0:
        return value
    raise BadValue(
        field, f'{_shown(value)} is not a size; write a number and KiB, MiB, GiB, KB, MB or GB, such as "25MiB"'
    )


def parse_rate(value: str | int | float, field: str) -> float:
    """Events per second from "100/s", "600/m", "1000/h", "5000/d" or a number per second. Raises BadValue."""
    if isinstance(value, str):
        found = _RATE.fullmatch(value.strip())
        if found:
            return float(found[1]) / _RATE_UNITS[found[2]]
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e15:
        return float(value)
    raise BadValue(field, f'{_shown(value)} is not a rate; write a number and /s, /m, /h or /d, such as "100/s"')


def parse_address(value: str, field: str) -> Address:
    """The address in "host:port" or "[v6]:port"; port 0 is any free one. Raises BadValue."""
    if isinstance(value, str):
        host, colon, port = value.strip().rpartition(":")
        if colon and port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535 and _is_host(host):
            return Address(host.strip("[]"), int(port))
    raise BadValue(
        field, f'{_shown(value)} is not an address; write "host:port" or "[ipv6]:port", such as "127.0.0.1:2525"'
    )


def parse_time(text: str, field: str, now_ms: int) -> int:
    """Unix milliseconds from RFC 3339, "YYYY-MM-DD HH:MM:SS" (UTC), or "+duration" from `now_ms`. Raises BadValue."""
    text = text.strip()
    if text.startswith("+") and text[1:2].isdigit():
        moment = now_ms + round(parse_duration(text[1:], field) * 1000)
        if moment <= LAST_MS:
            return moment
    else:
        found = _TIME.fullmatch(text)
        if found:
            day, in_utc, clock, fraction, zone = found.groups()
            try:
                whole = datetime.datetime.fromisoformat(f"{day}T{in_utc or clock}{_zone(zone)}")
            except ValueError:
                pass
            else:
                passed = whole - _EPOCH
                seconds = passed.days * 86400 + passed.seconds
                moment = seconds * 1000 + (int(fraction[1:4].ljust(3, "0")) if fraction else 0)
                if _FIRST_MS <= moment <= LAST_MS:
                    return moment
    raise BadValue(
        field,
        f"{_shown(text)} is not a time; write RFC 3339 with its zone (2026-01-31T12:00:00Z), "
        "2026-01-31 12:00:00 (UTC) or +10m",
    )


_last_second: tuple[int, str] = (-1, "")  # swapped whole: threads may share it


def format_time(ms: int) -> str:
    """RFC 3339 in UTC with milliseconds and Z; the text of the last second is kept, since log lines share it."""
    global _last_second
    last = _last_second
    second, rest = divmod(ms, 1000)
    if second != last[0]:
        moment = _EPOCH + datetime.timedelta(seconds=second)
        last = _last_second = (second, moment.strftime("%Y-%m-%dT%H:%M:%S."))
    return f"{last[1]}{rest:03d}Z"


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads back: "500ms", "90s", "10m", "1d"."""
    ms = round(seconds * 1000)
    if ms % 1000 and abs(ms - seconds * 1000) < 1e-6:
        return f"{ms}ms"
    for unit in ("d", "h", "m"):
        if seconds >= _DURATION_UNITS[unit] and seconds % _DURATION_UNITS[unit] == 0:
            return f"{int(seconds / _DURATION_UNITS[unit])}{unit}"
    return f"{_number(seconds)}s"


def format_size(size: int) -> str:
    """The size in the largest binary unit that divides it, else in bytes."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % _SIZE_UNITS[unit] == 0:
            return f"{size // _SIZE_UNITS[unit]}{unit}"
    return str(size)


def format_rate(per_second: float) -> str:
    """The rate per the shortest unit in which it is whole, else per second."""
    for unit, seconds in _RATE_UNITS.items():
        if per_second * seconds == int(per_second * seconds):
            return f"{int(per_second * seconds)}/{unit}"
    return f"{_number(per_second)}/s"


def _is_host(host: str) -> bool:
    if host.startswith("[") and host.endswith("]"):
        try:
            return ipaddress.ip_address(host[1:-1]).version == 6
        except ValueError:
            return False
    return _HOST.fullmatch(host) is not None


def _zone(zone: str | None) -> str:
    return "+00:00" if zone is None or zone in "Zz" else zone


def _number(value: float) -> str:
    return f"{value:.9f}".rstrip("0").rstrip(".")


def _shown(value: object) -> str:
    """`value` as an error may show it: quoted, control characters escaped, never long."""
    shown = ascii(value) if not isinstance(value, str) else repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "..."
