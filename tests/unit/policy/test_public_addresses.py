"""Every block of IANA's special-purpose registries, by its first, its last and a middle address."""

import ipaddress

import pytest

from mta.policy.public_addresses import is_public

# https://www.iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry, October 2025.
IPV4 = [
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.0.0/29", "192.0.0.8/32", "192.0.0.9/32", "192.0.0.10/32", "192.0.0.170/32", "192.0.0.171/32",
    "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.88.99.2/32", "192.168.0.0/16",
    "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4", "255.255.255.255/32",
]  # fmt: skip
IPV6 = [
    "::1/128", "::/128", "::ffff:0:0/104", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23", "2001::/32",
    "2001:1::1/128", "2001:1::2/128", "2001:1::3/128", "2001:2::/48", "2001:3::/32", "2001:4:112::/48",
    "2001:10::/28", "2001:20::/28", "2001:30::/28", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20",
    "5f00::/16", "fc00::/7", "fe80::/10",
]  # fmt: skip
MULTICAST = ["224.0.0.0/4", "ff00::/8"]


def some_of(block: str) -> list[str]:
    network = ipaddress.ip_network(block)
    return [str(network[at]) for at in (0, network.num_addresses // 2, -1)]


@pytest.mark.parametrize("block", IPV4 + IPV6 + MULTICAST)
def test_no_address_of_a_special_block_is_public_wrapped_or_not(block: str) -> None:
    for address in some_of(block):
        assert not is_public(address), address
        if ":" not in address:
            assert not is_public(f"::ffff:{address}"), "mapped"
            assert not is_public(str(ipaddress.IPv6Address(f"64:ff9b::{address}"))), "translated (RFC 6052)"


@pytest.mark.parametrize("block", [block for block in IPV4 if not block.endswith("/32")])
def test_the_addresses_beside_the_blocks_are_public_unless_they_are_in_another_one(block: str) -> None:
    network = ipaddress.IPv4Network(block)
    others = [ipaddress.IPv4Network(other) for other in [*IPV4, MULTICAST[0]]]
    for beside in (int(network[0]) - 1, int(network[-1]) + 1):
        if 0 <= beside < 2**32:
            address = ipaddress.IPv4Address(beside)
            assert is_public(str(address)) is not any(address in other for other in others), address


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2001:4860:4860::8888", "2600::1", "2a00::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


def test_the_services_of_a_platform_inside_its_network_are_not_public() -> None:
    assert not is_public("168.63.129.16")
