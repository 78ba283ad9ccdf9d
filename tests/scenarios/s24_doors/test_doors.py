"""Mail that comes in by SMTP and must not mislead: other protocols, mistyped headers, odd times, doubled names."""

import contextlib
import email.header
import http.client
import json
import os
import subprocess
import sys
import time
from typing import Any

import pytest

from tests.scenarios.s24_doors.conftest import SENDER, Entrance, Wire
from tests.support.node import TOKEN, until

COMMANDS = f"EHLO c\r\nMAIL FROM:<{SENDER}>\r\nRCPT TO:<http@dest.test>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\nQUIT\r\n"
COMPOSED, APART = "\u00e9t\u00e9-caf\u00e9", "e\u0301te\u0301-cafe\u0301"


def refused(reply: bytes, header: str) -> str:
    assert reply.startswith(f"550 5.6.0 {header}: ".encode()), reply
    return reply.decode()


@pytest.mark.parametrize("name", ["X-MQ-Tag", "x-floodgate-Colour", "X-MQ-Pool", "X-MQ-Delayed"])
def test_k3_a_header_of_megabytes_of_encoded_words_is_refused_at_once(entrance: Entrance, name: str) -> None:
    # Decoding 4 MB took a minute and a half, and nobody was served meanwhile.
    line = f"{name}: ".encode() + b"=?utf-8?q?a?=\r\n " * (4_000_000 // 16) + b"b\r\n"
    text = refused(entrance.submit("long@dest.test", b"A: b\r\n" + line + b"\r\nx\r\n"), name)
    assert "4096 octets" in text
    many = b"".join(b"%s: =?utf-8?q?%d?=\r\n" % (name.encode(), number % 60) for number in range(50_000))
    refused(entrance.submit("long@dest.test", many + b"\r\nx\r\n"), name)


@pytest.mark.parametrize("method", ["POST", "get", "PUT", "MAIL", "NOOP", "EHLO", "Custom"])
def test_i1_an_http_client_cannot_send_mail(entrance: Entrance, method: str) -> None:
    connection = http.client.HTTPConnection(*entrance.node.smtp, timeout=60)
    connection.request(method, "/", COMMANDS.encode())
    said = b""
    with contextlib.suppress(ConnectionResetError):  # what it had not read when it closed
        while octets := connection.sock.recv(65536):
            said += octets
    connection.close()
    greeting, answer, rest = said.split(b"\r\n", 2)
    assert (greeting[:4], answer[:10], rest) == (b"220 ", b"221 2.7.0 ", b"")
    assert not [e for e in entrance.receptions() if e["recipient"] == "http@dest.test"]


@pytest.mark.parametrize(
    "first",
    [b"Host: mx.example.org\r\n", b"content-length: 300\r\n", b"GET / HTTP/1.0\nHost: x\n\n\r\n",
     b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"],
    ids=["header", "another header", "LF", "ClientHello"],
)  # fmt: skip
@pytest.mark.parametrize("pieces", [1, 3, 1000])
def test_i1_other_octets_of_web_clients_close_the_session_however_they_are_cut(
    entrance: Entrance, first: bytes, pieces: int
) -> None:
    whole = b"EHLO c\r\n" + first + COMMANDS.encode()
    size = len(whole) // pieces + 1
    with Wire(entrance.node.smtp) as wire:
        wire.send(*(whole[at : at + size] for at in range(0, len(whole), size)))
        assert wire.codes() == [250, 221]
    assert not [e for e in entrance.receptions() if e["recipient"] == "http@dest.test"]


def test_i1_a_tls_client_is_told_before_it_waits_for_an_answer(entrance: Entrance) -> None:
    with Wire(entrance.node.smtp) as wire:
        wire.send(b"\x16\x03\x01\x00\xa5\x01\x00\x00")
        assert wire.codes() == [221]


def test_k4_no_secret_that_a_client_sends_is_in_a_log_or_a_reply(entrance: Entrance) -> None:
    secret = "c2VjcmV0LXMyNA=="
    with Wire(entrance.node.smtp) as wire:
        wire.send(
            f"EHLO c\r\nAUTH PLAIN {secret}\r\nAUTH LOGIN\r\n{secret}\r\nMAIL FROM:<a@b> AUTH={secret}\r\n".encode()
        )
        wire.send(f"RCPT TO:<{secret}>\r\nVRFY {secret}\0\r\n{secret * 200}\r\n".encode())
        replies = [wire.reply() for _ in range(8)]
        assert [reply[:3] for reply in replies] == [b"250", b"502", b"502", b"500", b"501", b"503", b"501", b"500"]
        wire.send(f"GET / HTTP/1.1\r\nAuthorization: Bearer {secret}\r\n\r\n".encode())
        replies.append(wire.reply())
        assert wire.codes() == []
    for name in ("Smarthost-Username", "Smarthots-Pasword", "Envelope", "Pool", "IP", "MaxAttempts"):
        replies.append(entrance.submit("secret@dest.test", f"X-MQ-{name}: {secret} x\r\n\r\nb\r\n".encode()))
    assert not [reply for reply in replies if secret.encode() in reply]
    assert entrance.submit("marker-k4@dest.test", b"A: b\r\n\r\nb\r\n").startswith(b"250 ")
    entrance.arrived("marker-k4@dest.test")
    assert "closed a connection from 127.0.0.1: the client sent HTTP or TLS" in entrance.node.errors()
    assert secret not in entrance.node.errors() + entrance.node.log.read_text()


@pytest.mark.parametrize("prefix", ["X-MQ-", "X-Floodgate-"])
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Tags", "Tag"),
        ("Tenat", "Tenant"),
        ("Tga", "Tag"),
        ("MaxDeliveryTime", "MaxDeliverTime"),
        ("Retires", "Retries"),
    ],
)
def test_i3_a_mistyped_header_is_refused_with_the_right_one(
    entrance: Entrance, prefix: str, written: str, meant: str
) -> None:
    reply = entrance.submit("typo@dest.test", f"{prefix}{written}: one\r\nSubject: x\r\n\r\nb\r\n".encode())
    assert f"did you mean {prefix}{meant}?" in refused(reply, f"{prefix}{written}")


