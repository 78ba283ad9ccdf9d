"""Hosts by preference, literals, and addresses that are refused."""

import random
from collections import Counter

import pytest

from mta.model.errors import BadValue
from mta.model.settings import Address
from mta.policy.mx import MxRecord, choose_hosts, literal_address, why_refused


def hosts(*records: tuple[int, str]) -> tuple[str, ...]:
    return choose_hosts("example.com", [MxRecord(*record) for record in records], lambda _: None).hosts


def test_hosts_come_by_preference_and_in_lower_case() -> None:
    assert hosts((20, "B.test."), (10, "a.test"), (30, "c.test")) == ("a.test", "b.test", "c.test")


def test_equal_preferences_are_shuffled_c100() -> None:
    rng = random.Random(7)
    records = [MxRecord(10, f"mx{number}.test") for number in range(4)] + [MxRecord(5, "first.test")]
    seen = Counter(choose_hosts("example.com", records, rng.shuffle).hosts for _ in range(2_000))
    assert len(seen) == 24
    assert {order[0] for order in seen} == {"first.test"}
    assert min(seen.values()) > 40
    assert max(seen.values()) < 150


def test_those_of_the_best_preference_are_counted() -> None:
    records = [MxRecord(10, "a.test"), MxRecord(20, "b.test"), MxRecord(10, "c.test"), MxRecord(10, "A.test.")]
    found = choose_hosts("example.com", records, lambda _: None)
    assert (found.hosts, found.first) == (("a.test", "c.test", "b.test"), 2)


def test_no_mx_means_the_domain_itself() -> None:
    assert hosts() == ("example.com",)


def test_a_null_mx_and_unusable_ones_never_fall_back_c101() -> None:
    null = choose_hosts("example.com", [MxRecord(0, ".")], lambda _: None)
    assert (null.hosts, null.enhanced, null.temporary) == ((), "5.1.10", False)
    assert hosts((0, "."), (10, "a.test")) == ("a.test",)
    numeric = choose_hosts("example.com", [MxRecord(0, "192.0.2.1.")], lambda _: None)
    assert (numeric.hosts, numeric.enhanced) == ((), "5.4.4")


def test_five_thousand_mx_are_bounded_f31() -> None:
    assert hosts(*[(number, f"mx{number}.test") for number in range(5_000)]) == tuple(f"mx{n}.test" for n in range(5))


def test_literals() -> None:
    assert literal_address("example.com") is None
    assert literal_address("[192.0.2.1]") == "192.0.2.1"
    assert literal_address("[IPv6:2001:db8::1]") == "2001:db8::1"
    for bad in ("[1.2.3]", "[IPv6:zz]", "[192.0.2.1", "[IPv6:192.0.2.1]", "[2001:db8::1]"):
        with pytest.raises(BadValue):
            literal_address(bad)


@pytest.mark.parametrize(
    ("ip", "port", "words", "enhanced"),
    [
        ("127.0.0.1", 25, "loopback", "5.4.4"),
        ("::ffff:127.0.0.1", 25, "loopback", "5.4.4"),
        ("::1", 25, "loopback", "5.4.4"),
        ("0.0.0.0", 2025, "not the address", "5.4.4"),
        ("224.0.0.1", 25, "not the address", "5.4.4"),
        ("127.0.0.1", 2525, "mail loop", "5.4.6"),
        ("127.0.0.9", 2626, "mail loop", "5.4.6"),
        ("127.0.0.1", 2025, "", ""),
        ("192.0.2.1", 25, "", ""),
    ],
)
def test_addresses_that_strangers_may_not_steer_mail_to_s10_f31(ip: str, port: int, words: str, enhanced: str) -> None:
    own = (Address("127.0.0.1", 2525), Address("0.0.0.0", 2626))
    refused = why_refused(ip, port, own)
    assert (refused is not None) is bool(words)
    assert refused is None or (words in refused.words and refused.enhanced == enhanced)
