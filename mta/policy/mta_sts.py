"""MTA-STS: the record and the policy of a domain, and the hosts that a policy allows (RFC 8461)."""

import enum
import re
from collections.abc import Sequence
from typing import Final

import msgspec

LONGEST_AGE: Final = 31_557_600  # seconds, RFC 8461 3.2
LARGEST_POLICY: Final = 64 * 1024  # bytes, RFC 8461 3.3
_MOST_HOSTS: Final = 1000

_RECORD: Final = re.compile(r"v=STSv1[ \t]*;(.*)", re.ASCII | re.DOTALL)
_ID: Final = re.compile(r"[A-Za-z0-9]{1,32}", re.ASCII)
_HOST: Final = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)+", re.ASCII)


class StsMode(enum.StrEnum):
    """The demand of a policy."""

    ENFORCE = "enforce"  # only hosts that it names, with a certificate that names the host
    TESTING = "testing"  # mail goes as without it
    NONE = "none"  # there is no policy any more


class StsPolicy(msgspec.Struct, array_like=True, frozen=True):
    """A policy as it was fetched (msgpack in the store; new fields only at the end)."""

    id: str  # of the record that was seen with it
    mode: StsMode
    max_age: int  # seconds
    hosts: tuple[str, ...]  # "mx.example.com" or "*.example.com", in lower case
    fetched_at: int  # Unix ms

    @property
    def expires_at(self) -> int:
        """Unix ms."""
        return self.fetched_at + self.max_age * 1000

    def allows(self, host: str) -> bool:
        """Whether an MX host is one that the policy names. `*.` stands for exactly one label (RFC 8461 4.1)."""
        name = host.lower().rstrip(".")
        return name in self.hosts or f"*.{name.partition('.')[2]}" in self.hosts


class BadPolicy(Exception):
    """The text is no policy; the words say why."""


def record_id(texts: Sequence[str]) -> str | None:
    """The id in the TXT records of `_mta-sts.<domain>`. None: the domain has no policy, which is also so where two
    records claim to be one (RFC 8461 3.1)."""
    found = [match for text in texts if (match := _RECORD.fullmatch(text.strip())) is not None]
    if len(found) != 1:
        return None
    for field in found[0][1].split(";"):
        name, _, value = field.partition("=")
        if name.strip() == "id":
            return value.strip() if _ID.fullmatch(value.strip()) else None
    return None


def read_policy(text: str, record: str, now: int) -> StsPolicy:
    """The policy in the text that a policy host gave at `now` (Unix ms). Raises BadPolicy."""
    fields: dict[str, str] = {}
    hosts: list[str] = []
    for line in text.replace("\r\n", "\n").split("\n"):
        name, colon, value = line.partition(":")
        name, value = name.strip(), value.strip()
        if not line.strip():
            continue
        if not colon:
            raise BadPolicy(f"{line.strip()[:80]!r} is not a field")
        if name == "mx":
            hosts.append(value.lower().rstrip("."))
        else:
            fields.setdefault(name, value)  # of a field given twice the first counts (RFC 8461 3.2)
    if fields.get("version") != "STSv1":
        raise BadPolicy("version is not STSv1")
    try:
        mode = StsMode(fields.get("mode", ""))
    except ValueError:
        raise BadPolicy("mode is not enforce, testing or none") from None
    age = fields.get("max_age", "")
    if not (age.isascii() and age.isdigit() and len(age) <= 10):
        raise BadPolicy("max_age is not a number of seconds")
    if mode is not StsMode.NONE and not hosts:
        raise BadPolicy("no mx is named")
    if len(hosts) > _MOST_HOSTS or not all(_HOST.fullmatch(host) for host in hosts):
        raise BadPolicy("an mx is not a host name")
    return StsPolicy(record, mode, min(int(age), LONGEST_AGE), tuple(hosts), now)
