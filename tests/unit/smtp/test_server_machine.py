"""The server machine: transparency, smuggling, limits, and that segments do not matter."""

import contextlib
import random
import smtplib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.model.errors import BadValue
from mta.model.outcomes import Reply
from mta.smtp import grammar
from mta.smtp.replies import render
from mta.smtp.server_machine import ServerMachine
from mta.smtp.server_session import Limits, State, Trust

START = b"EHLO c\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"
AFTER = b"\r\n.\r\nRCPT TO:<x@example.net>\r\nQUIT\r\n"
SMUGGLED = b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<v@example.net>\r\nDATA\r\nbad"
NOT_THE_END = [
    b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\n.\r", b"\r.\r\r\n", b"\r\n.\r", b"\r\r\n.\r\r\n",
    b"\r\n\x00.\r\n", b"\r\n.\x00\r\n", b"\r\n. \r\n", b"\r\n.\x0b\r\n",
]  # fmt: skip


def make(size=100_000, recipients=100, errors=20, relay=True, normalizes=False, refusal=None):
    return ServerMachine("mx.example.org", Trust(relay, normalizes), Limits(size, recipients, errors), refusal)


QUEUED = Reply(250, "2.0.0", "queued")


def run(machine, segments, reply=QUEUED):
    """The messages as tuples, and all output."""
    messages = []
    for segment in segments:
        message = machine.receive(segment)
        while message is not None:
            messages.append((message.sender, message.recipients, message.content, message.body))
            message = machine.reply_to_data(reply)
    return messages, machine.take_output()


def codes(output):
    return [int(line[:3]) for line in output.split(b"\r\n") if line and line[3:4] == b" "]


@pytest.mark.parametrize("normalizes", [True, False])
@pytest.mark.parametrize("payload", NOT_THE_END)
def test_s40_nothing_but_crlf_dot_crlf_ends_a_message_however_it_is_cut(payload, normalizes):
    whole = START + b"first" + payload + SMUGGLED + AFTER
    expected = run(make(normalizes=normalizes), [whole])
    lone = payload.replace(b"\r\n", b"")
    refused = not normalizes and (b"\r" in lone or b"\n" in lone)
    assert len(expected[0]) == (0 if refused else 1)
    assert codes(expected[1]) == [250, 250, 250, 354, *([550, 421] if refused else [250, 503, 221])]
    assert all(sender == "a@example.com" for sender, *_ in expected[0])
    for cut in range(len(START) - 2, len(whole)):
        assert run(make(normalizes=normalizes), [whole[:cut], whole[cut:]]) == expected
    assert run(make(normalizes=normalizes), [bytes([octet]) for octet in whole]) == expected


@pytest.mark.parametrize(
    ("sent", "content"),
    [
        (b"a\nb\rc\r\n", b"a\r\nb\r\nc\r\n"),
        (b"\n\r\r\n", b"\r\n\r\n\r\n"),
        (b"a\n.\nb\r\n", b"a\r\n.\r\nb\r\n"),  # a lone dot behind a bare LF is content
        (b"a\n.\r\nb\r\n", b"a\r\n.\r\nb\r\n"),
        (b"a\n..\nb\n.c\n..d\n...\n\r\n", b"a\r\n.\r\nb\r\n.c\r\n.d\r\n..\r\n\r\n"),  # smtplib stuffs behind LF
        (b"a\n\r\n..b\r\n", b"a\r\n\r\n.b\r\n"),  # behind CRLF as always
        (b"a\r..b\r\n", b"a\r\n..b\r\n"),  # nobody stuffs behind a bare CR
        (b".\n..\nb\r\n", b"\r\n.\r\nb\r\n"),
    ],
)
def test_i2_bare_newlines_become_crlf_and_dots_stay_what_they_were(sent, content):
    whole = START + sent + b".\r\nNOOP\r\n"
    for cut in range(len(START) - 2, len(whole)):
        messages, output = run(make(normalizes=True), [whole[:cut], whole[cut:]])
        assert [message[2] for message in messages] == [content]
        assert codes(output)[3:] == [354, 250, 250]


def test_i2_a_message_that_grows_over_the_limit_is_refused():
    assert codes(run(make(size=8, normalizes=True), [START + b"a\nb\nc\n\r\n.\r\nNOOP\r\n"])[1])[3:] == [354, 552, 250]
    assert len(run(make(size=11, normalizes=True), [START + b"a\nb\nc\n\r\n.\r\n"])[0]) == 1


