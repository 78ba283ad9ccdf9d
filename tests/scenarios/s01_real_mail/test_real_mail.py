"""Real mail, sent by three clients, arrives byte for byte at two destinations that others wrote."""

import random
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from mta.content.header_block import header_end
from tests.support import corpus
from tests.support.destinations import AiosmtpdServer, Arrived, SmtpSink
from tests.support.needs import needs, tool
from tests.support.node import Node, running, until
from tests.support.recount import assert_balanced
from tests.support.wire_tap import WireTap

SENDER = "Sender.Name+x@example.org"
TRACE = re.compile(
    rb"Received: from [^\s]+ \(\[127\.0\.0\.1\]\)\r\n"
    rb"\tby mx\.floodgate\.test with ESMTP id [0-9A-Z]{26}(\r\n\tfor <[^>]+>)?;\r\n"
    rb"\t[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [-+]\d{4}\r\n"
)


class NodeAndDestinations:
    """A node, and where its mail goes by domain."""

    def __init__(self, node: Node, destinations: dict[str, AiosmtpdServer | SmtpSink]) -> None:
        self.node = node
        self.destinations = destinations

    def taken(self, domain: str, recipients: set[str]) -> dict[str, Arrived]:
        """The message at `domain` for each of `recipients`, each exactly once and alone."""
        found: dict[str, Arrived] = {}
        for arrived in self.destinations[domain].taken():
            if recipients.isdisjoint(arrived.recipients):
                continue
            assert len(arrived.recipients) == 1
            assert arrived.recipients[0] not in found, "twice"
            found[arrived.recipients[0]] = arrived
        return found

    def until_logged(self, kind: str, recipients: set[str]) -> list[dict[str, object]]:
        def all_there() -> list[dict[str, object]]:
            events = [e for e in self.node.events() if e["type"] == kind and e["recipient"] in recipients]
            return events if len(events) >= len(recipients) else []

        return until(all_there, what=f"not all of {len(recipients)} have a {kind}")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeAndDestinations]:
    destinations: dict[str, AiosmtpdServer | SmtpSink] = {"aiosmtpd.test": AiosmtpdServer()}
    if tool("smtp-sink"):
        destinations |= {"smtp-sink.test": SmtpSink(), "seven-bits.test": SmtpSink("-8")}
    routes = ", ".join(f'"{domain}" = "{server.address}"' for domain, server in destinations.items())
    node = Node(tmp_path_factory.mktemp("s01"), smtp__hostname="mx.floodgate.test", delivery__routes=f"{{ {routes} }}")
    with running(*destinations.values(), node):
        yield NodeAndDestinations(node, destinations)
        report = assert_balanced(node.ready["redis"])
        assert sum(report.recounted.get("", {}).values()) == 0, "something is still queued"


DESTINATIONS = ["aiosmtpd.test", pytest.param("smtp-sink.test", marks=needs("smtp-sink"))]

Mail = dict[str, bytes]  # recipient -> message


def mail_to(domain: str, client: str) -> Mail:
    own, theirs = corpus.own(), corpus.of_cpython()
    assert len(own) >= 40
    return {f"{name}.{client}@{domain}": content for name, content in (own | theirs).items()}


def compare(place: NodeAndDestinations, domain: str, expected: Mail) -> None:
    """Each arrived once, behind one trace header, and nothing else is different."""
    place.until_logged("Delivery", set(expected))
    taken = place.taken(domain, set(expected))
    assert taken.keys() == expected.keys()
    for recipient, content in expected.items():
        arrived = taken[recipient]
        trace = arrived.content[: len(arrived.content) - len(content)]
        assert trace + content == arrived.content, f"{recipient}: not the same"
        assert TRACE.fullmatch(trace), (recipient, trace)
        assert arrived.sender == SENDER
        assert ("BODY=8BITMIME" in arrived.parameters) == (not content.isascii()), (recipient, arrived.parameters)


def say(capsys: pytest.CaptureFixture[str], text: str) -> None:
    with capsys.disabled():
        print(f"\n  {text}", flush=True)


def report_on(capsys: pytest.CaptureFixture[str], client: str, domain: str, expected: Mail) -> None:
    theirs = sum(recipient.startswith("cpython-") for recipient in expected)
    say(capsys, f"{client} -> {domain}: {len(expected)} messages compared, {theirs} of them CPython's")
    assert len(expected) - theirs >= 40


