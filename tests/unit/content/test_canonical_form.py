"""The relaxed canonical form: the example of RFC 6376 3.4.5, and dkimpy as the judge of any text."""

from dkim.canonicalization import Relaxed
from hypothesis import given
from hypothesis import strategies as st

from mta.content.canonical_form import header_fields, relaxed_body, relaxed_field

PIECES = st.lists(st.sampled_from([b" ", b"\t", b"\r\n", b"a", b"b c", b".", b"\xc3\xbc"]), max_size=40)


def test_the_example_of_the_rfc() -> None:
    fields = header_fields(b"A: X\r\nB : Y\t\r\n\tZ  \r\n")
    assert fields is not None
    assert [relaxed_field(name, value) for name, values in fields.items() for value in values] == [b"a:X", b"b:Y Z"]
    assert relaxed_body(b" C \r\nD \t E\r\n\r\n\r\n") == b" C\r\nD E\r\n"
    assert relaxed_body(b"") == relaxed_body(b"\r\n\r\n") == relaxed_body(b" \t\r\n") == b""


@given(PIECES)
def test_bodies_are_as_dkimpy_has_them(pieces: list[bytes]) -> None:
    body = b"".join([*pieces, b"\r\n"])
    assert relaxed_body(body) == Relaxed.canonicalize_body(body)


@given(PIECES)
def test_fields_are_as_dkimpy_has_them(pieces: list[bytes]) -> None:
    value = b"".join(pieces).replace(b"\r\n", b"\r\n ").rstrip(b"\r\n ") + b"\r\n"
    ((name, wanted),) = Relaxed.canonicalize_headers([(b"Name", value)])
    assert relaxed_field(b"name", value.removesuffix(b"\r\n")) + b"\r\n" == name + b":" + wanted


def test_a_line_that_is_no_field_makes_the_header_unreadable() -> None:
    for line in (b"no colon", b": no name", b"a b: blank in the name", b"\xc3\xbc: not ascii"):
        assert header_fields(b"From: a@b\r\n" + line + b"\r\n") is None
