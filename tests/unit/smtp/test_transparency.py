"""What DATA carries is what was given, whatever it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.smtp.transparency import END_OF_DATA, has_bare_line_end, most_on_the_wire, sent_size, unstuffed, wire_form

LINES = st.lists(st.text("\0.a\x80ÿ", max_size=6).map(lambda text: text.encode("latin-1")), max_size=8)


@given(LINES, st.booleans())
def test_what_is_stuffed_comes_back(lines: list[bytes], ended: bool) -> None:
    content = b"\r\n".join(lines) + (b"\r\n" if ended else b"")
    wire = b"\r\n" + wire_form(content)
    assert wire.find(END_OF_DATA) == len(wire) - len(END_OF_DATA)
    read = unstuffed(wire[:-3])
    assert read == (content if not content or content.endswith(b"\r\n") else content + b"\r\n")
    assert len(read) == sent_size(content)
    assert len(wire) <= most_on_the_wire(len(read))


@pytest.mark.parametrize(
    "raw", [b"\r\na\rb\r\n", b"\r\na\nb\r\n", b"\r\na\r\r\n", b"\r\n\n\r\n", b"\r\n\n\r", b"\r\n\r"]
)
def test_bare_line_ends_are_seen(raw: bytes) -> None:
    assert has_bare_line_end(raw)


def test_crlf_is_not_bare() -> None:
    assert not has_bare_line_end(b"\r\n\x0b\x0c\x85\r\n\r\n")
