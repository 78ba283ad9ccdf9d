"""The addresses that a URL or a name which somebody else gives may mean: those of the internet."""

import ipaddress
from collections.abc import Sequence
from typing import Final

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# All of IANA's special-purpose registries (RFC 6890, as of October 2025), also ranges that are reachable: no host of a
# sender is there.
_SPECIAL: Final = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # relays of 6to4, and of 6a44
        "192.168.0.0/16",
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",
        "168.63.129.16/32",  # no special purpose, but the platform's services inside Azure
    )
)
_UNICAST: Final = ipaddress.IPv6Network(
    "2000::/3"
)  # the rest of IPv6 is special, or is not given to anybody (RFC 4291 2.4)
_SPECIAL_UNICAST: Final = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocols: Teredo, ORCHID, AMT, AS112, anycast addresses of services, measurements
        "2001:db8::/32",
        "2002::/16",  # 6to4, which carries IPv4 addresses
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",
    )
)
_TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052 2.1: the last 32 bits are an IPv4 address


def is_public(text: str) -> bool:
    """Whether an IP address is one of the internet's; ::ffff:10.0.0.1 and 64:ff9b::a00:1 are as public as 10.0.0.1."""
    address = _without_wrap(ipaddress.ip_address(text))
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _SPECIAL)
    return address in _UNICAST and not any(address in network for network in _SPECIAL_UNICAST)


def _without_wrap(address: _Address) -> _Address:
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address


def is_within(text: str, networks: Sequence[Network]) -> bool:
    """Whether one of the networks has the address, or the IPv4 address that it maps."""
    address = ipaddress.ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return any((mapped or address) in network for network in networks)
