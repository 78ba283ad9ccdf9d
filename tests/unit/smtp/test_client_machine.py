"""The reply parser and the sending machine, without a network."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.model.outcomes import Reply
from mta.model.phases import Phase
from mta.smtp.client_machine import ClientMachine, Extensions, Step
from mta.smtp.reply_parser import KEPT_BYTES, BadReply, ReplyParser
from mta.smtp.transparency import sent_size, wire_form

PIPELINED = Extensions(pipelining=True, eight_bit=True, size=0)


def machine(pipelining: bool = True) -> ClientMachine:
    return ClientMachine(Extensions(pipelining, True, 0))


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


@pytest.mark.parametrize(
    "wire",
    [
        b"hello\r\n",
        b"25 a\r\n",
        b"2500 a\r\n",
        b"650 a\r\n",
        b"250-a\r\n251 b\r\n",
        b"250 a\n",
        b"250 a\rb\r\n",
        b"250-a\r\n" * 1001,
        b"x" * (KEPT_BYTES + 1),
        (b"250-" + b"y" * 8000 + b"\r\n") * 17,
    ],
)
def test_what_is_no_reply_is_told_c80(wire: bytes) -> None:
    with pytest.raises(BadReply):
        ReplyParser().feed(wire)


def test_a_long_reply_is_kept_in_part() -> None:
    (reply,) = ReplyParser().feed(
        b"250-" + b"z" * 90 + b"\r\n" + (b"250-" + b"z" * 90 + b"\r\n") * 900 + b"250 end\r\n"
    )
    assert reply.code == 250
    assert len(reply.text) <= KEPT_BYTES


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


@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_break_the_machine(data: bytes, pipelining: bool) -> None:
    sender = machine(pipelining)
    sender.begin("a@b", ["c@d"], 1, False)
    sender.receive(data)


@given(st.lists(st.integers(0, 10_000), max_size=8))
def test_any_split_leads_to_the_same_look(cuts: list[int]) -> None:
    sender = machine()
    sender.begin("a@b", ["c@d", "e@d"], 1, False)
    wire = b"250 ok\r\n250 ok\r\n550 5.1.1 no\r\n354 go\r\n"
    steps = [sender.receive(piece) for piece in pieces(wire, cuts) if piece]
    assert steps[-1] is Step.LOOK
    assert set(steps[:-1]) <= {Step.WAIT}
    assert [reply.code for reply in sender.rcpts] == [250, 550]


def test_everything_up_to_data_goes_in_one_write() -> None:
    assert machine().begin("", ["c@d", "e@d"], 7, True) == (
        b"MAIL FROM:<> SIZE=7 BODY=8BITMIME\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@d>\r\nDATA\r\n"
    )


def test_without_pipelining_each_command_waits_for_its_reply() -> None:
    sender = ClientMachine(Extensions())
    assert sender.begin("a@b", ["c@d"], 7, True) == b"MAIL FROM:<a@b>\r\n"
    assert sender.receive(b"250 ok\r\n") is Step.SEND
    assert sender.output == b"RCPT TO:<c@d>\r\n"
    assert sender.phase is Phase.RCPT
    assert sender.receive(b"250 ok\r\n") is Step.SEND
    assert sender.output == b"DATA\r\n"
    assert sender.receive(b"354 go\r\n") is Step.LOOK
    sender.dot_sent()
    assert sender.receive(b"250 2.0.0 taken\r\n") is Step.DONE
    assert sender.final == Reply(250, "2.0.0", "taken")
    assert not sender.broken


def test_without_pipelining_nothing_follows_a_refusal() -> None:
    sender = machine(False)
    sender.begin("a@b", ["c@d"], 7, True)
    assert sender.receive(b"550 no\r\n") is Step.DONE
    assert not sender.needs_reset
    sender.begin("a@b", ["c@d"], 7, True)
    assert sender.receive(b"250 ok\r\n") is Step.SEND
    assert sender.receive(b"550 no\r\n") is Step.DONE
    assert sender.needs_reset
    assert sender.begin("a@b", ["c@d"], 7, True) == b"RSET\r\n"
    assert sender.receive(b"250 ok\r\n") is Step.SEND
    assert sender.output.startswith(b"MAIL")


def test_a_lone_dot_when_nobody_was_accepted_c50() -> None:
    sender = machine()
    sender.begin("a@b", ["c@d"], 7, True)
    assert sender.receive(b"250 ok\r\n550 no\r\n354 go\r\n") is Step.SEND
    assert sender.output == b".\r\n"
    assert sender.receive(b"554 nothing\r\n") is Step.DONE
    assert sender.final is None
    assert sender.needs_reset
    assert sender.begin("a@b", ["c@d"], 7, True).startswith(b"RSET\r\nMAIL")


def test_a_refused_reset_breaks_the_connection() -> None:
    sender = machine()
    sender.needs_reset = True
    sender.begin("a@b", ["c@d"], 7, True)
    assert sender.receive(b"500 what\r\n") is Step.DONE
    assert sender.broken
    assert sender.mail is None


@pytest.mark.parametrize(
    "wire", [b"250 ok\r\n" * 3, b"354 a\r\n", b"250 ok\r\n250 ok\r\n354 go\r\n250 early\r\n", b"421 bye\r\n"]
)
def test_replies_out_of_step_break_the_connection(wire: bytes) -> None:
    sender = machine()
    sender.begin("a@b", ["c@d"], 7, True)
    assert sender.receive(wire) is Step.DONE
    assert sender.broken


def test_an_unsolicited_421_is_a_goodbye() -> None:
    sender = machine()
    sender.unsolicited(b"421 4.4.2 idle\r\n")
    assert sender.broken
    assert sender.goodbye == Reply(421, "4.4.2", "idle")


@pytest.mark.parametrize(
    ("content", "wire"),
    [
        (b"", b".\r\n"),
        (b".", b"..\r\n.\r\n"),
        (b"a\r\n.b\r\n..\r\n", b"a\r\n..b\r\n...\r\n.\r\n"),
        (b"a", b"a\r\n.\r\n"),
    ],
)
def test_the_wire_form(content: bytes, wire: bytes) -> None:
    assert wire_form(content) == wire
    assert sent_size(content) == len(content) + (2 if content and not content.endswith(b"\r\n") else 0)
