"""The domains of the From header, as the terms of a tenant look at them."""

import pytest

from mta.content.from_domains import from_domains


@pytest.mark.parametrize(
    ("header", "domains"),
    [
        (b"From: a@one.test", [b"one.test"]),
        (b"FROM : <a@one.test>", [b"one.test"]),
        (b"From: a@one.test, B <b@two.test>", [b"one.test", b"two.test"]),
        (b'From: "x@two.test" <a@one.test>', [b"one.test"]),
        (b"From: A (of b@two.test) <a@one.test>", [b"one.test"]),
        (b"From: x@two.test <a@one.test>", [b"two.test", b"one.test"]),
        (b"From: A\r\n\t<a@\r\n one.test>", [b"one.test"]),
        (b"From: a@one.test\r\nFrom: b@two.test", [b"one.test", b"two.test"]),
        (b"From-Us: a@one.test", []),
        (b"Subject: a@one.test", []),
        (b"From: nobody", []),
        (b"From: a@", [b""]),
    ],
)
def test_each_domain_behind_an_at_counts(header: bytes, domains: list[bytes]) -> None:
    assert from_domains(b"To: t@to.test\r\n" + header + b"\r\n\r\nFrom: body@body.test\r\n") == domains


def test_a_message_without_a_header_names_none() -> None:
    assert from_domains(b"\r\nFrom: a@one.test\r\n") == []
