"""Addresses in comparable form: one text for all ways to write a mailbox (RFC 5321 4.1.2)."""

import pytest

from mta.policy.addresses import comparable
from mta.smtp.grammar import parse_mailbox


@pytest.mark.parametrize(
    ("written", "compared"),
    [
        ("Bob@X.test", "bob@x.test"),
        ('"bob"@x.test', "bob@x.test"),
        (r'"b\ob"@x.test', "bob@x.test"),
        ('"a.b"@x.test', "a.b@x.test"),
        (r'"\A b"@x.test', '"a b"@x.test'),
        (r'"a\"\\b"@x.test', r'"a\"\\b"@x.test'),
        ('"a@b"@x.test', '"a@b"@x.test'),
        ('""@x.test', '""@x.test'),
        ('"*"@x.test', '"*"@x.test'),  # the other is every address there
        ('"B\u00fcro"@x.test', "b\u00fcro@x.test"),
        ("", ""),
    ],
)
def test_a_local_part_has_the_quotes_that_it_needs(written: str, compared: str) -> None:
    assert comparable(written) == compared
    assert comparable(compared) == compared
    if compared.isascii() and compared:
        assert parse_mailbox(compared, "address") == compared
