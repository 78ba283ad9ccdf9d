"""Letters that differ by recipient, read by the standard library."""

import email
import email.policy
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.content.compose import Attachment, Letter, Mailbox
from mta.content.personal import PersonalLetter
from mta.model.templates import TemplateParts

FROM = Mailbox("news@example.com", "Jörg & Co")
PDF = Attachment("Bericht ä.pdf", "application/pdf", b"%PDF\x00\xff" * 40)
LOGO = Attachment("logo.png", "image/png", b"\x89PNG", "logo")


def read(made: PersonalLetter, parts: TemplateParts, to: str = "ann@example.net") -> EmailMessage:
    raw = made.header((Mailbox(to, "Ann Ö"),), parts.subject) + made.rest(parts)
    assert raw.isascii()
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert b"\r" not in raw.replace(b"\r\n", b"")
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    assert raw.endswith(b"\r\n")
    found = email.message_from_bytes(raw, policy=email.policy.SMTP)
    assert isinstance(found, EmailMessage)
    assert [defect for part in found.walk() for defect in part.defects] == []
    return found


def text_of(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    found: Any = part.get_content()
    return str(found).replace("\r\n", "\n").rstrip("\n")


@pytest.mark.parametrize("attachments", [(), (PDF,), (LOGO,), (PDF, LOGO)])
@pytest.mark.parametrize(
    "sample",
    [
        TemplateParts("s", "t", "h"),
        TemplateParts("s", "t"),
        TemplateParts("s", "", "h"),
        TemplateParts("s"),
        TemplateParts("привет", "привет всем " * 9, "<p>привет всем</p>" * 9),
    ],
)
def test_each_recipient_reads_the_own_text(sample: TemplateParts, attachments: tuple[Attachment, ...]) -> None:
    letter = Letter(sender=FROM, reply_to=(FROM,), headers=(("X-Shop", "ü"),), attachments=attachments)
    made = PersonalLetter(letter, sample)
    ids = set()
    for name in ("Ann", "Jörg\nof two lines", "x" * 3000, "あ" * 900, "=?utf-8?q?x?= . \n.\n..\n. \nFrom me"):
        parts = TemplateParts(
            f"Dear {name.splitlines()[0][:300]}",
            f"Dear {name},\n\nyours" if sample.text else "",
            f'<p class="a">{name}</p>' if sample.html else "",
        )
        found = read(made, parts)
        assert found["Subject"] == parts.subject
        assert (str(found["To"]), found["X-Shop"]) == ("Ann Ö <ann@example.net>", "ü")
        if sample.text:
            assert text_of(found, "plain") == parts.text
        if sample.html:
            assert text_of(found, "html") == parts.html
        files = [part.get_content() for part in found.walk() if part.get_filename()]
        assert files == [one.content for one in sorted(attachments, key=lambda one: one is PDF and bool(sample.html))]
        ids.add(found["Message-ID"])
    assert len(ids) == 5


def test_a_text_has_the_shorter_encoding() -> None:
    for text, encoding in (("Dear Jörg, an ordinary text", "quoted-printable"), ("привет всем", "base64")):
        sample = TemplateParts("s", text)
        assert read(PersonalLetter(Letter(sender=FROM), sample), sample)["Content-Transfer-Encoding"] == encoding


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=300), st.booleans())
def test_any_text_arrives(text: str, foreign: bool) -> None:
    made = PersonalLetter(Letter(sender=FROM), TemplateParts("s", "п" if foreign else "a", "b"))
    raw = made.header((), "s") + made.rest(TemplateParts("s", text, "<p>"))
    found = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    part = found.get_body(("plain",))
    assert part is not None
    payload: Any = part.get_payload(decode=True)
    assert payload.decode() == text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")