def test_i3_other_names_stay_properties(entrance: Entrance) -> None:
    content = b"X-MQ-Id: 17\r\nX-MQ-Customer: acme\r\nX-Floodgate-T: t\r\nSubject: x\r\n\r\nb\r\n"
    assert entrance.submit("properties@dest.test", content).startswith(b"250 ")
    assert entrance.message("properties@dest.test") == b"Subject: x\r\n\r\nb\r\n"
    (event,) = [e for e in entrance.receptions() if e["recipient"] == "properties@dest.test"]
    assert event["properties"] == {"id": "17", "customer": "acme", "t": "t"}


@pytest.mark.parametrize(
    "name", ["Smarthost-Password", "Smarthots-Password", "Success-Queue", "Keepmime", "Inlinecss", "DSN-Notify"]
)
def test_i3_what_is_not_obeyed_is_refused_and_its_value_is_nowhere(entrance: Entrance, name: str) -> None:
    refused(entrance.submit("secret@dest.test", f"X-MQ-{name}: hunter2-s24\r\n\r\nb\r\n".encode()), f"X-MQ-{name}")
    assert entrance.submit(f"marker-{name}@dest.test", b"A: b\r\n\r\nb\r\n").startswith(b"250 ")
    entrance.arrived(f"marker-{name}@dest.test")
    assert "hunter2-s24" not in entrance.node.errors() + entrance.node.log.read_text()


