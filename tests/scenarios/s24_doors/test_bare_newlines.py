"""Bare CR and LF: taken as line ends from trusted clients, and never the end of a message."""

import re
import smtplib
import subprocess

import pytest

from tests.scenarios.s24_doors.conftest import SENDER, Entrance, Wire
from tests.support import corpus
from tests.support.needs import needs

LOOK_LIKE_AN_END = [
    b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\n.\r", b"\r.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r\n.\r\r\n",
    b"\r\r\n.\r\r\n",
    b"\n\n.\n\n", b"\r\r.\r\r", b"\n\r.\n\r", b"\r\n\n.\n\r\n", b"\r\n.\n\n", b"\r\n.\n.\r\n\n.\n",
    b"\r\n..\n.\n", b"\r\n\0.\r\n",
    b"\r\n.\0\r\n", b"\r\n. \r\n", b"\r\n.\x0b\r\n", b"\x85.\x85", b"\xe2\x80\xa8.\xe2\x80\xa8", b"\r\n..\r\n",
]  # fmt: skip
assert len(LOOK_LIKE_AN_END) == 24
BEHIND = b"MAIL FROM:<evil@example.org>%RCPT TO:<victim@evil.test>%DATA%Subject: smuggled%%bad%.%NOOP%"
CUTS = ["whole", "octets", "before", "within", "behind", "lines"]


def cell(recipient: str, payload: bytes, ends: bytes) -> tuple[bytes, bytes, bytes]:
    """The client's octets before the payload, the payload, and those behind it."""
    before = f"EHLO c\r\nMAIL FROM:<{SENDER}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\nSubject: x\r\n\r\nfirst".encode()
    return before, payload, BEHIND.replace(b"%", ends) + b"\r\n.\r\nQUIT\r\n"


def segments(cut: str, before: bytes, payload: bytes, behind: bytes) -> list[bytes]:
    whole = before + payload + behind
    half = len(payload) // 2
    return {
        "whole": [whole],
        "octets": [bytes([octet]) for octet in whole],
        "before": [before, payload + behind],
        "within": [before + payload[:half], payload[half:] + behind],
        "behind": [before + payload, behind],
        "lines": re.findall(rb"[^\r\n]*[\r\n]*", whole),
    }[cut]


def reads(stream: bytes) -> tuple[bytes, list[bytes]]:
    """The result of a reader that knows nothing but CRLF: the raw content of the first message, and the command
    lines behind its end."""
    content, behind = b"\r\n" + stream.partition(b"\r\nDATA\r\n")[2], b""
    content, _, behind = content.partition(b"\r\n.\r\n")
    return content[2:] + b"\r\n", behind.split(b"\r\n")[:-1]


def lines_of(raw: bytes) -> bytes:
    """Octet by octet: line ends become CRLF; of the dots at a line's beginning the first goes behind CRLF, and behind
    LF where there are two."""
    made, at, behind = bytearray(), 0, b"\r\n"
    while at < len(raw):
        if raw[at : at + 1] == b"." and (behind == b"\r\n" or (behind == b"\n" and raw[at : at + 2] == b"..")):
            at += 1
        behind = b"\r\n" if raw[at : at + 2] == b"\r\n" else raw[at : at + 1]
        made += b"\r\n" if behind in (b"\r\n", b"\r", b"\n") else behind
        at += len(behind)
    return bytes(made)


def is_bare(raw: bytes) -> bool:
    return b"\r" in raw.replace(b"\r\n", b"") or b"\n" in raw.replace(b"\r\n", b"")


@pytest.mark.parametrize("mode", ["entrance", "strict_entrance"])
def test_i2_no_cell_of_the_smuggling_matrix_makes_a_second_message(mode: str, request: pytest.FixtureRequest) -> None:
    entrance: Entrance = request.getfixturevalue(mode)
    strict = mode == "strict_entrance"
    expected: dict[str, bytes] = {}
    accepted_before = len(entrance.receptions())
    cells = 0
    for number, payload in enumerate(LOOK_LIKE_AN_END):
        for cut in CUTS:
            for ends in (b"\r\n", b"\n"):
                cells += 1
                recipient = f"cell-{number}-{cut}-{len(ends)}-{mode}@dest.test"
                parts = cell(recipient, payload, ends)
                raw, behind = reads(b"".join(parts))
                with Wire(entrance.node.smtp) as wire:
                    wire.send(*segments(cut, *parts))
                    codes = wire.codes()
                assert codes[:4] == [250, 250, 250, 354], (payload, cut, codes)
                if strict and is_bare(raw):
                    assert codes[4:] == [550, 421], (payload, cut, codes)
                    continue
                # For a reader of CRLF alone, the octets behind the first end are the client's next commands.
                assert codes[4] == 250, (payload, cut, codes)
                assert len(codes) == 5 + len(behind), (payload, cut, codes, behind)
                expected[recipient] = lines_of(raw)
    assert cells == 24 * 6 * 2
    arrived = entrance.arrived(*expected)
    for recipient, content in expected.items():
        (one,) = arrived[recipient]
        assert one.sender == SENDER
        assert one.content.endswith(b"\r\n" + content), (recipient, content, one.content)
    everything = entrance.destination.taken()
    assert not [one for one in everything if one.sender.startswith("evil") or "victim@evil.test" in one.recipients]
    assert len(entrance.receptions()) - accepted_before == len(expected)
    assert len(expected) == (len([p for p in LOOK_LIKE_AN_END if not is_bare(p)]) * 6 if strict else cells)


