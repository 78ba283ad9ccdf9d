"""MTA-STS records and policies, and the hosts that they allow (C-104)."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.policy.mta_sts import BadPolicy, StsMode, StsPolicy, read_policy, record_id

GOOD = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 86400\r\n"


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
        (["v=spf1 -all", "v=STSv1;id=1"], "1"),
        (["v=STSv1; other=x; id=abc"], "abc"),
        (["v=STSv1; id=1", "v=STSv1; id=2"], None),  # RFC 8461 3.1: as if there were none
        (["v=STSv1; id=with-dash"], None),
        (["v=STSv1; id=" + "x" * 33], None),
        (["v=STSv1"], None),
        (["v=STSv12; id=1"], None),
        (["v=spf1 -all"], None),
        ([], None),
    ],
)
def test_c104_the_id_of_a_record(texts: list[str], found: str | None) -> None:
    assert record_id(texts) == found


def test_c104_a_policy_is_read_with_either_line_end() -> None:
    policy = StsPolicy("7", StsMode.ENFORCE, 86400, ("mail.example.com", "*.example.net"), 5)
    assert read_policy(GOOD, "7", 5) == read_policy(GOOD.replace("\r\n", "\n"), "7", 5) == policy
    assert read_policy(GOOD + "later: x\r\nmode: none\r\n", "7", 5) == policy
    assert policy.expires_at == 86_400_005
    assert read_policy(GOOD.replace("86400", "99999999"), "7", 5).max_age == 31_557_600


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("STSv1", "STSv2"), "version"),
        (("enforce", "maybe"), "mode"),
        (("max_age: 86400", "max_age: -1"), "max_age"),
        (("max_age: 86400\r\n", ""), "max_age"),
        (("mx: mail.example.com\r\nmx: *.example.net\r\n", ""), "no mx"),
        (("mail.example.com", "mail.*.com"), "host name"),
        (("mx: mail", "mx mail"), "not a field"),
    ],
)
def test_c104_a_text_that_is_no_policy_is_refused(change: tuple[str, str], why: str) -> None:
    with pytest.raises(BadPolicy, match=why):
        read_policy(GOOD.replace(*change), "7", 5)


def test_c104_a_policy_of_mode_none_needs_no_host() -> None:
    assert read_policy("version: STSv1\nmode: none\nmax_age: 5\n", "7", 5).mode is StsMode.NONE


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("mail.example.com", True),
        ("Mail.Example.COM.", True),
        ("mx1.example.net", True),
        ("a.mx1.example.net", False),  # the wildcard stands for one label
        ("example.net", False),
        ("other.example.com", False),
    ],
)
def test_c104_hosts_that_a_policy_allows(host: str, allowed: bool) -> None:
    assert read_policy(GOOD, "7", 5).allows(host) is allowed


@given(st.text(), st.lists(st.text(), max_size=3))
def test_any_text_is_read_or_refused(text: str, texts: list[str]) -> None:
    record_id(texts)
    with contextlib.suppress(BadPolicy):
        read_policy(text, "7", 5)
