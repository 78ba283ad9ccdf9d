"""The hosts and addresses for the mail of a domain, by DNS (RFC 5321 5.1, RFC 7505)."""

import enum
import functools
import ipaddress
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mta.model.errors import BadValue
from mta.model.settings import Address

MOST_HOSTS = 5
MOST_ADDRESSES = 2
SMTP_PORT = 25
_REMEMBERED = 16_384  # addresses and names of hosts that were parsed


class MxRecord(NamedTuple):
    """One MX record; "." or "" as the host is a null MX."""

    preference: int
    host: str


class Hosts(NamedTuple):
    """Hosts in the order to try them, or the reason why there are none, for people."""

    hosts: tuple[str, ...]
    failure: str = ""
    temporary: bool = False
    enhanced: str = ""
    first: int = 1  # so many of them have the best preference


def choose_hosts(domain: str, records: Sequence[MxRecord], shuffle: Callable[[list[Any]], None]) -> Hosts:
    """Hosts of `records` by preference, equal ones shuffled. No record at all: the domain itself (implicit MX)."""
    if not records:
        return Hosts((domain,))
    real = [record for record in records if record.host.rstrip(".")]
    if not real:
        return Hosts((), f"{domain} does not accept mail (null MX)", False, "5.1.10")
    usable = [record for record in real if not is_address(record.host)]
    if not usable:
        return Hosts((), f"the MX records of {domain} name no hosts", False, "5.4.4")
    shuffle(usable)
    usable.sort(key=lambda record: record.preference)
    hosts = dict.fromkeys(record.host.rstrip(".").lower() for record in usable)
    best = {record.host.rstrip(".").lower() for record in usable if record.preference == usable[0].preference}
    return Hosts(tuple(hosts)[:MOST_HOSTS], first=min(len(best), MOST_HOSTS))


def literal_address(domain: str) -> str | None:
    """The address in a domain literal (RFC 5321 4.1.3), None: not a literal. Raises BadValue: a malformed one."""
    if not domain.startswith("["):
        return None
    inner = domain[1:-1] if domain.endswith("]") else ""
    version = 6 if inner[:5].lower() == "ipv6:" else 4
    try:
        address = ipaddress.ip_address(inner[5:] if version == 6 else inner)
    except ValueError:
        address = None
    if address is None or address.version != version:
        raise BadValue("domain", f"{domain!r} is not an address literal; write [192.0.2.1] or [IPv6:2001:db8::1]")
    return str(address)


@functools.lru_cache(maxsize=_REMEMBERED)
def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]."))
    except ValueError:
        return False
    return True


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@functools.lru_cache(maxsize=_REMEMBERED)
def _parsed(ip: str) -> _Address:
    """Raises ValueError."""
    return ipaddress.ip_address(ip)


@functools.lru_cache(maxsize=_REMEMBERED)
def normal(ip: str) -> str:
    """The address in the one form in which rules name it. Raises ValueError."""
    return str(ipaddress.ip_address(ip.strip("[].")))


@functools.lru_cache(maxsize=_REMEMBERED)
def _facts(ip: str) -> tuple[bool, bool]:
    """Whether it may be the address of a host, and whether it is one of loopback. Raises ValueError."""
    address = _parsed(ip)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    no_host = address.is_unspecified or address.is_multicast or str(address) == "255.255.255.255"
    return not no_host, address.is_loopback


class Refusal(enum.Enum):
    """The reason why mail must not go to an address: words for people, and the enhanced code (RFC 3463)."""

    NO_HOST = "not the address of a host", "5.4.4"
    LOOP = "this node itself: a mail loop", "5.4.6"
    LOOPBACK = "a loopback address", "5.4.4"

    def __init__(self, words: str, enhanced: str) -> None:
        self.words = words
        self.enhanced = enhanced


def why_refused(ip: str, port: int, own: Sequence[Address]) -> Refusal | None:
    """The reason why mail must not go to an address that DNS (or a literal) gave; None: it may.

    Mail to a listener of this node would loop. Loopback is refused on port 25, because foreign DNS must not direct mail
    to local servers. With another `delivery.mx_port` the operator has chosen the server.
    """
    may_be_host, is_loopback = _facts(ip)
    if not may_be_host:
        return Refusal.NO_HOST
    if is_own(ip, port, own):
        return Refusal.LOOP
    if is_loopback and port == SMTP_PORT:
        return Refusal.LOOPBACK
    return None


def is_own(ip: str, port: int, own: Sequence[Address]) -> bool:
    """Whether a listener of this node answers there."""
    for listener in own:
        if port == listener.port and is_address(listener.host):
            address, host = _parsed(ip), _parsed(listener.host)
            if host == address or (host.is_unspecified and address.is_loopback):
                return True
    return False