@pytest.mark.parametrize("ends", [b"\n", b"\r", b"\r\n"])
def test_i2_what_smtplib_sends_as_bytes_arrives_whatever_its_line_ends(entrance: Entrance, ends: bytes) -> None:
    recipient = f"smtplib-{ends.hex()}@dest.test"
    lines = [b"Subject: x", b"X-MQ-Tag: of-smtplib", b"", b"one", b"", b"two"]
    if ends != b"\r":  # smtplib takes a line behind a bare CR for none and does not stuff it
        lines += [b".", b"..", b".three", b"...", b"."]
    with smtplib.SMTP(*entrance.node.smtp, timeout=60) as client:
        assert client.sendmail(SENDER, [recipient], ends.join(lines) + ends) == {}
    end = b"\r\n" if ends == b"\r\n" else b"\r\n\r\n"  # smtplib adds a CRLF to the others
    assert entrance.message(recipient) == b"\r\n".join(line for line in lines if line[:5] != b"X-MQ-") + end
    assert [e["tags"] for e in entrance.receptions() if e["recipient"] == recipient] == [["of-smtplib"]]


@needs("curl")
def test_i2_a_file_with_lf_that_curl_sends_arrives(entrance: Entrance) -> None:
    recipient = "curl@dest.test"
    path = entrance.node.folder / "letter.txt"
    path.write_bytes(b"From: a@example.org\nSubject: by curl\n\none\n.two\n.\n\nend\n")
    words = ["curl", "-sS", "--max-time", "60", "--url", "smtp://{}:{}".format(*entrance.node.smtp)]
    done = subprocess.run(
        [*words, "--mail-from", SENDER, "--mail-rcpt", recipient, "-T", str(path)],
        capture_output=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    content = path.read_bytes().replace(b"\n", b"\r\n")
    # curl ends a file that ends with LF by an empty line more.
    assert entrance.message(recipient).removesuffix(b"\r\n") == content


def test_i2_the_corpus_with_lf_line_ends_arrives_as_it_does_with_crlf(entrance: Entrance) -> None:
    sent = {}
    with smtplib.SMTP(*entrance.node.smtp, timeout=60) as client:
        client.ehlo("c.example")
        for name, content in corpus.own().items():
            text = content.replace(b"\r\n", b"\n")
            if len(text) < 300_000 and b"\n" in text and not is_bare(content):
                sent[f"lf-{name}@dest.test"] = content
                assert client.sendmail(SENDER, [f"lf-{name}@dest.test"], text) == {}, name
    assert len(sent) > 50
    arrived = entrance.arrived(*sent)
    for recipient, content in sent.items():
        (one,) = arrived[recipient]
        # smtplib puts a CRLF behind what ends with LF.
        assert one.content.endswith(corpus.ended(content) + (b"\r\n" if content.endswith(b"\n") else b"")), recipient


@pytest.mark.parametrize("name", sorted(corpus.bare()))
def test_i2_refused_by_choice_after_the_real_end_and_the_session_is_closed(
    strict_entrance: Entrance, name: str
) -> None:
    entrance = strict_entrance
    with Wire(entrance.node.smtp) as wire:
        wire.send(f"EHLO c\r\nMAIL FROM:<{SENDER}>\r\nRCPT TO:<refused@dest.test>\r\nDATA\r\n".encode())
        wire.send(corpus.stuffed(corpus.bare()[name]), b"NOOP\r\n")
        assert wire.codes() == [250, 250, 250, 354, 550, 421]
    assert not [e for e in entrance.receptions() if e["recipient"] == "refused@dest.test"]