@given(st.text(alphabet=".a\n", max_size=60))
def test_i2_whatever_smtplib_sends_as_bytes_arrives(text):
    sent = smtplib._quote_periods(text.encode())
    messages, _ = run(make(normalizes=True), [START + sent + b"\r\n.\r\n"])
    assert messages[0][2] == text.encode().replace(b"\n", b"\r\n") + b"\r\n"


HTTP = [
    b"POST / HTTP/1.1", b"get /x", b"GET http://127.0.0.1:25/ HTTP/1.0", b"CONNECT mx.example.org:25 HTTP/1.1",
    b"PRI * HTTP/2.0", b"Whatever / HTTP/1.1", b"whatever /index", b"OPTIONS * HTTP/1.1", b"Host: mx.example.org:25",
    b"content-type : text/plain", b"Cookie: " + b"x" * 5000, b"GET /" + b"x" * 3000 + b" HTTP/1.1", b"Put",
    b"NOOP / HTTP/1.1", b"EHLO / HTTP/1.1", b"HELO / http/1.1", b"MAIL / HTTP/1.1", b"RCPT / HTTP/1.1",
    b"DATA / HTTP/1.1", b"RSET / HTTP/1.1", b"VRFY / HTTP/1.1", b"HELP / HTTP/1.1",
    b"GET / HTTP/1.1\nHost: x\n\nEHLO c",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\xff", b"\x16\x03\x01" + b"\x00" * 4000,
]  # fmt: skip


