"""Makes the messages in `made/`: `python tests/corpus/make.py`; they are committed, because their octets are the test.

Messages that a person can type are in `hand/`; messages with a bare CR or LF are in `bare/`.
"""

import random
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from pathlib import Path

MADE = Path(__file__).parent / "made"
DATE = "Fri, 21 Nov 2025 08:15:42 +0100"
GREETING = "Grüße aus Köln, 東京 und Αθήνα - schöne Tage!\n"
PLAIN_HEAD = b"From: a@example.org\r\nTo: b@example.com\r\nSubject: made\r\n\r\n"


def message(subject: str, text: str | None = "Hello,\n\nthis is a test.\n", **content: object) -> EmailMessage:
    made = EmailMessage(policy=SMTP)
    made["From"] = "Alice <alice@example.org>"
    made["To"] = "Bob <bob@example.com>"
    made["Subject"] = subject
    made["Date"] = DATE
    made["Message-ID"] = f"<{subject.replace(' ', '.').encode('ascii', 'replace').decode()}@example.org>"
    if text is not None:
        made.set_content(text, **content)  # type: ignore[arg-type]
    return made


def fixed(made: EmailMessage) -> bytes:
    """As bytes; boundaries are given, so that they are the same every time."""
    for number, part in enumerate(made.walk()):
        if part.is_multipart() and part.get_content_maintype() == "multipart":
            part.set_boundary(f"=_part_{number}_=")
    return made.as_bytes()


def alternative(subject: str) -> EmailMessage:
    made = message(subject)
    made.add_alternative(f"<p>Hello, <b>{GREETING}</b></p>\n", subtype="html", cte="quoted-printable")
    return made


def multiparts() -> Iterator[tuple[str, bytes]]:
    octets = random.Random(1)
    yield "alternative", fixed(alternative("two ways"))
    made = alternative("everything")
    html = made.get_payload()[1]  # type: ignore[index]
    html.add_related(octets.randbytes(3000), "image", "png", cid="<logo@example.org>")  # type: ignore[union-attr]
    made.add_attachment(octets.randbytes(9000), "application", "pdf", filename="Rechnung März.pdf")
    made.add_attachment("a;b;c\n1;2;3\n", filename="table.csv", subtype="csv")
    yield "nested-mime", fixed(made)
    made = message("forwarded")
    made.add_attachment(alternative("inside"))
    yield "message-in-message", fixed(made)
    made = message("deep", "the innermost\n")
    for _ in range(40):
        outer = message("deep", None)
        outer.make_mixed()
        outer.attach(made)
        made = outer
    yield "forty-levels", fixed(made)
    made = message("many parts")
    for number in range(200):
        made.add_attachment(f"part {number}\n", filename=f"{number}.txt")
    yield "two-hundred-parts", fixed(made)
    made = message("digest", None)
    made.make_mixed()
    made.replace_header("Content-Type", "multipart/digest")
    made.attach(message("first"))
    made.attach(message("second"))
    yield "digest", fixed(made)
    made = message("invitation")
    made.add_alternative(
        "BEGIN:VCALENDAR\nVERSION:2.0\nEND:VCALENDAR\n", subtype="calendar", params={"method": "REQUEST"}
    )
    yield "calendar", fixed(made)
    made = message("attached octets")
    made.add_attachment(octets.randbytes(300_000), "application", "octet-stream", filename="large.bin")
    yield "base64-400-kilobytes", fixed(made)