@pytest.mark.parametrize("name", ["X-MQ-Delayed", "X-MQ-MaxDeliverTime"])
@pytest.mark.parametrize(
    "text", ["2036-11-30T09:00:00", "2036-11-30 09:00:00.5", "2036-11-30", "10m", "tomorrow", "2020-01-01 09:00:00"]
)
def test_i4_a_time_that_may_mean_something_else_is_refused(entrance: Entrance, name: str, text: str) -> None:
    refused(entrance.submit("time@dest.test", f"{name}: {text}\r\n\r\nb\r\n".encode()), name)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("mailerq", "%Y-%m-%d %H:%M:%S"),
        ("rfc3339", "%Y-%m-%dT%H:%M:%SZ"),
        ("blank", "%Y-%m-%d %H:%M:%S+00:00"),
        ("duration", "+4s"),
    ],
)
def test_i4_the_documented_forms_are_kept(entrance: Entrance, form: str, text: str) -> None:
    recipient = f"due-{form}@dest.test"
    due = int(time.time()) + 4  # not past when it comes in
    text = time.strftime(text, time.gmtime(due))
    content = f"X-MQ-Delayed: {text}\r\nX-MQ-MaxDeliverTime: +1h\r\nSubject: x\r\n\r\nb\r\n"
    assert entrance.submit(recipient, content.encode()).startswith(b"250 ")
    assert entrance.message(recipient) == b"Subject: x\r\n\r\nb\r\n"
    assert time.time() >= due


@pytest.mark.parametrize(
    "content",
    [
        b" folded\r\nSubject: x\r\n\r\nb\r\n",
        b"\tfolded\r\nX-MQ-Tag: s24-behind\r\n\r\nb\r\n",
        b"no header, only text\r\nX-MQ-Tag: s24-behind\r\nmore\r\n",
        b"From me@example.org Fri Nov 21 08:15:42 2025\r\nFrom: a@example.org\r\nX-MQ-Tag: s24-behind\r\n\r\nb\r\n",
        b"one line\r\n",
    ],
    ids=["fold", "tab", "text", "mbox", "one-line"],
)  # fmt: skip
@pytest.mark.parametrize("before", [b"", b"X-MQ-Tag: s24-before\r\n"])
def test_i5_an_empty_line_comes_before_what_is_no_header(
    entrance: Entrance, content: bytes, before: bytes, request: pytest.FixtureRequest
) -> None:
    recipient = f"no-header-{request.node.callspec.indices['content']}-{len(before)}@dest.test"
    if before and content[:1] in b" \t":
        before += b"A: b\r\n"  # else it continues in the tag
        expected = b"A: b\r\n" + content.replace(b"X-MQ-Tag: s24-behind\r\n", b"")
        tags = ["s24-before", "s24-behind"] if b"behind" in content else ["s24-before"]
    else:
        expected, tags = b"\r\n" + content, ["s24-before"] if before else None
    assert entrance.submit(recipient, before + content).startswith(b"250 ")
    assert entrance.message(recipient) == expected
    (event,) = [e for e in entrance.receptions() if e["recipient"] == recipient]
    assert event.get("tags") == tags


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("Dear all, no empty line here", "X-MQ-Tag: obeyed"),
        ("From me Mon Jan 1", "X-MQ-Delayed: +1h"),
        ("Dear all", "X-Floodgate-Note: property"),
    ],
)
def test_i5_a_header_behind_a_line_that_is_no_field_is_refused_by_name(
    entrance: Entrance, line: str, asked: str
) -> None:
    name = asked.partition(":")[0]
    answer = entrance.submit("stray@dest.test", f"Subject: hi\r\n{line}\r\n{asked}\r\n\r\nb\r\n".encode())
    assert "behind a line that is no header field" in refused(answer, name)
    recipient = f"broken-{name.lower()}@dest.test"
    content = f"Subject: hi\r\n{line}\r\n\r\n{asked}\r\n".encode()
    assert entrance.submit(recipient, content).startswith(b"250 ")
    assert entrance.message(recipient) == content, "without such a header it stays as it is"


@pytest.mark.parametrize("domain", ["1.2.3.4", "123", "127.1", "example.0"])
def test_i6_a_number_is_no_domain(entrance: Entrance, domain: str) -> None:
    with Wire(entrance.node.smtp) as wire:
        wire.send(
            f"EHLO c\r\nMAIL FROM:<a@{domain}>\r\nMAIL FROM:<{SENDER}>\r\nRCPT TO:<a@{domain}>\r\nQUIT\r\n".encode()
        )
        assert wire.codes() == [250, 501, 250, 501, 221]
    refused(entrance.submit("a@dest.test", f"X-MQ-Envelope: a@{domain}\r\n\r\nb\r\n".encode()), "X-MQ-Envelope")


