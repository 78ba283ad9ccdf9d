"""Addresses: messages, suppressions and selectors of rules read them alike."""

import pytest

from control_api.schemas import message_values, sending_values, suppression_shapes
from control_api.schemas.address_values import read_address, read_comparable
from mta.model.errors import BadValue

READERS = {
    "message": lambda value: sending_values.ADDRESS.read(value, "to").address,
    "suppression": lambda value: suppression_shapes.ADDRESS.read(value, "to"),
    "recipient": lambda value: message_values.ONE_RECIPIENT.read(value, "to"),
    "sender": lambda value: message_values.ONE_SENDER.read(value, "to"),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "given", ["ann@xn--bcher-kva.example", " ann@b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example\t"]
)
def test_a_domain_becomes_a_labels(reader: str, given: str) -> None:
    assert READERS[reader](given) == "ann@xn--bcher-kva.example"


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("given", ["ann@example.com.", "ann@[ipv6:2001:DB8:0::1]"])
def test_names_of_one_domain_are_one(reader: str, given: str) -> None:
    assert READERS[reader](given) in ("ann@example.com", "ann@[IPv6:2001:db8::1]")


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("ann", "is not an address; write local-part@domain"),
        ("ann smith@example.com", "is not an address; write local-part@domain"),
        ("\N{LATIN SMALL LETTER A WITH DIAERESIS}nn@example.com", "SMTPUTF8"),
        (f"ann@{'x' * 300}.example", "253"),
    ],
)
def test_others_are_refused_in_the_same_words(reader: str, given: str, words: str) -> None:
    with pytest.raises(BadValue, match=words) as refused:
        READERS[reader](given)
    assert refused.value.field == "to"


def test_mail_keeps_the_case_and_a_comparison_does_not() -> None:
    assert read_address("Ann.X@Example.COM", "to") == "Ann.X@Example.COM"
    assert read_comparable('"Ann.X"@Example.COM', "to") == "ann.x@example.com"


def test_a_star_is_no_address_that_is_compared() -> None:
    with pytest.raises(BadValue, match="give it as domain"):
        read_comparable("*@example.com", "address")
    with pytest.raises(BadValue, match=r"or \*@domain"):
        message_values.ONE_SENDER.read("example.com", "sender")