@pytest.mark.parametrize("line", HTTP, ids=lambda line: repr(line[:20]))
@pytest.mark.parametrize("before", [b"", b"EHLO c\r\n", b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"])
def test_i1_a_line_of_another_protocol_closes_whatever_the_segmentation(line, before):
    whole = before + line + b"\r\n" + START + b"x" + AFTER
    expected = run(make(), [whole])
    assert expected[0] == []
    assert codes(expected[1]) == [250] * before.count(b"\r\n") + [221]
    assert run(make(), [bytes([octet]) for octet in whole[: len(before) + len(line) + 40]]) == expected
    chance = random.Random(3)
    for _ in range(20):
        cuts = sorted(chance.randrange(len(whole)) for _ in range(5))
        assert run(make(), [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]) == expected


def test_i1_a_client_hello_is_answered_although_its_line_never_ends():
    machine = make()
    machine.receive(b"\x16")
    assert machine.state is State.COMMAND
    machine.receive(b"\x03\x01\x02\x00")
    assert machine.state is State.CLOSED
    assert codes(machine.take_output()) == [221]


@pytest.mark.parametrize(
    "line", [b"FOO", b"x" * 3000, b"get-together", b"NOOP http", b"NOOP /", b"VRFY a:b", b"\x00", b""]
)
def test_i1_other_lines_leave_the_session_open(line):
    _, output = run(make(), [line + b"\r\nNOOP\r\n"])
    assert codes(output)[-1] == 250
    assert 221 not in codes(output)


@pytest.mark.parametrize(
    ("named", "kept"),
    [
        (["b@x.test", "b@x.test"], ["b@x.test"]),
        (["b@x.test", "c@x.test", "b@X.TEST", "C@x.test", "c@x.Test"], ["b@x.test", "c@x.test", "C@x.test"]),
        (["Postmaster", "Postmaster@MX.example.org"], ["Postmaster@mx.example.org"]),
        (["u@[IPv6:::1]", "u@[ipv6:::1]"], ["u@[IPv6:::1]"]),
    ],
)
def test_i7_a_recipient_named_twice_is_one_recipient(named, kept):
    rcpt = b"".join(b"RCPT TO:<" + one.encode() + b">\r\n" for one in named)
    whole = b"HELO c\r\nMAIL FROM:<a@b>\r\n" + rcpt + b"DATA\r\nx\r\n.\r\n"
    messages, output = run(make(recipients=len(kept)), [whole * 2])
    assert [list(message[1]) for message in messages] == [kept, kept]
    assert codes(output)[: 2 + len(named) + 2] == [250] * (2 + len(named)) + [354, 250]


def test_i7_a_recipient_named_again_needs_no_room():
    _, output = run(
        make(recipients=2), [START[:-6] + b"".join(b"RCPT TO:<%s@d>\r\n" % n for n in (b"x", b"y", b"x", b"y"))]
    )
    assert codes(output)[3:] == [250, 452, 250, 452]


@pytest.mark.parametrize("domain", ["1.2.3.4", "123", "127.1", "example.5", "0"])
def test_i6_a_domain_that_is_a_number_is_refused(domain):
    lines = f"MAIL FROM:<a@{domain}>\r\nMAIL FROM:<a@b> \r\nRCPT TO:<a@{domain}>\r\nRCPT TO:<@r.test:a@{domain}> \r\n"
    assert codes(run(make(), [b"HELO c\r\n" + lines.encode()])[1]) == [250, 501, 250, 501, 501]
    with pytest.raises(BadValue, match="number"):
        grammar.parse_mailbox(f"a@{domain}", "X-MQ-Envelope")


@pytest.mark.parametrize("domain", ["1.example", "3com.com", "example.c3", "example.9z", "xn--p1a1", "[1.2.3.4]"])
def test_i6_other_domains_with_digits_are_taken(domain):
    assert grammar.parse_recipient(f"<a@{domain}>") == (f"a@{domain}", "")


def test_s43_a_message_over_the_limit_smuggles_nothing():
    machine = make(size=50)
    messages, output = run(machine, [START, b"x" * 500 + b"\r\n", b".", b"\n" + SMUGGLED, b"\r\n.\r", b"\nNOOP\r\n"])
    assert messages == []
    assert codes(output) == [250, 250, 250, 354, 552, 250]
    assert machine.is_idle()


@pytest.mark.parametrize(
    "content",
    [b"", b".\r\n", b"..\r\n", b".a\r\n", b"." + b"x" * 1000 + b"\r\n", b"From x\r\n", b"\r\n", b"\r\n.\r\n\r\n.\r\n",
     bytes(octet for octet in range(256) if octet not in b"\r\n") + b"\r\n", b"y" * 5000 + b"\r\n"],
)  # fmt: skip
def test_s44_content_comes_through_byte_for_byte(content):
    stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
    messages, _ = run(make(), [START + stuffed + b".\r\n"])
    assert messages == [("a@example.com", ("b@example.net",), content, "")]


command = st.sampled_from(
    [b"EHLO c", b"HELO", b"MAIL FROM:<a@example.com> SIZE=5", b"MAIL FROM:<a@b> BODY=8BITMIME", b"RCPT TO:<b@c>",
     b"RCPT TO:<postmaster>", b"DATA", b"RSET", b"NOOP", b"x" * 600, b"MAIL " + b"y" * 3000, b"NOOP\n", b"QUIT x",
     b"hello", b".", b"..x", b"", b"a\rb", b"\xff\xfe"]
)  # fmt: skip

HEAD = [b"EHLO c\r\n", b"HELO c\r\n", b"", b"EHLO c\r\nMAIL FROM:<c@example.com>\r\n", b"x" * 3000, b"EHLO c\r\nRSE"]
ENVELOPES = [
    b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n",
    b"MAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n",
    b"MAIL FROM:<a@example.com> BODY=8BITMIME\r\nRCPT TO:<b@example.net>\r\nDATA\r\n",
    b"MAIL FROM:<a@example.1>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n",
    b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\nfirst",
    b"MAIL FROM:<a@%b.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n" % (b"x" * 300),
]
CONTENTS = [
    b"one\r\n.\r\n", b"\r\n.\r\n", b".\r\n", b"..one\r\n.\r\n", b"one\r\n..two\r\n.\r\n", b"one\ntwo\r\n.\r\n",
    b"one\r\n.\r\nRSET\r\n.\r\n", b"one\r\n.\r\nNOOP\r\n", b"x" * 299 + b"\r\n.\r\n",
]  # fmt: skip


@pytest.mark.parametrize("content", CONTENTS, ids=lambda octets: repr(octets[:20]))
@pytest.mark.parametrize("envelope", ENVELOPES, ids=lambda octets: repr(octets[10:40]))
@pytest.mark.parametrize(("relay", "closed"), [(True, False), (False, False), (True, True)])
def test_an_envelope_and_a_content_that_come_whole_are_what_their_octets_are(envelope, content, relay, closed):
    refusal = (lambda: Reply(451, "4.3.0", "not now")) if closed else None
    for head in HEAD:
        whole, apart = (make(size=300, relay=relay, refusal=refusal) for _ in range(2))
        octets = [head, *(bytes((octet,)) for octet in envelope + content)]
        assert run(whole, [head, envelope, content]) == run(apart, octets)
        assert (whole.state, whole.sender, len(whole.recipients)) == (apart.state, apart.sender, len(apart.recipients))
        assert (whole.progress, whole.buffered) == (apart.progress, apart.buffered)


@settings(max_examples=150, deadline=None)
@given(st.lists(command, max_size=30), st.randoms(use_true_random=False))
def test_any_split_of_the_bytes_gives_the_same_messages_and_replies(lines, chance):
    whole = b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<b@c>\r\n" + b"\r\n".join(lines) + b"\r\n.\r\nNOOP\r\n"
    expected = run(make(size=4000, errors=8), [whole])
    cuts = sorted(chance.randrange(len(whole)) for _ in range(8))
    segments = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert run(make(size=4000, errors=8), segments) == expected
    assert run(make(size=4000, errors=8), [line + b"\r\n" for line in whole[:-2].split(b"\r\n")]) == expected


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=20))
def test_no_input_makes_the_machine_fail(segments):
    _, output = run(make(), segments)
    for line in output.split(b"\r\n")[:-1]:
        assert line[:3].isdigit()
        assert len(line) <= 510