def test_i7_a_recipient_named_twice_gets_one_copy(entrance: Entrance) -> None:
    named = [
        "twice@dest.test",
        "once@dest.test",
        "twice@dest.test",
        "twice@DEST.test",
        "Twice@dest.test",
        "once@dest.test",
    ]
    assert entrance.submit(named, b"X-MQ-Tag: s24-twice\r\nSubject: x\r\n\r\nb\r\n").startswith(b"250 ")
    arrived = entrance.arrived("twice@dest.test", "once@dest.test", "Twice@dest.test")
    assert sorted(r for one in arrived["twice@dest.test"] for r in one.recipients) == sorted(
        {*named} - {"twice@DEST.test"}
    )
    assert [len(copies) for copies in arrived.values()] == [1, 1, 1]
    found = until(lambda: (s := entrance.node.statement("s24-twice")) and s["delivered"] == 3 and s)
    assert (found["accepted"], found["balanced"]) == (3, True)


@pytest.mark.parametrize(
    ("of_mail", "of_rule"), [(COMPOSED, APART), (APART, COMPOSED)], ids=["rule-apart", "mail-apart"]
)
def test_i8_a_rule_for_a_tag_matches_mail_that_was_tagged_in_another_unicode_form(
    entrance: Entrance, of_mail: str, of_rule: str, request: pytest.FixtureRequest
) -> None:
    suffix = "-" + request.node.callspec.id
    of_mail, of_rule = of_mail + suffix, of_rule + suffix
    for number, value in enumerate((of_mail, email.header.Header(of_mail, "utf-8").encode())):
        content = f"X-MQ-Tag: {value}\r\nX-MQ-Delayed: +1h\r\nSubject: x\r\n\r\nb\r\n"
        assert entrance.submit(f"tagged{number}{suffix}@dest.test", content.encode()).startswith(b"250 ")
    status, rule = entrance.node.call("POST", "/v1/errors?wait=50s&until=swept", {"code": 554, "tag": of_rule})
    assert (status, rule["tag"]) == (201, COMPOSED + suffix)
    found = until(lambda: (s := statement(entrance, of_rule)) and s["intercepted"]["queued"] == 2 and s)
    assert statement(entrance, of_mail)["intercepted"] == found["intercepted"]
    assert (found["tag"], found["balanced"]) == (COMPOSED + suffix, True)
    for form in (of_mail, of_rule):
        listed = entrance.node.call("GET", "/v1/errors?tag=" + quoted(form))[1]
        assert [one["id"] for one in listed] == [rule["id"]]
    assert entrance.node.call("DELETE", f"/v1/errors/{rule['id']}")[0] == 200


def test_i8_the_command_line_cancels_a_tag_in_either_form(entrance: Entrance) -> None:
    content = f"X-MQ-Tag: cli-{COMPOSED}\r\nX-MQ-Delayed: +1h\r\nSubject: x\r\n\r\nb\r\n"
    assert entrance.submit("tagged-cli@dest.test", content.encode()).startswith(b"250 ")
    words = [sys.executable, "-m", "mta.cli.main", "cancel", "--tag", f"cli-{APART}", "--yes", "--json"]
    environ = os.environ | {"FLOODGATE_URL": entrance.node.ready["api"], "FLOODGATE_TOKEN": TOKEN}
    done = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["statement"]["matched"] == 1
    assert statement(entrance, f"cli-{COMPOSED}")["intercepted"]["queued"] == 1


def quoted(text: str) -> str:
    return "".join(f"%{octet:02X}" for octet in text.encode())


def statement(entrance: Entrance, tag: str) -> dict[str, Any]:
    return entrance.node.statement(quoted(tag))
