"""Injection headers: what they ask for, what is refused, and that nothing else of the message changes."""

import contextlib
import email.header
import re
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.content.header_block import has_received, header_end, split_fields, take_fields, take_header
from mta.content.header_names import KNOWN, nearest
from mta.content.injection_headers import read_injection, refuse_strays
from mta.content.trace import trace_header
from mta.model.errors import BadValue
from mta.model.injection import Injection

PREFIXES = ("x-mq-", "x-floodgate-")
NOW = 1_800_000_000_000


def strip(content):
    end = header_end(content)
    block, lines = take_fields(content[:end], PREFIXES)
    return block + content[end:], lines


def fields_of(content):
    left, lines = strip(content)
    return left, split_fields(lines)


def ask(*lines, ignored=()):
    content = "\r\n".join(lines).encode() + b"\r\n\r\nbody\r\n"
    rest, lines = strip(content)
    assert b"x-mq" not in rest.lower()
    assert rest.endswith(b"body\r\n")
    return read_injection(lines, PREFIXES, frozenset(ignored), NOW)


def test_tags_of_both_prefixes_in_order_without_duplicates():
    asked = ask("X-MQ-Tag: b", "x-floodgate-TAG:a, c ", "X-mq-tag: b", "X-MQ-Tag: =?utf-8?b?w6k=?=", "X-MQ-Tag: ü")
    assert asked == Injection(tags=("b", "a, c", "é", "ü"))


def test_a_folded_value_is_unfolded():
    assert ask("X-MQ-Tag: one", "\ttwo", "Subject: x").tags == ("one two",)


def test_a_tenants_name_is_like_a_pools_and_given_once():
    assert ask("X-MQ-Tenant: acme-inc_2 ", "X-MQ-Tag: t") == Injection(tags=("t",), tenant="acme-inc_2")
    assert ask("X-Floodgate-Tenant: =?utf-8?b?YWNtZQ==?=", "x-mq-tenant: acme").tenant == "acme"
    assert ask("X-MQ-Tenant: " + "e" * 63).tenant == "e" * 63
    assert ask("X-MQ-Tag: t").tenant == ""


def test_a_priority_is_a_class_from_0_to_2():
    assert [ask(f"X-MQ-Priority: {value}").priority for value in (0, 1, 2)] == [0, 1, 2]
    assert ask("X-MQ-Tag: t").priority == 0


def test_everything_that_can_be_asked_for():
    asked = ask(
        "X-MQ-Pool: bulk", "X-MQ-Envelope: <bounce@example.com>", "X-MQ-Delayed: +10m", "X-MQ-MaxAttempts: 3",
        "X-MQ-MaxDeliverTime: 2027-01-16 08:00:00", "X-MQ-Retries: 300, 10m,1h", "X-MQ-Colour: red",
    )  # fmt: skip
    assert asked == Injection(
        (), "bulk", "bounce@example.com", NOW + 600_000, 1_800_086_400_000, 3, (300, 600, 3600), {"colour": "red"}
    )
    assert ask("X-MQ-IP: 192.0.2.1").pool == "@192.0.2.1"
    assert ask("X-MQ-Envelope: <>").sender == ""


