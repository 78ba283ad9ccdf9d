"""A composed message is read back by the standard library as it was given, and each line is as short as it must be."""

import email
import email.header
import email.message
import email.policy
import email.utils
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.content.compose import Attachment, Letter, Mailbox, address_field, compose, text_field

SHOP = Mailbox("shop@example.com", "The shop")


def composed(to: tuple[Mailbox, ...] = (Mailbox("ann@example.net"),), **fields: object) -> bytes:
    made = compose(Letter(**{"sender": SHOP, "subject": "Your order", "text": "hello\n"} | fields))  # type: ignore[arg-type]
    return made.header(to) + made.rest


def read(raw: bytes) -> email.message.EmailMessage:
    """Seven-bit, with CRLF only and no line over 998 octets; without a defect."""
    assert raw.isascii()
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", raw)
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(message, email.message.EmailMessage)
    for part in message.walk():
        assert part.defects == []
    for name in message:
        assert message[name].defects == (), (name, message[name])
    return message


def test_a_plain_message_has_the_fields_that_every_message_needs() -> None:
    message = read(composed())
    assert [name.lower() for name in message] == [
        *("from", "to", "message-id", "subject", "date", "content-type", "content-transfer-encoding", "mime-version"),
    ]
    assert str(message["From"]) == "The shop <shop@example.com>"
    assert re.fullmatch(r"<[0-9a-f]{32}@example\.com>", message["Message-ID"])
    assert message.get_content() == "hello\r\n"


def test_each_message_of_a_letter_has_an_id_of_its_own_and_the_same_body() -> None:
    made = compose(Letter(sender=SHOP, text="x"))
    first, second = (read(made.header((Mailbox(f"{name}@example.net"),)) + made.rest) for name in "ab")
    assert first["Message-ID"] != second["Message-ID"]
    assert (first["To"], second["To"]) == ("a@example.net", "b@example.net")


def test_text_html_a_picture_and_files_have_their_places() -> None:
    files = (
        Attachment("bill.pdf", "application/pdf", bytes(range(256))),
        Attachment("logo.png", "image/png", b"png", "logo"),
        Attachment("größe.txt", "text/plain", "größe\n".encode()),
    )
    message = read(composed(html='<img src="cid:logo">', attachments=files))
    kinds = [part.get_content_type() for part in message.walk()]
    assert kinds == [
        *("multipart/mixed", "multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png"),
        *("application/pdf", "text/plain"),
    ]
    assert [one.get_filename() for one in message.iter_attachments()] == ["bill.pdf", "größe.txt"]
    picture = next(part for part in message.walk() if part.get_content_type() == "image/png")
    assert (picture["Content-ID"], picture.get_content_disposition()) == ("<logo>", "inline")
    bill, note = message.iter_attachments()
    assert (bill.get_payload(decode=True), note.get_payload(decode=True)) == (files[0].content, files[2].content)


def test_a_file_with_a_content_id_is_an_attachment_where_there_is_no_html() -> None:
    message = read(composed(attachments=(Attachment("logo.png", "image/png", b"png", "logo"),)))
    (one,) = message.iter_attachments()
    assert one["Content-ID"] == "<logo>"


def test_html_alone_is_the_body() -> None:
    assert read(composed(text=None, html="<p>hé</p>")).get_content_type() == "text/html"


def test_a_thousand_addresses_are_folded() -> None:
    to = tuple(Mailbox(f"user{number}@example.net", f"User {number}") for number in range(1000))
    message = read(composed(to=to))
    assert [one.addr_spec for one in message["To"].addresses] == [one.address for one in to]


NAMES = st.text(
    st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp", "Cn", "Co", "Cf"), blacklist_characters="\u0085"),
    max_size=200,
).map(lambda text: " ".join(text.split()))


@settings(deadline=None)
@given(NAMES)
def test_a_text_field_is_read_as_it_was_written(value: str) -> None:
    raw = text_field("Subject", value)
    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    message = email.message_from_bytes(raw + b"\r\n", policy=email.policy.default)
    assert list(message.keys()) == ["Subject"]
    assert str(message["Subject"]) == value


@settings(deadline=None)
@given(NAMES)
def test_a_name_is_read_as_it_was_written(name: str) -> None:
    raw = address_field("To", (Mailbox("ann@example.net", name), Mailbox("bob@example.net")))
    # The new parser of the standard library (3.11) puts a blank between encoded words of a name.
    message = email.message_from_bytes(raw + b"\r\n", policy=email.policy.compat32)
    (shown, ann), bob = email.utils.getaddresses([message["To"]])
    assert (ann, bob) == ("ann@example.net", ("", "bob@example.net"))
    assert str(email.header.make_header(email.header.decode_header(shown))) == name


@settings(deadline=None)
@given(st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=500))
def test_any_text_is_carried_with_its_line_ends_as_crlf(text: str) -> None:
    body = read(composed(text=text)).get_payload(decode=True)
    assert isinstance(body, bytes)
    lines = re.split(r"\r\n|\r|\n", text)
    assert re.split(r"\r\n", body.decode().removesuffix("\r\n")) == (
        lines[:-1] if not lines[-1] and len(lines) > 1 else lines
    )


@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream", "image/x-thing"])
def test_a_file_is_carried_octet_by_octet(kind: str) -> None:
    content = b"a\rb\nc\r\n\0\xff" * 100
    message = read(composed(attachments=(Attachment("f", kind, content),)))
    (one,) = message.iter_attachments()
    assert one.get_payload(decode=True) == content


def test_large_files_are_carried_as_small_ones_are(monkeypatch: pytest.MonkeyPatch) -> None:
    files = (
        Attachment("a.bin", "application/octet-stream", bytes(range(256)) * 1200),
        Attachment("logo.png", "image/png", b"\0" * 90_001, "logo"),
        Attachment("", "text/plain", b"small"),
    )
    message = read(composed(html='<img src="cid:logo">', attachments=files))
    found = {
        part.get_content_type(): part.get_payload(decode=True) for part in message.walk() if not part.is_multipart()
    }
    assert [found[one.content_type] for one in files[:2]] == [one.content for one in files[:2]]
    assert [one.get_payload(decode=True) for one in message.iter_attachments()] == [files[0].content, b"small"]
    large = composed(html="x", attachments=files)
    monkeypatch.setattr("mta.content.compose._LARGE", 10_000_000)
    small = composed(html="x", attachments=files)
    assert len(large) == len(small)
