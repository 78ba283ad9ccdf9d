"""DATA carries any content unchanged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.smtp.transparency import (
    END_OF_DATA,
    has_bare_line_end,
    most_on_the_wire,
    sent_size,
    unstuffed,
    wire_form,
    with_crlf,
)

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


@given(st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"..", b"a", b"\xff\0"]), max_size=20).map(b"".join))
def test_i2_line_ends_and_dots_octet_by_octet(sent: bytes) -> None:
    made, at, behind = b"", 0, b"\r\n"
    while at < len(sent):
        at += sent.startswith(b"." if behind == b"\r\n" else b".." if behind == b"\n" else b"\0none", at)
        if at == len(sent):
            break
        behind = b"\r\n" if sent.startswith(b"\r\n", at) else sent[at : at + 1]
        made += b"\r\n" if behind in (b"\r", b"\n") else behind
        at += len(behind)
    assert with_crlf(b"\r\n" + sent, True) == made
    if not sent.startswith(b".") and b"\r\n." not in sent:
        assert with_crlf(sent, False) == made
    assert not has_bare_line_end(with_crlf(sent, False))


@given(st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"a"]), max_size=20).map(b"".join))
def test_c40_no_bare_line_end_and_one_end_of_data_leave(sent: bytes) -> None:
    wire = b"\r\n" + wire_form(with_crlf(sent, False))
    assert not has_bare_line_end(wire)
    assert wire.count(END_OF_DATA) == 1
    assert wire.endswith(END_OF_DATA)


def test_crlf_is_not_bare() -> None:
    assert not has_bare_line_end(b"\r\n\x0b\x0c\x85\r\n\r\n")
