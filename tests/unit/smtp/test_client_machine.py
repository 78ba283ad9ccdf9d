"""The sending machine, without a network."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.model.outcomes import Reply
from mta.model.phases import Phase
from mta.smtp.client_machine import ClientMachine, Extensions, Step
from mta.smtp.transparency import sent_size, wire_form

PIPELINED = Extensions(pipelining=True, eight_bit=True, size=0)


def machine(pipelining: bool = True) -> ClientMachine:
    return ClientMachine(Extensions(pipelining, True, 0))


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[start:end] for start, end in zip([0, *at], [*at, len(data)], strict=True)]


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


TAKEN = b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n"
AFTERTHOUGHTS = [
    b"421 bye\n",
    b"421 bye\r\n",
    b"250 again\r\n",
    b"\x00\xff\r\n",
    b"999 x\r\n",
    b"250-more\r\n999 x\r\n",
]


@pytest.mark.parametrize("noise", AFTERTHOUGHTS)
@given(cuts=st.lists(st.integers(0, 10_000), max_size=8))
def test_d2_a_reply_to_the_dot_counts_whatever_stands_behind_it(noise: bytes, cuts: list[int]) -> None:
    sender = machine()
    sender.begin("a@b", ["c@d"], 1, False)
    sender.receive(TAKEN)
    sender.dot_sent()
    for piece in pieces(b"250 2.0.0 taken\r\n" + noise, cuts):
        if sender.final is None:
            sender.receive(piece)
        else:
            sender.unsolicited(piece)
    assert sender.final == Reply(250, "2.0.0", "taken")
    assert sender.broken


@pytest.mark.parametrize("noise", AFTERTHOUGHTS)
@pytest.mark.parametrize(
    ("before", "mail", "rcpts"),
    [(b"550 5.1.0 no\r\n", 550, []), (b"250 ok\r\n550 5.1.1 no\r\n", 250, [550]), (b"250 ok\r\n", 250, [])],
)
def test_d2_replies_before_the_noise_count_in_every_phase(
    noise: bytes, before: bytes, mail: int, rcpts: list[int]
) -> None:
    sender = machine()
    sender.begin("a@b", ["c@d", "e@d"], 1, False)
    sender.receive(before + b"what\r\n" + noise)
    assert sender.mail is not None
    assert sender.mail.code == mail
    assert [reply.code for reply in sender.rcpts] == rcpts
    assert sender.unintelligible
    assert "what" in sender.broken


COMMANDS = {
    Phase.MAIL: b"",
    Phase.RCPT: b"250 ok\r\n",
    Phase.DATA: b"250 ok\r\n250 ok\r\n",
    Phase.DOT: TAKEN,
}


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("phase", COMMANDS)
@pytest.mark.parametrize("noise", [b"999 x\r\n", b"199 x\r\n", b"000\r\n", b"600-a\r\n", b"junk\r\n"])
def test_k9_a_code_out_of_range_is_no_reply_to_any_command(noise: bytes, phase: Phase, pipelining: bool) -> None:
    sender = machine(pipelining)
    sender.begin("a@b", ["c@d"], 1, False)
    for line in COMMANDS[phase].splitlines(keepends=True):
        if sender.receive(line) is Step.LOOK:
            sender.dot_sent()
    assert sender.receive(noise) is Step.DONE
    assert sender.unintelligible
    assert sender.phase is phase
    assert noise.strip().decode() in sender.broken
    assert sender.final is None


@pytest.mark.parametrize("code", [421, 451, 552])
@pytest.mark.parametrize("pipelining", [True, False])
def test_d4_a_refusal_while_the_body_is_sent_is_the_answer(code: int, pipelining: bool) -> None:
    sender = machine(pipelining)
    sender.begin("a@b", ["c@d"], 1, False)
    for line in TAKEN.splitlines(keepends=True):
        sender.receive(line)
    assert sender.receive(b"%d 5.3.4 too big\r\n" % code) is Step.DONE
    assert sender.early is not None
    assert sender.early.code == code
    assert sender.phase is Phase.BODY
    assert sender.broken
    assert not sender.unintelligible


@pytest.mark.parametrize("code", [421, 451, 550])
@pytest.mark.parametrize(
    ("before", "phase"),
    [(b"250 ok\r\n", Phase.RCPT), (b"250 ok\r\n250 ok\r\n", Phase.DATA), (TAKEN, Phase.BODY)],
)
def test_d4_a_refusal_in_the_segment_of_the_reply_before_is_the_answer(before: bytes, phase: Phase, code: int) -> None:
    """Without pipelining: the next command has not been sent yet."""
    sender = machine(False)
    sender.begin("a@b", ["c@d"], 1, False)
    *lines, last = before.splitlines(keepends=True)
    for line in lines:
        sender.receive(line)
    assert sender.receive(last + b"%d no\r\n" % code) is Step.DONE
    assert sender.early == Reply(code, "", "no")
    assert sender.phase is phase


@pytest.mark.parametrize("code", [220, 250, 354])
def test_d4_an_early_yes_is_no_answer(code: int) -> None:
    sender = machine()
    sender.begin("a@b", ["c@d"], 1, False)
    sender.receive(TAKEN + b"%d taken\r\n" % code)
    assert sender.final is None
    assert sender.early is None
    assert sender.unintelligible


@pytest.mark.parametrize(
    ("before", "phase"),
    [(b"", Phase.MAIL), (b"250 ok\r\n", Phase.RCPT), (b"250 ok\r\n250 ok\r\n", Phase.DATA)],
)
def test_d11_the_phase_is_that_of_the_command_which_the_reply_answers(before: bytes, phase: Phase) -> None:
    sender = machine()
    sender.begin("a@b", ["c@d"], 1, False)
    sender.receive(before + b"421 4.3.2 bye\r\n")
    assert sender.phase is phase
    assert sender.goodbye == Reply(421, "4.3.2", "bye")


def test_the_end_of_the_bytes_shows_what_is_no_reply() -> None:
    for left, unintelligible in [(b"SSH-2.0", True), (b"25", False), (b"250 tak", False), (b"", False)]:
        sender = machine()
        sender.begin("a@b", ["c@d"], 1, False)
        sender.receive(left)
        sender.ended()
        assert sender.unintelligible is unintelligible, left
