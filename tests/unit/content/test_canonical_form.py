"""The relaxed canonical form: the example of RFC 6376 3.4.5, and dkimpy as the judge of any text."""

from hashlib import sha256
from unittest import mock

from dkim.canonicalization import Relaxed
from hypothesis import given
from hypothesis import strategies as st

from mta.content import canonical_form
from mta.content.canonical_form import body_digest, header_fields, relaxed_field

PIECES = st.lists(st.sampled_from([b" ", b"\t", b"\r\n", b"a", b"b c", b".", b"\xc3\xbc"]), max_size=40)


def test_the_example_of_the_rfc() -> None:
    fields = header_fields(b"A: X\r\nB : Y\t\r\n\tZ  \r\n")
    assert fields is not None
    assert [relaxed_field(name, value) for name, values in fields.items() for value in values] == [b"a:X", b"b:Y Z"]
    assert body_digest(b" C \r\nD \t E\r\n\r\n\r\n") == sha256(b" C\r\nD E\r\n").digest()
    assert body_digest(b"") == body_digest(b"\r\n\r\n") == body_digest(b" \t\r\n") == sha256(b"").digest()


@given(PIECES, st.sampled_from([1, 2, 3, 5, 8, 1000]))
def test_bodies_are_as_dkimpy_has_them_however_they_are_cut(pieces: list[bytes], size: int) -> None:
    body = b"".join([*pieces, b"\r\n"])
    with mock.patch.object(canonical_form, "_PIECE", size):
        assert body_digest(body) == sha256(Relaxed.canonicalize_body(body)).digest()


@given(PIECES)
def test_fields_are_as_dkimpy_has_them(pieces: list[bytes]) -> None:
    value = b"".join(pieces).replace(b"\r\n", b"\r\n ").rstrip(b"\r\n ") + b"\r\n"
    ((name, wanted),) = Relaxed.canonicalize_headers([(b"Name", value)])
    assert relaxed_field(b"name", value.removesuffix(b"\r\n")) + b"\r\n" == name + b":" + wanted


def test_a_line_that_is_no_field_makes_the_header_unreadable() -> None:
    for line in (b"no colon", b": no name", b"a b: blank in the name", b"\xc3\xbc: not ascii"):
        assert header_fields(b"From: a@b\r\n" + line + b"\r\n") is None
