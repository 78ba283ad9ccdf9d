"""The reply parser, without a network."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.model.outcomes import Reply
from mta.smtp.reply_parser import KEPT_TEXT, MOST_BYTES, ReplyParser


@pytest.mark.parametrize(
    ("wire", "reply"),
    [
        (b"250 2.1.0 Ok\r\n", Reply(250, "2.1.0", "Ok")),
        (b"250\r\n", Reply(250)),
        (b"250 \r\n", Reply(250)),
        (b"550-5.1.1 no\r\n550 5.1.1 such user\r\n", Reply(550, "5.1.1", "no such user")),
        (b"550 2.0.0 mixed\r\n", Reply(550, "", "2.0.0 mixed")),
        (b"451 4.7.1\r\n", Reply(451, "4.7.1", "")),
        (b"550 5.1.1234 long\r\n", Reply(550, "", "5.1.1234 long")),
        (b"250 \xff\r\n", Reply(250, "", "\\xff")),
    ],
)
def test_replies_are_read(wire: bytes, reply: Reply) -> None:
    assert ReplyParser().feed(wire) == [reply]


def test_an_enhanced_code_never_comes_from_an_earlier_reply_c80() -> None:
    assert ReplyParser().feed(b"550 5.1.1 a\r\n550 b\r\n") == [Reply(550, "5.1.1", "a"), Reply(550, "", "b")]


def test_what_is_known_as_a_whole_is_so_only_where_it_stands_alone():
    parser = ReplyParser()
    group, reply = b"250 2.1.0 OK\r\n354 go\r\n", Reply(250, "2.1.0", "OK")
    assert parser.feed(group) == [reply, Reply(354, "", "go")]
    assert parser.feed(group) == [reply, Reply(354, "", "go")]
    assert parser.feed(b"250-more\r\n") == []
    assert parser.feed(b"250 2.1.0 OK\r\n") == [Reply(250, "", "more 2.1.0 OK")]
    assert parser.feed(b"354 go") == []
    assert parser.feed(b" " + group) == [Reply(354, "", "go 250 2.1.0 OK"), Reply(354, "", "go")]


def test_successes_are_parsed_once_for_all_connections_and_failures_are_objects_of_their_own():
    offered = b"250-mx.test\r\n250-SIZE 10\r\n250 8BITMIME\r\n"
    parsers = ReplyParser(), ReplyParser()
    (first,), (second,) = (parser.feed(offered) for parser in parsers)
    assert first is second
    assert [parser.lines for parser in parsers] == [[b"mx.test", b"SIZE 10", b"8BITMIME"]] * 2
    (first,), (second,) = (parser.feed(b"421 4.3.2 full\r\n") for parser in parsers)
    assert first == second
    assert first is not second


def read(wire: bytes, size: int = 1 << 30) -> tuple[list[Reply], str]:
    """The replies and the fault, of pieces of `size` octets."""
    parser = ReplyParser()
    replies = [reply for at in range(0, len(wire), size) for reply in parser.feed(wire[at : at + size])]
    return replies, parser.fault


@pytest.mark.parametrize(
    "wire",
    [
        b"hello\r\n",
        b"25 a\r\n",
        b"2500 a\r\n",
        b"650 a\r\n",
        b"999 a\r\n",
        b"199 a\r\n",
        b"100-a\r\n",
        b"-25 a\r\n",
        b"\x16\x03\x01\r\n",
        b"250-a\r\n999 b\r\n",
        b"x" * (MOST_BYTES + 1),
        b"250 " + b"x" * MOST_BYTES,
        (b"250-" + b"y" * 8000 + b"\r\n") * 140,
        b"\r\n" * MOST_BYTES,
    ],
)
@pytest.mark.parametrize("size", [1 << 30, 1400])
def test_what_is_no_reply_is_told_after_the_replies_before_it_c80(wire: bytes, size: int) -> None:
    replies, fault = read(b"250 2.1.0 ok\r\n" + wire, size)
    assert replies == [Reply(250, "2.1.0", "ok")]
    assert fault


def test_nothing_is_read_behind_a_fault() -> None:
    parser = ReplyParser()
    assert parser.feed(b"250 a\r\n") == [Reply(250, "", "a")]
    assert parser.feed(b"what\r\n250 a\r\n") == []
    assert parser.feed(b"250 a\r\n") == []
    assert parser.fault == "the server's answer is no SMTP reply: what"


@pytest.mark.parametrize(
    ("wire", "reply"),
    [
        (b"550-5.7.1 x\r\n554 5.7.1 y\r\n", Reply(554, "5.7.1", "x y")),
        (b"550-5.1.1 x\r\n554 5.7.1 y\r\n", Reply(554, "5.7.1", "5.1.1 x y")),
        (b"250-one\r\n451 two\r\n", Reply(451, "", "one two")),
        (b"550-a\r\nsee http://x.test\r\n550 b\r\n", Reply(550, "", "a see http://x.test b")),
        (b"250-a\r\n\r\n\r\n250 b\r\n", Reply(250, "", "a b")),
        (b"\r\n250 a\r\n", Reply(250, "", "a")),
        (b"250 a\n", Reply(250, "", "a")),
        (b"250-a\n250 b\n", Reply(250, "", "a b")),
        (b"250 a\rb\r\n", Reply(250, "", "a\rb")),
        (b"250-a\r\n25\r\n250\r\n", Reply(250, "", "a 25")),
    ],
)
def test_d8_what_can_be_understood_is(wire: bytes, reply: Reply) -> None:
    assert read(wire) == ([reply], "")
    assert read(wire, 1) == ([reply], "")


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (b"250 2.0.0 " + b"x" * 12_000 + b"\r\n", 250),
        (b"250-2.0.0 line\r\n" * 4999 + b"250 2.0.0 end\r\n", 250),
        (b"550 5.7.1 " + b"y" * 12_000 + b"\r\n", 550),
        (b"550-5.7.1 " + b"y" * 12_000 + b"\r\n550 5.7.1 end\r\n", 550),
        (b"554-" + b"z" * 1023 + b"\r\n554 " + b"z" * 1020 + b"\r\n", 554),
    ],
)
@pytest.mark.parametrize("size", [1, 1021, 1400, 4096, 1 << 30])
def test_d3_of_a_long_reply_the_code_is_taken_and_the_text_cut(wire: bytes, code: int, size: int) -> None:
    (reply,), fault = read(wire, size)
    assert (reply.code, fault) == (code, "")
    assert len(reply.text) <= KEPT_TEXT
    assert reply == read(wire)[0][0]


def test_the_lines_of_a_reply_are_those_with_a_code() -> None:
    parser = ReplyParser()
    parser.feed(b"250-mx.test\r\n\r\nPIPELINING\r\n250-SIZE 10\r\n250 8BITMIME\r\n")
    assert parser.lines == [b"mx.test", b"SIZE 10", b"8BITMIME"]


MIXED = st.lists(
    st.sampled_from(
        [
            b"250 ok\r\n",
            b"550-a\r\n",
            b"554 5.7.1 b\n",
            b"\r\n",
            b"junk\r\n",
            b"999 x\r\n",
            b"250 " + b"x" * 1020 + b"\r\n",
        ]
    ),
    max_size=8,
).map(b"".join)


@given(MIXED, st.lists(st.integers(0, 10_000), max_size=12))
def test_d3_any_split_gives_the_same_replies_and_the_same_fault(wire: bytes, cuts: list[int]) -> None:
    split = ReplyParser()
    found = [reply for piece in pieces(wire, cuts) for reply in split.feed(piece)]
    assert (found, split.fault) == read(wire)


LINES = st.lists(
    st.tuples(
        st.sampled_from([220, 250, 354, 421, 450, 550, 552]),
        st.lists(st.text("ab 52.0-é", max_size=12), min_size=1, max_size=3),
    ),
    max_size=6,
)


def wire_of(replies: list[tuple[int, list[str]]]) -> bytes:
    wire = b""
    for code, texts in replies:
        for text in texts[:-1]:
            wire += f"{code}-{text}\r\n".encode()
        wire += f"{code} {texts[-1]}\r\n".encode()
    return wire


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[start:end] for start, end in zip([0, *at], [*at, len(data)], strict=True)]


@given(LINES, st.lists(st.integers(0, 10_000), max_size=12))
def test_any_split_gives_the_same_replies(replies: list[tuple[int, list[str]]], cuts: list[int]) -> None:
    wire = wire_of(replies)
    split = ReplyParser()
    found = [reply for piece in pieces(wire, cuts) for reply in split.feed(piece)]
    assert found == ReplyParser().feed(wire)
    assert [reply.code for reply in found] == [code for code, _ in replies]
    assert not split.pending