@pytest.mark.parametrize("domain", DESTINATIONS)
def test_what_smtplib_sends_arrives_unharmed(
    place: NodeAndDestinations, domain: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mail = mail_to(domain, "smtplib")
    with place.node.sender() as client:
        for recipient, content in mail.items():
            options = [] if content.isascii() else ["BODY=8BITMIME"]
            assert client.sendmail(SENDER, [recipient], content, options) == {}
    # smtplib ends a message that ends with no CRLF, the empty one too.
    expected = {recipient: corpus.handed_on(content) or b"\r\n" for recipient, content in mail.items()}
    compare(place, domain, expected)
    report_on(capsys, "smtplib", domain, expected)


class RawClient:
    """A socket and what came on it; sends in pieces of random sizes."""

    def __init__(self, address: tuple[str, int], seed: int) -> None:
        self._socket = socket.create_connection(address, 30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._replies = self._socket.makefile("rb")
        self._random = random.Random(seed)
        assert self.reply().startswith(b"220 ")
        self._socket.sendall(b"EHLO raw.example\r\n")
        assert self.reply().startswith(b"250 ")

    def reply(self) -> bytes:
        """The last line of the next reply."""
        while True:
            line = self._replies.readline()
            assert line.endswith(b"\r\n"), line
            if line[3:4] != b"-":
                return line

    def send(self, octets: bytes) -> None:
        dice = self._random
        most = dice.choice((3, 50, 1500, 70_000))
        position = pieces = 0
        while position < len(octets):
            size = dice.randint(1, most) if pieces < 200 else len(octets)
            self._socket.sendall(octets[position : position + size])
            position += size
            pieces += 1

    def deliver(self, recipient: str, wire: bytes) -> bytes:
        """The reply to the message; MAIL, RCPT and DATA go at once (RFC 2920)."""
        self.send(f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n".encode())
        assert [self.reply()[:3] for _ in range(3)] == [b"250", b"250", b"354"]
        self.send(wire)
        return self.reply()

    def close(self) -> None:
        self._socket.sendall(b"QUIT\r\n")
        assert self.reply().startswith(b"221 ")
        assert self._replies.read() == b""
        self._socket.close()


@pytest.mark.parametrize("domain", DESTINATIONS)
def test_what_a_raw_socket_sends_in_random_pieces_arrives_unharmed(
    place: NodeAndDestinations, domain: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mail = mail_to(domain, "raw")
    client = RawClient(place.node.smtp, seed=len(domain))
    for recipient, content in mail.items():
        reply = client.deliver(recipient, corpus.stuffed(content))
        assert reply.startswith(b"250 2.0.0 queued as "), (recipient, reply)
    client.close()
    expected = {recipient: corpus.handed_on(content) for recipient, content in mail.items()}
    compare(place, domain, expected)
    report_on(capsys, "raw socket", domain, expected)


@needs("swaks")
@pytest.mark.parametrize("domain", DESTINATIONS)
def test_what_swaks_sends_arrives_unharmed(
    place: NodeAndDestinations, domain: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mail = {recipient: content for recipient, content in mail_to(domain, "swaks").items() if content}  # or it refuses
    files = place.node.folder / f"swaks-{domain}"
    files.mkdir()

    def swaks(recipient: str) -> None:
        path = files / recipient
        path.write_bytes(mail[recipient])
        words = [tool("swaks") or "swaks", "--server", "127.0.0.1", "--port", str(tap.port), "--helo", "swaks.example"]
        words += ["--from", SENDER, "--to", recipient, "--data", f"@{path}", "--hide-all"]
        done = subprocess.run(words, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, (recipient, done)

    with WireTap(place.node.smtp) as tap, ThreadPoolExecutor(4) as clients:
        list(clients.map(swaks, mail))
        sent = until(lambda: len(found := tap.contents()) == len(mail) and found)
    # swaks edits what it is given (an empty line at the end, tokens, mbox's From line): the octets that it sent count.
    expected = {recipient: corpus.handed_on(corpus.unstuffed(wire)) for recipient, wire in sent.items()}
    unedited = sum(expected[recipient] == corpus.handed_on(content) + b"\r\n" for recipient, content in mail.items())
    compare(place, domain, expected)
    report_on(capsys, f"swaks ({unedited} sent as given and an empty line)", domain, expected)
    assert unedited >= 40


@pytest.mark.parametrize("name", ["raw", "smtplib"])
def test_bare_cr_and_lf_become_line_ends_and_smuggle_nothing(
    place: NodeAndDestinations, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = corpus.bare()
    good = corpus.own()["nested-mime"]
    expected: Mail = {}
    deliver, close = clients_of(place)[name]()
    for case, content in bare.items():
        recipient = f"bare-{case}.{name}@aiosmtpd.test"
        assert deliver(recipient, content).startswith(b"250 2.0.0 queued as "), case
        # An injection header behind a bare LF is a header: files with LF line ends have it so.
        left = corpus.with_crlf(corpus.ended(content)).replace(b"X-MQ-Tag: smuggled\r\n", b"")
        expected[recipient] = corpus.handed_on(left)
        after = f"after-{case}.{name}@aiosmtpd.test"
        assert deliver(after, good).startswith(b"250 2.0.0 queued as "), case
        expected[after] = good
    close()
    compare(place, "aiosmtpd.test", expected)
    for domain, server in place.destinations.items():
        for arrived in server.taken():
            assert not any(who.startswith("victim@") for who in arrived.recipients), domain
            assert arrived.sender != "evil@example.org"
    say(capsys, f"{name}: {len(bare)} messages with a bare CR or LF and as many behind them compared")
    assert len(bare) >= 10


Deliver = Callable[[str, bytes], bytes]


def clients_of(place: NodeAndDestinations) -> dict[str, Callable[[], tuple[Deliver, Callable[[], object]]]]:
    """Name -> what opens a session and gives (how to deliver, how to end it)."""

    def raw() -> tuple[Deliver, Callable[[], object]]:
        client = RawClient(place.node.smtp, seed=7)
        return lambda recipient, content: client.deliver(recipient, corpus.stuffed(content)), client.close

    def with_smtplib() -> tuple[Deliver, Callable[[], object]]:
        client = place.node.sender()
        client.ehlo()

        def deliver(recipient: str, content: bytes) -> bytes:
            assert client.mail(SENDER)[0] == 250
            assert client.rcpt(recipient)[0] == 250
            code, text = client.data(content)
            return b"%d %s" % (code, text)

        return deliver, client.quit

    return {"raw": raw, "smtplib": with_smtplib}


INJECTION = [  # (line, whether it goes on to the destination); each begins or continues a header field
    (b"X-MQ-Tag: first", False),
    (b"From: a@example.org", True),
    (b"x-mq-tag:second", False),
    (b"X-FLOODGATE-TAG:\t=?utf-8?q?gr=C3=BCn?=", False),
    (b"Subject: folded", True),
    (b" X-MQ-Tag: of the subject", True),
    (b"X-Mq-My-Property: one", False),
    (b"\tand more of it", False),
    (b"  and the end", False),
    (b"X-MQTT: no", True),
    (b"X-MQ-MaxAttempts : 3", False),
    (b"To: b@example.com,", True),
    (b"\tc@example.com", True),
    (b"x-floodgate-retries: 1m,5m", False),
    ("X-MQ-Tag: größer, mit Komma".encode(), False),
    (b"not a header field", True),  # behind it none may stand
]


def test_injection_headers_are_taken_out_and_nothing_else(place: NodeAndDestinations) -> None:
    whole = b"".join(line + b"\r\n" for line, _ in INJECTION)
    left = b"".join(line + b"\r\n" for line, goes_on in INJECTION if goes_on)
    body = b"\r\nX-MQ-Tag: body\r\n\r\n.\r\nX-Floodgate-Tag: body\r\n"
    mail = {
        "with-body": (whole + body, left + body),
        "headers-only": (whole, left),
        "no-final-line-end": (whole[:-2], left),
        "nothing-else": (b"X-MQ-Tag: alone\r\n", b""),
        "before-a-body": (b"X-MQ-Tag: alone\r\n\r\ntext\r\n", b"\r\ntext\r\n"),
    }
    client = RawClient(place.node.smtp, seed=11)
    expected = {}
    for name, (content, arrives) in mail.items():
        recipient = f"injection-{name}@aiosmtpd.test"
        assert client.deliver(recipient, corpus.stuffed(content)).startswith(b"250 ")
        expected[recipient] = arrives
    client.close()
    compare(place, "aiosmtpd.test", expected)
    events = place.until_logged("Delivery", {"injection-with-body@aiosmtpd.test"})
    assert events[0]["tags"] == ["first", "second", "grün", "größer, mit Komma"]
    assert events[0]["properties"] == {"my-property": "one and more of it and the end"}


@needs("smtp-sink")
def test_envelopes_are_handed_on_as_they_came(place: NodeAndDestinations) -> None:
    addresses = [
        "MixedCase.User+Tag@smtp-sink.test",
        '"a b"@smtp-sink.test',
        r'"a\"b\\c"@smtp-sink.test',
        '"a@b"@smtp-sink.test',
        '"@ , : ;"@smtp-sink.test',
        "o'brien!#$%&*/=?^_`{|}~-x@smtp-sink.test",
        "A" * 64 + "@smtp-sink.test",
    ]
    senders = ["", "Mixed.Case@Example.ORG", '"quoted sender"@example.org', "user@[127.0.0.1]", *["x@example.org"] * 3]
    with place.node.sender() as client:
        client.ehlo()
        for sender, recipient in zip(senders, addresses, strict=True):
            assert client.docmd(f"MAIL FROM:<{sender}>")[0] == 250
            assert client.docmd(f"RCPT TO:<{recipient}>")[0] == 250
            assert client.data(b"Subject: envelope\r\n\r\nbody\r\n")[0] == 250
    place.until_logged("Delivery", set(addresses))
    taken = place.taken("smtp-sink.test", set(addresses))
    assert {recipient: arrived.sender for recipient, arrived in taken.items()} == dict(
        zip(addresses, senders, strict=True)
    )


@needs("smtp-sink")
def test_one_message_to_hundreds_of_recipients_at_two_domains_reaches_each_once(place: NodeAndDestinations) -> None:
    recipients = [f"many-{n}@{domain}" for n in range(150) for domain in ("aiosmtpd.test", "smtp-sink.test")]
    content = corpus.own()["utf8-as-8bit"]
    with place.node.sender() as client:
        assert client.sendmail(SENDER, recipients, content) == {}
    place.until_logged("Delivery", set(recipients))
    reached = []
    for domain in ("aiosmtpd.test", "smtp-sink.test"):
        for arrived in place.destinations[domain].taken():
            if arrived.recipients[0].startswith("many-"):
                reached += arrived.recipients
                assert arrived.content.endswith(content)
                assert TRACE.fullmatch(arrived.content[: -len(content)])
    assert sorted(reached) == sorted(recipients)


@needs("smtp-sink")
def test_eight_bits_are_converted_where_8bitmime_is_not_offered_or_bounce(place: NodeAndDestinations) -> None:
    messages = corpus.own()
    eight = {f"{name}@seven-bits.test": text for name, text in messages.items() if not text.isascii()}
    seven = {f"{name}@seven-bits.test": messages[name] for name in ("plain", "utf8-base64", "nul", "encoded-words")}
    assert len(eight) >= 8
    with place.node.sender() as client:
        for recipient, content in (eight | seven).items():
            client.sendmail(SENDER, [recipient], content)
    compare(place, "seven-bits.test", seven)
    kept = {address for address, text in eight.items() if not text[: header_end(text)].isascii()}
    bounces = place.until_logged("Bounce", kept)
    assert {event["recipient"] for event in bounces} == kept
    assert {event["enhanced"] for event in bounces} == {"5.6.3"}
    assert {event["origin"] for event in bounces} == {"local"}
    place.until_logged("Delivery", set(eight) - kept)
    taken = place.taken("seven-bits.test", set(eight))
    assert taken.keys() == eight.keys() - kept
    assert all(arrived.content.isascii() for arrived in taken.values())


@needs("swaks")
def test_messages_sent_by_hand_with_the_commands_of_the_readme_arrive_with_their_tags(
    place: NodeAndDestinations,
) -> None:
    # A file with LF line ends, as people have them.
    content = corpus.own()["nested-mime"]
    path = place.node.folder / "by-hand.eml"
    path.write_bytes(content.replace(b"\r\n", b"\n"))
    server = ":".join(map(str, place.node.smtp))
    send = [sys.executable, "-m", "mta.cli.main", "send", "--smtp", server, "--from", SENDER]
    send += ["--to", "send@aiosmtpd.test", "--tag", "campaign_x", "--tag", "customer_y", str(path)]
    swaks = [tool("swaks") or "swaks", "--server", server, "--from", SENDER, "--to", "swaks@aiosmtpd.test"]
    swaks += ["--header", "X-MQ-Tag: campaign_x", "--header", "Subject: by hand", "--body", "hello"]
    said = [subprocess.run(words, capture_output=True, timeout=60, check=True).stdout for words in (send, swaks)]
    place.until_logged("Delivery", {"send@aiosmtpd.test", "swaks@aiosmtpd.test"})
    logged = {e["recipient"]: e for e in place.node.events() if e["type"] == "Delivery"}
    assert logged["send@aiosmtpd.test"]["tags"] == ["campaign_x", "customer_y"]
    assert logged["swaks@aiosmtpd.test"]["tags"] == ["campaign_x"]
    assert logged["send@aiosmtpd.test"]["message_id"].encode() in said[0]
    assert logged["swaks@aiosmtpd.test"]["message_id"].encode() in said[1]
    compare(place, "aiosmtpd.test", {"send@aiosmtpd.test": content})
    by_swaks = place.taken("aiosmtpd.test", {"swaks@aiosmtpd.test"})["swaks@aiosmtpd.test"].content
    assert b"Subject: by hand\r\n" in by_swaks
    assert b"X-MQ-Tag" not in by_swaks
