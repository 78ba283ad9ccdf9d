"""Injection headers: what they ask for, what is refused, and that nothing else of the message changes."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.content.header_block import count_received, header_end, split_fields, take_fields
from mta.content.injection_headers import read_injection
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


def test_a_tenant_is_any_text_of_up_to_128_bytes_given_once():
    assert ask("X-MQ-Tenant: acme, inc. ", "X-MQ-Tag: t") == Injection(tags=("t",), tenant="acme, inc.")
    assert ask("X-Floodgate-Tenant: =?utf-8?b?w6k=?=", "x-mq-tenant: é").tenant == "é"
    assert ask("X-MQ-Tenant: " + "é" * 64).tenant == "é" * 64
    assert ask("X-MQ-Tag: t").tenant == ""


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
        (["X-MQ-Tenant: " + "é" * 65], "X-MQ-Tenant"),
        (["X-MQ-Tenant: a\x00b"], "X-MQ-Tenant"),
        (["X-MQ-Tenant: =?utf-8?b?AGE=?="], "X-MQ-Tenant"),
        (["X-MQ-Tenant: a", "X-Floodgate-Tenant: b"], "X-Floodgate-Tenant"),
        (["X-MQ-Idempotency-Key: k"], "X-MQ-Idempotency-Key"),
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
    assert count_received(b"Received: a\r\nreceived: b\r\nX-Received: c\r\n") == 2


def test_s15_the_trace_header_names_a_single_recipient_and_no_raw_helo():
    made = trace_header("a b\x01(c)", "::1", "mx.example.org", True, "I" * 26, ("b@example.net",), 0)
    assert made == (
        b"Received: from a?b??c? ([IPv6:::1])\r\n\tby mx.example.org with ESMTP id " + b"I" * 26
        + b"\r\n\tfor <b@example.net>;\r\n\tThu, 01 Jan 1970 00:00:00 -0000\r\n"
    )  # fmt: skip
    assert b"for" not in trace_header("c", "192.0.2.1", "h", False, "I" * 26, ("a@b", "c@d"), 0)