@pytest.mark.parametrize(
    ("lines", "field"),
    [
        (["X-MQ-Tag:"], "X-MQ-Tag"),
        (["X-MQ-Tag: " + "x" * 129], "X-MQ-Tag"),
        (["X-MQ-Tag: a\x00b"], "X-MQ-Tag"),
        (["X-MQ-Tag: =?utf-8?b?AA==?="], "X-MQ-Tag"),
        (["X-MQ-Tag: =?nonsense?q?x?="], "X-MQ-Tag"),
        ([f"X-MQ-Tag: {n}" for n in range(65)], "X-MQ-Tag"),
        (["X-MQ-Pool: a/b"], "X-MQ-Pool"),
        (["X-MQ-Pool: a", "X-MQ-IP: 192.0.2.1"], "X-MQ-IP"),
        (["X-MQ-IP: 192.0.2.1", "X-MQ-IP: 192.0.2.2"], "X-MQ-IP"),
        (["X-MQ-IP: 192.0.2.1, 192.0.2.2"], "X-MQ-IP"),
        (["X-MQ-Delayed: tomorrow"], "X-MQ-Delayed"),
        (["X-MQ-MaxAttempts: -1"], "X-MQ-MaxAttempts"),
        (["X-MQ-Retries: 5,x"], "X-MQ-Retries"),
        (["X-MQ-Retries: 0"], "X-MQ-Retries"),
        (["X-MQ-DSN-Notify: NEVER"], "X-MQ-DSN-Notify"),
        (["x-floodgate-Tenant:"], "x-floodgate-Tenant"),
        (["X-MQ-Tenant: " + "e" * 64], "X-MQ-Tenant"),
        (["X-MQ-Tenant: é"], "X-MQ-Tenant"),
        (["X-MQ-Tenant: acme inc"], "X-MQ-Tenant"),
        (["X-MQ-Tenant: a~b"], "X-MQ-Tenant"),
        (["X-MQ-Tenant: a.2"], "X-MQ-Tenant"),
        (["X-MQ-Priority: 3"], "X-MQ-Priority"),
        (["X-MQ-Priority: +1"], "X-MQ-Priority"),
        (["X-MQ-Priority: high"], "X-MQ-Priority"),
        (["X-MQ-Priority: 1", "X-MQ-Priority: 2"], "X-MQ-Priority"),
        (["X-MQ-Tenant: a\x00b"], "X-MQ-Tenant"),
        (["X-MQ-Tenant: =?utf-8?b?AGE=?="], "X-MQ-Tenant"),
        (["X-MQ-Tenant: a", "X-Floodgate-Tenant: b"], "X-Floodgate-Tenant"),
        (["X-MQ-Idempotency-Key: " + 256 * "k"], "X-MQ-Idempotency-Key"),
        (["X-MQ-Idempotency-Key: clé"], "X-MQ-Idempotency-Key"),
        (["X-MQ-Idempotency-Key:"], "X-MQ-Idempotency-Key"),
        (["X-MQ-Idempotency-Key: a", "X-MQ-Idempotency-Key: b"], "X-MQ-Idempotency-Key"),
        (["X-MQ-Smarthost-Password: hunter2"], "X-MQ-Smarthost-Password"),
        (["X-MQ-Success-Queue: q"], "X-MQ-Success-Queue"),
        (["X-MQ-Keepmime: 1"], "X-MQ-Keepmime"),
        (["X-MQ-Inlinecss: 1"], "X-MQ-Inlinecss"),
        (["X-MQ-Prop: " + "x" * 1025], "X-MQ-Prop"),
        ([f"X-MQ-P{n}: x" for n in range(33)], "X-MQ-P32"),
    ],
)
def test_what_is_refused_names_the_header_and_hides_secrets(lines, field):
    with pytest.raises(BadValue) as caught:
        ask(*lines)
    assert caught.value.field == field
    assert "hunter2" not in str(caught.value)


def test_times_count_from_each_message_and_the_rest_is_the_same_again():
    lines = b"X-MQ-Tag: t\r\nX-MQ-Delayed: +1h\r"
    first, second = (read_injection(lines, PREFIXES, frozenset(), now) for now in (NOW, NOW + 5000))
    assert (first.due_at, second.due_at) == (NOW + 3_600_000, NOW + 3_605_000)
    assert first.tags == second.tags == ("t",)
    lines = b"X-MQ-MaxDeliverTime: +1h\r"
    assert [read_injection(lines, PREFIXES, frozenset(), now).expires_at for now in (NOW, NOW + 1)] == [
        NOW + 3_600_000,
        NOW + 3_600_001,
    ]
    for more in (b"", b"\nX-MQ-Note: " + b"x" * 1024 + b"\r"):
        asked = [read_injection(b"X-MQ-Tag: t\r" + more, PREFIXES, frozenset(), NOW) for _ in range(2)]
        assert asked[0] == asked[1]
        assert asked[0].tags == ("t",)
        assert bool(asked[0].properties) == bool(more)
    assert read_injection(b"X-MQ-Tag: t\r", PREFIXES, frozenset(("x-mq-tag",)), NOW).tags == ()