@pytest.mark.parametrize("parse", [grammar.parse_sender, grammar.parse_recipient, grammar.parse_parameters])
@given(text=st.text(alphabet='<>@:,[]"\\ .aA1=-IPv6%é\x00', max_size=40))
def test_parsers_raise_only_bad_value(parse, text):
    with contextlib.suppress(BadValue):
        parse(text)


@given(
    st.from_regex(grammar._PLAIN_PATH.pattern.decode(), fullmatch=True)
    | st.text(alphabet='<>@:.aA1-_"\\ é', max_size=30)
)
def test_a_plain_path_is_what_the_whole_grammar_makes_of_it(path):
    plain = grammar.plain_mailbox(path.encode())
    if plain is not None:
        assert grammar.parse_sender(path) == grammar.parse_recipient(path) == (plain, "")


@pytest.mark.parametrize(("octets", "code"), [(254, 250), (255, 501)])
def test_plain_and_other_paths_have_one_limit(octets, code):
    mailbox = "@example.com".rjust(octets, "x")
    for path in (f"<{mailbox}>", f"<@a.b:{mailbox}>"):
        output = run(make(), [f"EHLO c\r\nMAIL FROM:{path}\r\n".encode()])[1]
        assert codes(output) == [250, code]


def test_parameters_of_a_sender_are_weighed_anew_for_each_session():
    mail = b"MAIL FROM:<a@b> SIZE=900\r\n"
    assert codes(run(make(), [b"EHLO c\r\n" + mail])[1]) == [250, 250]
    assert codes(run(make(), [b"HELO c\r\n" + mail])[1]) == [250, 555]
    assert codes(run(make(size=800), [b"EHLO c\r\n" + mail])[1]) == [250, 552]


@pytest.mark.parametrize(
    ("text", "mailbox"),
    [("<>", ""), ("<a@b>", "a@b"), (" <A@B.c>", "A@B.c"), ("<@x,@y.z:u@d>", "u@d"), ('<"a b"@d>', '"a b"@d'),
     ('<"a\\"b"@d>', '"a\\"b"@d'), ('<"a@b"@d>', '"a@b"@d'), ("<u@[127.0.0.1]>", "u@[127.0.0.1]"),
     ("<u@[IPv6:::1]>", "u@[IPv6:::1]"), ("<a..b.@d>", "a..b.@d")],
)  # fmt: skip
def test_s09_s10_s11_senders_that_are_taken_as_they_are(text, mailbox):
    assert grammar.parse_sender(text) == (mailbox, "")


@pytest.mark.parametrize(
    "text",
    ["", "a@b", "<a@b", "<a@@b>", "<a@b>x", "<u@[1.2.3]>", "<u@[IPv6:zz]>", "<u@[1.2.3.4>", "<u@[999.1.1.1]>",
     "<a b@c>", "<a@-b>", "<a@b..c>", "<a@b.>", '<"a@b>', f"<{'x' * 250}@b.example>", f"<a@{'x' * 64}.example>"],
)  # fmt: skip
def test_s10_s20_senders_that_are_refused(text):
    with pytest.raises(BadValue):
        grammar.parse_sender(text)


def test_s07_every_way_out_of_a_transaction_leaves_nothing_behind():
    for reply in (Reply(250, "2.0.0", "ok"), Reply(451, "4.3.0", "no"), Reply(550, "5.6.0", "no")):
        machine = make()
        _, output = run(machine, [START + b"x" + AFTER], reply)
        assert codes(output)[-3:] == [reply.code, 503, 221]
    for way in (b"RSET\r\n", b"EHLO d\r\n", b"HELO d\r\n"):
        _, output = run(make(), [START[:-6] + way + b"RCPT TO:<x@y>\r\nDATA\r\n"])
        assert codes(output)[-2:] == [503, 503]


