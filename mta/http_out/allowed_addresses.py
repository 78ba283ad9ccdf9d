"""The addresses to which a client of URLs that others name may connect: public ones, and those that settings allow."""

import ipaddress
import socket
from collections.abc import Sequence
from typing import Any

import aiohttp

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052 2.1: the last 32 bits are an IPv4 address


class AddressRefused(OSError):
    """The address is not one that a request may go to."""


def is_public(text: str) -> bool:
    """Whether an IP address is one of the internet's; one that carries another, such as ::ffff:10.0.0.1, is as public
    as that."""
    address = ipaddress.ip_address(text)
    return all(one.is_global and not one.is_multicast for one in (address, *_carried(address)))


def _carried(address: _Address) -> list[_Address]:
    if not isinstance(address, ipaddress.IPv6Address):
        return []
    found: list[_Address | None] = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _TRANSLATED:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [one for one in found if one is not None]


def is_within(text: str, networks: Sequence[Network]) -> bool:
    """Whether one of the networks has the address, or the IPv4 address that it maps."""
    address = ipaddress.ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return any((mapped or address) in network for network in networks)


class GuardedSockets:
    """Makes the sockets of a connector. The address is checked that the socket will connect to, whatever a name meant
    when somebody looked it up before."""

    def __init__(self, allow: Sequence[Network], *, only_allowed: bool) -> None:
        """`only_allowed`: public addresses are refused as well."""
        self._allow = tuple(allow)
        self._only_allowed = only_allowed

    def __call__(self, info: aiohttp.AddrInfoType) -> socket.socket:
        """Raises AddressRefused."""
        family, kind, protocol, _, where = info
        address = str(where[0]).partition("%")[0]
        if not self._may(address):
            if self._only_allowed:
                words = f"{address} is not in webhooks.allow_networks, which http:// needs"
            else:
                words = f"{address} is no public address and not in webhooks.allow_networks"
            raise AddressRefused(None, words)
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made

    def _may(self, address: str) -> bool:
        if is_within(address, self._allow):
            return True
        return not self._only_allowed and is_public(address)


def guarded(allow: Sequence[Network], *, only_allowed: bool, **more: Any) -> aiohttp.TCPConnector:
    """A connector that connects to allowed addresses only."""
    return aiohttp.TCPConnector(socket_factory=GuardedSockets(allow, only_allowed=only_allowed), **more)