@pytest.mark.parametrize(
    "name", ["X-MQ-Tag", "X-Floodgate-Tenant", "X-MQ-Pool", "X-MQ-Delayed", "X-MQ-Colour", "X-MQ-IP"]
)
@pytest.mark.parametrize("octets", [b"=?utf-8?q?a?= ", b"=?", b"=?utf-8?b?w6k=?=\r\n ", b"x", b"\r\n  "])
def test_k3_a_long_value_is_refused_before_it_is_decoded(name, octets, monkeypatch):
    monkeypatch.setattr(email.header, "decode_header", lambda text: pytest.fail("decoded"))
    line = name.encode() + b": " + octets * (1_000_000 // len(octets)) + b"\r"
    with pytest.raises(BadValue, match="longer than 4096 octets") as caught:
        read_injection(line, PREFIXES, frozenset(), NOW)
    assert caught.value.field == name


def test_k3_a_name_of_a_megabyte_and_thousands_of_headers_are_refused():
    with pytest.raises(BadValue, match="is not a header name"):
        ask("X-MQ-" + "n" * 1_000_000 + ": x")
    with pytest.raises(BadValue, match="more than 128 injection headers") as caught:
        read_injection(strip(b"X-MQ-Tag: =?utf-8?q?a?=\r\n" * 5000)[1], PREFIXES, frozenset(), NOW)
    assert caught.value.field == "X-MQ-Tag"
    assert ask(*["X-MQ-Tag: a"] * 128).tags == ("a",)


@pytest.mark.parametrize("tail", [b"\r\n\r\nb\r\n", b"\r\ntext\r\n", b"\r\nSubject: x\r\n\r\nb\r\n"])
@pytest.mark.parametrize("ignored", [frozenset(), frozenset(("x-mq-tag",))])
def test_k3_millions_of_folds_or_fields_are_refused_without_a_note_of_each(tail, ignored):
    for front, reason in (
        (b"X-MQ-Tag: a" + b"\r\n " * 3000, "longer than"),
        (b"X-MQ-Tag:a\r\n" * 500, "more than 128"),
    ):
        _, taken, _, _ = take_header(front.removesuffix(b"\r\n") + tail, PREFIXES)
        assert len(taken) < 10_000
        with pytest.raises(BadValue, match=reason) as caught:
            read_injection(taken, PREFIXES, ignored, NOW)
        assert caught.value.field == "X-MQ-Tag"
    block = b"Received:\r\n" * 3_000_000
    tracemalloc.start()
    assert has_received(block, 100)
    assert tracemalloc.get_traced_memory()[1] < 3 * len(block)
    tracemalloc.stop()


def test_k3_the_longest_property_still_fits_when_it_is_encoded():
    letters = "é" * 512
    words = email.header.Header(letters, "utf-8", maxlinelen=75).encode(linesep="\r\n")
    quoted = "\r\n ".join(f"=?utf-8?q?{'=C3=A9' * 10}?=" for _ in range(51))
    assert ask(f"X-MQ-Note: {words}").properties == {"note": letters}
    assert ask(f"X-MQ-Note: {quoted}").properties == {"note": "é" * 510}


@pytest.mark.parametrize(
    ("written", "meant"),
    [("X-MQ-Tags", "X-MQ-Tag"), ("X-MQ-Tenat", "X-MQ-Tenant"), ("x-mq-Tgaa", None),
     ("X-Floodgate-Tga", "X-Floodgate-Tag"),
     ("X-MQ-Pol", "X-MQ-Pool"), ("X-MQ-opol", "X-MQ-Pool"), ("X-MQ-IPs", "X-MQ-IP"), ("X-MQ-Delay", None),
     ("X-MQ-Delayd", "X-MQ-Delayed"), ("X-MQ-Max-Deliver-Time", "X-MQ-MaxDeliverTime"),
     ("X-MQ-Retires", "X-MQ-Retries"),
     ("X-MQ-MaxAttempt", "X-MQ-MaxAttempts"), ("X-MQ-Max_Attempts", "X-MQ-MaxAttempts"),
     ("X-MQ-Envelop", "X-MQ-Envelope"),
     ("X-MQ-DSNNotify", "X-MQ-DSN-Notify"), ("X-MQ-Idempotencykey", "X-MQ-Idempotency-Key"), ("X-MQ-Tagg", "X-MQ-Tag"),
     ("X-MQ-Id", None), ("X-MQ-Ta", None), ("X-MQ-PI", None), ("X-MQ-T", None), ("X-MQ-Customer", None),
     ("X-MQ-Target", None), ("X-MQ-Campaign-Tag", None)],
)  # fmt: skip
def test_i3_a_name_one_slip_away_from_a_known_one_is_refused_with_that_one(written, meant):
    for value in ("one", "x" * 1000):
        if meant is None:
            assert list(ask(f"{written}: {value}").properties.values()) == [value]
            continue
        with pytest.raises(BadValue) as caught:
            ask(f"{written}: {value}")
        assert caught.value.field == written
        assert f"did you mean {meant}?" in str(caught.value)


@pytest.mark.parametrize("known", [name for name in KNOWN if len(name) > 3])
def test_i3_every_slip_in_every_name_is_seen_and_the_names_themselves_are_not(known):
    slips = {known[:i] + known[i + 1 :] for i in range(len(known))}
    slips |= {known[:i] + "z" + known[i:] for i in range(len(known) + 1)}
    slips |= {known[:i] + "z" + known[i + 1 :] for i in range(len(known))}
    slips |= {known[:i] + known[i + 1] + known[i] + known[i + 2 :] for i in range(len(known) - 1)}
    assert nearest(known) == ""
    assert {nearest(slip) for slip in slips - {known}} == {KNOWN[known]}
    assert nearest(known[1:-1] + "zz") == ""


@pytest.mark.parametrize(
    "name",
    ["DSN-Ret", "DSN-Orcpt", "DSN-Envid", "Results-Queue", "Smarthost-Port",
     "Smarthosts-Password", "Smarhost-Username", "Keepmime", "Inlinecss"],
)  # fmt: skip
def test_i3_headers_that_are_not_obeyed_are_refused_and_can_be_ignored(name):
    for prefix in ("X-MQ-", "x-floodgate-"):
        with pytest.raises(BadValue, match=r"is not supported; remove it, or list it in smtp.ignore_headers") as caught:
            ask(f"{prefix}{name}: hunter2")
        assert caught.value.field == prefix + name
        assert ask(f"{prefix}{name}: hunter2", "X-MQ-Tag: t", ignored=[(prefix + name).lower()]).tags == ("t",)
    assert ask("X-MQ-Tags: x", ignored=["x-mq-tags"]) == Injection()


def test_an_idempotency_key_is_kept_as_it_was_written():
    assert ask("X-MQ-Idempotency-Key:  5e3c-1a, Order 7 ").idempotency_key == "5e3c-1a, Order 7"
    assert ask(f"X-Floodgate-Idempotency-Key: {255 * 'k'}").idempotency_key == 255 * "k"


DAY = 86_400_000


@pytest.mark.parametrize(
    ("text", "moment"),
    [("2027-01-15 09:00:00", 1_800_003_600_000), ("2027-01-15T09:00:00Z", 1_800_003_600_000),
     ("2027-01-15t09:00:00.25z", 1_800_003_600_250), ("2027-01-15 09:00:00Z", 1_800_003_600_000),
     ("2027-01-15T10:00:00+01:00", 1_800_003_600_000), ("2027-01-15T08:59:00+00:00", 1_800_003_540_000),
     ("+10m", NOW + 600_000), ("+1.5h", NOW + 5_400_000), ("+90", NOW + 90_000), ("+2d", NOW + 2 * DAY),
     ("2027-01-15T07:55:00Z", NOW - 300_000)],
)  # fmt: skip
def test_i4_the_forms_of_a_time(text, moment):
    assert ask(f"X-MQ-Delayed: {text}").due_at == moment
    assert ask(f"X-MQ-MaxDeliverTime: {text}").expires_at == moment


@pytest.mark.parametrize(
    "text",
    ["2027-01-15T09:00:00", "2027-01-15 09:00:00.5", "2027-01-15T09:00:00.000", "2027-01-15", "09:00:00", "10m", "600",
     "1800003600", "tomorrow", "2027-01-15 09:00", "2027-01-15  09:00:00", "2027-01-15 09:00:00 +0100", "+-5m", "+",
     "2027-02-30 09:00:00", "Fri, 15 Jan 2027 09:00:00 +0000", "9999-12-31T23:59:59-10:00",
     "0001-01-01T00:00:00+10:00"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["X-MQ-Delayed", "X-Floodgate-MaxDeliverTime"])
def test_i4_any_other_form_is_refused_with_the_forms(name, text):
    with pytest.raises(BadValue, match=r"is not a (time; write RFC 3339|duration)") as caught:
        ask(f"{name}: {text}")
    assert caught.value.field == name


@pytest.mark.parametrize("text", ["2020-01-01 09:00:00", "2027-01-15T07:49:59Z", "1970-01-01T00:00:00Z"])
def test_i4_a_due_time_long_past_is_refused(text):
    with pytest.raises(BadValue, match="more than 10 minutes past"):
        ask(f"X-MQ-Delayed: {text}")


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59Z", "+3651d"])
def test_i4_a_due_time_more_than_ten_years_away_is_refused(text):
    assert ask("X-MQ-Delayed: +3650d").due_at == NOW + 3650 * DAY
    with pytest.raises(BadValue, match="more than 10 years away"):
        ask(f"X-MQ-Delayed: {text}")


@pytest.mark.parametrize(
    ("content", "left", "tags"),
    [
        (b" folded\r\nSubject: x\r\n\r\nb\r\n", b"\r\n folded\r\nSubject: x\r\n\r\nb\r\n", 0),
        (b"\tfolded\r\n", b"\r\n\tfolded\r\n", 0),
        (b"only text\r\nX-MQ-Tag: a\r\n\r\nmore\r\n", b"\r\nonly text\r\nX-MQ-Tag: a\r\n\r\nmore\r\n", 0),
        (b"From me@x Fri Nov 21\r\nX-MQ-Tag: a\r\nS: s\r\n\r\n",
         b"\r\nFrom me@x Fri Nov 21\r\nX-MQ-Tag: a\r\nS: s\r\n\r\n", 0),
        (b">From me\r\nS: s\r\n", b"\r\n>From me\r\nS: s\r\n", 0),
        (b": no name\r\nS: s\r\n", b"\r\n: no name\r\nS: s\r\n", 0),
        ("grüße: x\r\n".encode(), "\r\ngrüße: x\r\n".encode(), 0),
        (b"\0: x\r\n", b"\r\n\0: x\r\n", 0),
        # All lines before the first line of the text are the header.
        (b"X-MQ-Tag: a\r\n b\r\nx-mq-note: c\r\ntext\r\nX-MQ-Tag: d\r\n\r\nz\r\n",
         b"\r\ntext\r\nX-MQ-Tag: d\r\n\r\nz\r\n", 2),
        (b"X-MQ-Tag: a\r\ntext\r\n", b"\r\ntext\r\n", 1),
        # A header, none, or nothing at all: nothing is put there.
        (b"A: b\r\nno field\r\nX-MQ-Tag: t\r\n\r\nz\r\n", b"A: b\r\nno field\r\n\r\nz\r\n", 1),
        (b"A : b\r\n\r\nz\r\n", b"A : b\r\n\r\nz\r\n", 0),
        (b"\r\ntext\r\n", b"\r\ntext\r\n", 0),
        (b"X-MQ-Tag: a\r\n\r\ntext\r\n", b"\r\ntext\r\n", 1),
        (b"X-MQ-Tag: a\r\n", b"", 1),
        (b"", b"", 0),
    ],
)  # fmt: skip
def test_i5_an_empty_line_comes_before_what_is_no_header(content, left, tags):
    head, taken, rest, _ = take_header(content, PREFIXES)
    assert head + content[rest:] == left
    assert len(split_fields(taken)) == tags


@given(
    st.binary(max_size=80)
    | st.lists(st.sampled_from([b" f", b"A: b", b"x-mq-tag: t", b"", b"text"]), max_size=6).map(b"\r\n".join)
)
def test_i5_nothing_continues_in_a_header_before_the_message(raw):
    content = b"\r\n".join(line.replace(b"\n", b"").replace(b"\r", b"") for line in raw.split(b"\r\n")) + b"\r\n"
    head, _, rest, _ = take_header(content, PREFIXES)
    after = head + content[rest:]
    assert not after or after.startswith(b"\r\n") or re.match(rb"[!-9;-~]+[ \t]*:", after)


@pytest.mark.parametrize(
    "line",
    [
        "Dear all, no empty line here",
        "From me Mon Jan 1",
        ">From me",
        ": no name",
        "grüße: x",
        "\0: x",
        "a b: c",
        "-- ",
        "x" * 9000,
    ],
)
@pytest.mark.parametrize(
    "name", ["X-MQ-Tag", "x-mq-delayed", "X-Floodgate-Pool", "X-MQ-Note", "X-MQ-Topic", "X-MQ-a b"]
)
def test_i5_an_injection_header_behind_a_line_that_is_no_field_is_refused(line, name):
    for before in ("Subject: hi\r\n", "Subject: hi\r\n folded\r\n", "X-MQ-Tag: a\r\nA : b\r\nX-MQ-Tag: c\r\nD:\r\n"):
        for between in ("", "\r\n folded", "\r\nE: f", "\r\nX-MQ-Old: g"):
            content = f"{before}{line}{between}\r\n{name}: +1h\r\nX-MQ-Tag: last\r\n\r\nb\r\n".encode()
            strays = take_header(content, PREFIXES)[3]
            ignored = {"x-mq-old"}
            with pytest.raises(BadValue, match="behind a line that is no header field") as caught:
                refuse_strays(strays, PREFIXES, frozenset(ignored))
            assert caught.value.field == name
            refuse_strays(strays, PREFIXES, frozenset(ignored | {name.lower(), "x-mq-tag"}))


@pytest.mark.parametrize(
    "content",
    [
        b"A: b\r\nX-MQ-Tag: t\r\nno field\r\n\r\nb\r\n",  # it stands before that line
        b"A: b\r\nno field\r\n\r\nX-MQ-Tag: t\r\n",
        b"A: b\r\n folded\r\n\tfolded\r\nC : d\r\n!~:\r\nX-MQ-Tag: t\r\n e\r\nF:g\r\nX-MQ-Note: h\r\n\r\nb\r\n",
        b"A: b\r\n \r\nX-MQ-Tag: t\r\n\r\nb\r\n",
        b"no header\r\nA: b\r\nno field\r\nX-MQ-Tag: t\r\n\r\nb\r\n",
        b"X-MQ-Tag: t\r\n\r\nno field\r\nX-MQ-Tag: t\r\n\r\nb\r\n",
    ],
)
def test_i5_nothing_is_refused_where_every_line_before_is_a_field(content):
    assert take_header(content, PREFIXES)[3] == b""


def test_i8_a_tag_has_one_form_however_it_is_typed():
    composed, apart = "été", "e\u0301te\u0301"
    word = email.header.Header(apart, "utf-8").encode()
    for value in (composed, apart, word):
        assert ask(f"X-MQ-Tag: {value}") == Injection(tags=(composed,))
    assert ask("X-MQ-Tag: " + "e\u0301" * 64).tags == ("é" * 64,)


def test_ignored_names_are_dropped_unread():
    assert ask("X-MQ-Keepmime: 1", "X-MQ-Tag: a", ignored=["x-mq-keepmime"]) == Injection(tags=("a",))


@pytest.mark.parametrize(
    ("content", "rest", "taken"),
    [
        (b"", b"", 0),
        (b"\r\nX-MQ-Tag: body\r\n", b"\r\nX-MQ-Tag: body\r\n", 0),
        (b"X-MQ-Tag: a\r\n", b"", 1),
        (b"X-MQ-Tag: a\r\n\r\n", b"\r\n", 1),
        (b"From me\r\nX-MQ-Tag: a\r\nSubject: s\r\n\r\nX-MQ-Tag: b\r\n",
         b"From me\r\nSubject: s\r\n\r\nX-MQ-Tag: b\r\n", 1),
        (b"no colon\r\nX-MQ-Tag no colon\r\nx-MQ-tag : a\r\n\r\n", b"no colon\r\nX-MQ-Tag no colon\r\n\r\n", 1),
        (b"Subject: a\r\n X-MQ-Tag: folded\r\n\r\n", b"Subject: a\r\n X-MQ-Tag: folded\r\n\r\n", 0),
        (b"X-MQ-Tag: a\r\n b\r\n \r\nTo: x\r\n\r\n", b"To: x\r\n\r\n", 1),
    ],
)  # fmt: skip
def test_only_the_injection_headers_of_the_header_block_go(content, rest, taken):
    left, fields = fields_of(content)
    assert (left, len(fields)) == (rest, taken)


line = st.sampled_from(
    [
        b"Subject: x",
        b" folded",
        b"\tX-MQ-Tag: z",
        b"",
        b"no colon",
        b"From x",
        b"X-MQ-Other",
        b"To: \xff",
        b"x-mqtag: 1",
    ]
)


@given(st.lists(line, max_size=12), st.lists(line, max_size=6), st.integers(0, 12))
def test_a_header_put_in_front_of_a_field_comes_out_and_leaves_the_rest(block, body, where):
    before = [one for one in block if one]
    while where < len(before) and before[where : where + 1] and before[where][:1] in b" \t":
        where += 1
    after = [*before[:where], b"X-MQ-Tag: t", *before[where:]]
    tail = b"\r\n" + b"".join(one + b"\r\n" for one in body)
    left, fields = fields_of(b"".join(one + b"\r\n" for one in after) + tail)
    assert left == b"".join(one + b"\r\n" for one in before) + tail
    assert len(fields) == 1
    assert fields[0].value == b" t"


@given(
    st.binary(max_size=60), st.sampled_from(["tag", "pool", "ip", "delayed", "retries", "maxattempts", "envelope", "x"])
)
def test_no_value_raises_anything_but_bad_value(value, name):
    _, lines = strip(b"x-mq-" + name.encode() + b":" + value.replace(b"\r", b"").replace(b"\n", b"") + b"\r\n\r\n")
    with contextlib.suppress(BadValue):
        read_injection(lines, PREFIXES, frozenset(), NOW)


def test_s16_trace_headers_are_counted_in_the_block():
    block = b"Received: a\r\nreceived: b\r\nX-Received: c\r\n"
    assert [has_received(block, count) for count in (1, 2, 3)] == [True, True, False]


def test_s15_the_trace_header_names_a_single_recipient_and_no_raw_helo():
    made = trace_header("a b\x01(c)", "::1", "mx.example.org", "ESMTP", "I" * 26, ("b@example.net",), 0)
    assert made == (
        b"Received: from a?b??c? ([IPv6:::1])\r\n\tby mx.example.org with ESMTP id " + b"I" * 26
        + b"\r\n\tfor <b@example.net>;\r\n\tThu, 01 Jan 1970 00:00:00 -0000\r\n"
    )  # fmt: skip
    assert b"for" not in trace_header("c", "192.0.2.1", "h", "SMTP", "I" * 26, ("a@b", "c@d"), 0)