def test_replies_wait_for_the_message_before_them():
    machine = make()
    message = machine.receive(START + b"x\r\n.\r\nNOOP\r\n")
    assert message is not None
    assert message.content == b"x\r\n"
    assert codes(machine.take_output()) == [250, 250, 250, 354]
    assert machine.receive(b"NOOP\r\n") is None
    assert machine.take_output() == b""
    machine.reply_to_data(Reply(250, "2.0.0", "queued"))
    assert codes(machine.take_output()) == [250, 250, 250]


def test_s21_a_line_of_10_mb_costs_one_reply_and_no_memory():
    machine = make()
    for _ in range(160):
        machine.receive(b"z" * 65536)
        assert machine.buffered <= 2048
    assert machine.take_output() == b""
    assert codes(run(machine, [b"\r\nNOOP\r\n"])[1]) == [500, 250]


def test_s20_command_lines_at_and_above_their_limits():
    assert codes(run(make(), [b"NOOP " + b"x" * 505 + b"\r\n"])[1]) == [250]
    assert codes(run(make(), [b"NOOP " + b"x" * 506 + b"\r\n"])[1]) == [500]
    long_mail = b"MAIL FROM:<" + b"x" * 242 + b"@example.com>" + b" " * 260
    pad = 555 - 2 - len(long_mail) - len(b" SIZE=1")
    assert codes(run(make(), [b"EHLO c\r\n" + long_mail + b" " * pad + b" SIZE=1\r\n"])[1]) == [250, 250]
    assert codes(run(make(), [b"EHLO c\r\n" + long_mail + b" " * pad + b"  SIZE=1\r\n"])[1]) == [250, 500]


def test_a_message_far_over_the_limit_is_not_kept():
    machine = make(size=1000)
    machine.receive(START)
    for _ in range(100):
        machine.receive(b"x" * 1000)
        assert machine.buffered < 3000


def test_the_size_limit_counts_content_not_stuffing():
    content = b".\r\n" * 100
    stuffed = b"..\r\n" * 100
    assert len(run(make(size=300), [START + stuffed + b".\r\n"])[0][0][2]) == len(content)
    assert run(make(size=299), [START, stuffed, b".\r\n"])[0] == []


def test_s24_junk_commands_are_bounded_and_errors_forgotten_after_mail():
    machine = make(errors=5)
    assert codes(run(machine, [b"NOOP\r\n" * 200])[1]) == [250] * 104 + [421]
    assert machine.state is State.CLOSED
    machine = make(errors=3)
    good = b"MAIL FROM:<a@b>\r\nRCPT TO:<b@c>\r\nDATA\r\n.\r\n"
    _, output = run(machine, [b"EHLO c\r\nX\r\nX\r\n" + good + b"X\r\nX\r\n" + good])
    assert 421 not in codes(output)


def test_a_closed_gate_answers_mail_and_421_ends_the_session():
    machine = make(refusal=lambda: Reply(451, "4.3.0", "the store is away"))
    assert codes(run(machine, [b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<b@c>\r\n"])[1]) == [250, 451, 503]
    machine = make(refusal=lambda: Reply(421, "4.3.2", "shutting down"))
    assert codes(run(machine, [b"EHLO c\r\nMAIL FROM:<a@b>\r\nNOOP\r\n"])[1]) == [250, 421]


def test_s85_every_reply_has_an_enhanced_code_of_its_class():
    chance = random.Random(7)
    words = [b"MAIL", b"RCPT", b"DATA", b"RSET", b"NOOP", b"VRFY", b"HELP", b"FOO", b"BDAT", b"VRFY x", b"DATA x"]
    _, output = run(make(errors=1000), [b"EHLO c\r\n", *(chance.choice(words) + b"\r\n" for _ in range(200))])
    for line in output.split(b"\r\n")[6:-1]:
        assert line[4:6] == line[:1] + b"."


def test_a_reply_is_printable_and_short():
    assert render(Reply(550, "5.6.0", "a\nb")) == b"550-5.6.0 a\r\n550 5.6.0 b\r\n"
    assert render(Reply(550, "", "é\x00")) == b"550 ??\r\n"
    assert len(render(Reply(550, "5.6.0", "x" * 900))) == 512


def test_the_machine_shows_what_it_waits_for():
    machine = make()
    machine.receive(START)
    assert repr(machine) == "<ServerMachine receiving a message: helo='c' recipients=1 buffered=2 errors=0>"