def charsets() -> Iterator[tuple[str, bytes]]:
    yield "plain", message("plain").as_bytes()
    yield "utf8-as-8bit", message("eight bits", GREETING, cte="8bit").as_bytes()
    yield "utf8-quoted-printable", message("quoted", GREETING * 20, cte="quoted-printable").as_bytes()
    yield "utf8-base64", message("base64", GREETING * 20, cte="base64").as_bytes()
    yield "koi8-r-as-8bit", message("koi8", "Привет, мир\n", charset="koi8-r", cte="8bit").as_bytes()
    yield "iso-2022-jp", message("jis", "こんにちは\n", charset="iso-2022-jp", cte="7bit").as_bytes()
    yield "encoded-words", message("Grüße - 東京 - " + "lang " * 40).as_bytes()
    yield "utf8-headers", message("Grüße aus 東京 - unencoded").as_bytes(policy=SMTPUTF8)
    head = PLAIN_HEAD[:-2] + b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
    part = b"--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    octets = bytes(random.Random(2).choice([o for o in range(256) if o not in b"\r\n"]) for _ in range(5000))
    yield "8bit-attachment", head + part + octets + b"\r\n--b--\r\n"


def lines() -> Iterator[tuple[str, bytes]]:
    for length in (998, 999, 2000, 102_400):
        yield f"line-of-{length}", PLAIN_HEAD + b"x" * length + b"\r\nafter\r\n"
    yield "line-of-100000-8bit", PLAIN_HEAD + "ä".encode() * 50_000 + b"\r\n"
    yield "dot-line-of-1000", PLAIN_HEAD + b"." + b"d" * 999 + b"\r\n." + b"e" * 997 + b"\r\n"
    yield "line-of-dots", PLAIN_HEAD + b"." * 5000 + b"\r\n"
    yield "every-line-a-dot", PLAIN_HEAD + b".\r\n" * 5000
    yield "every-line-empty", PLAIN_HEAD + b"\r\n" * 20_000
    # A dot line at, before and behind each place where content may be cut into blocks.
    straddling = b"".join(b"y" * (65_536 - 3 - shift) + b"\r\n." + b"\r\n" for shift in range(6))
    yield "dots-across-blocks", PLAIN_HEAD + straddling
    yield "dots-across-4096", PLAIN_HEAD + b"".join(b"z" * (4096 - 3 - shift) + b"\r\n..\r\n" for shift in range(12))
    yield "no-line-end-in-200-kilobytes", PLAIN_HEAD + b"0123456789" * 20_000


def octets() -> Iterator[tuple[str, bytes]]:
    yield "control-characters", PLAIN_HEAD + bytes(o for o in range(128) if o not in b"\r\n") + b"\r\n"
    yield "all-octets", PLAIN_HEAD + b"".join(b"[%c]\r\n" % o for o in range(256) if o not in b"\r\n")
    yield "nul", PLAIN_HEAD + b"before\0after\r\n\0\r\n\0\0\0\r\n.\0\r\n"
    yield "nul-in-header", b"From: a@example.org\r\nSubject: a\0b\r\nX-Odd: \x01\x7f\x1b[31m\r\n\r\nbody\r\n"


def headers() -> Iterator[tuple[str, bytes]]:
    recipients = b",\r\n\t".join(b"Person %d <person.%d@example.com>" % (n, n) for n in range(1000))
    yield "thousand-in-to", b"From: a@example.org\r\nTo: " + recipients + b"\r\nSubject: many\r\n\r\nHello all\r\n"
    folded = b"\r\n ".join(b"%04d " % n + b"v" * 70 for n in range(1500))
    yield "header-of-110-kilobytes", b"From: a@example.org\r\nX-Huge: " + folded + b"\r\n\r\nbody\r\n"
    yield "header-line-of-60000", b"From: a@example.org\r\nX-Long: " + b"w" * 60_000 + b"\r\n\r\nbody\r\n"
    fields = b"".join(b"X-Field-%d: value %d\r\n" % (n, n) for n in range(2000))
    yield "two-thousand-fields", b"From: a@example.org\r\n" + fields + b"\r\nbody\r\n"
    trace = b"".join(b"Received: from h%d by h%d; %s\r\n" % (n, n + 1, DATE.encode()) for n in range(90))
    yield "ninety-received", trace + PLAIN_HEAD + b"body\r\n"


def main() -> None:
    MADE.mkdir(exist_ok=True)
    for maker in (multiparts, charsets, lines, octets, headers):
        for name, content in maker():
            (MADE / f"{name}.eml").write_bytes(content)


if __name__ == "__main__":
    main()
