"""A message composed of its parts: header fields, texts and attachments become 7-bit MIME (RFC 5322, RFC 2045).

The content is made once, however many messages have it. Their headers differ in To and Message-ID only.
"""

import base64
import email.header
import email.message
import email.policy
import re
import secrets
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Final, NamedTuple

import msgspec

_LINE: Final = 78  # RFC 5322 2.1.1
_POLICY: Final = email.policy.SMTP.clone(cte_type="7bit")
_ATOMS: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")
_SPECIAL: Final = re.compile(r'(["\\])')
_LARGE: Final = 64 * 1024  # bytes of the files of a message
_PIECE: Final = 57 * 4096  # bytes; 57 fill a line
_MARK: Final = 24  # bytes that stand for a file; they fit into a line
_LONGEST_WORD: Final = 900  # octets without a blank in one line of a field: the line holds at most 998


class Mailbox(NamedTuple):
    """An address in a header field."""

    address: str  # ASCII
    name: str = ""


class Attachment(NamedTuple):
    """A file of a message. One with a content id can be shown inside the HTML text."""

    filename: str
    content_type: str  # type/subtype in lower case
    content: bytes
    content_id: str = ""


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """The parts that the messages of a call have in common."""

    sender: Mailbox
    reply_to: tuple[Mailbox, ...] = ()
    cc: tuple[Mailbox, ...] = ()
    subject: str = ""
    text: str | None = None
    html: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    attachments: tuple[Attachment, ...] = ()


class Composed(NamedTuple):
    """A letter as octets, without To and Message-ID."""

    above: bytes  # header fields
    below: bytes  # header fields
    rest: bytes  # the empty line and the body
    domain: str  # of message ids

    def header(self, to: Sequence[Mailbox]) -> bytes:
        """The header of one message, with a message id of its own."""
        line = address_field("To", to) if to else b""
        return b"".join((self.above, line, message_id_field(self.domain), self.below))


def compose(letter: Letter) -> Composed:
    """Raises ValueError: a header field or a content type cannot be written."""
    block, _, body = _as_mime(letter).partition(b"\r\n\r\n")
    above = [address_field("From", (letter.sender,))]
    above += [address_field("Reply-To", letter.reply_to)] if letter.reply_to else []
    below = [address_field("Cc", letter.cc)] if letter.cc else []
    below += [text_field("Subject", letter.subject), date_field()]
    below += [text_field(name, value) for name, value in letter.headers]
    domain = letter.sender.address.rpartition("@")[2]
    return Composed(b"".join(above), b"".join((*below, block, b"\r\n")), b"\r\n" + body, domain)


def _as_mime(letter: Letter) -> bytes:
    """The entity as octets. `encoded_file` writes large files: the library would hold the interpreter's lock, and with
    it the event loop, for a third of a second."""
    if sum(len(one.content) for one in letter.attachments) <= _LARGE:
        return composed_entity(letter).as_bytes(policy=_POLICY)
    marks = [secrets.token_bytes(_MARK) for _ in letter.attachments]
    marked = tuple(one._replace(content=mark) for one, mark in zip(letter.attachments, marks, strict=True))
    raw = composed_entity(msgspec.structs.replace(letter, attachments=marked)).as_bytes(policy=_POLICY)
    pieces, at = [], 0
    lines = [base64.b64encode(mark) + b"\r\n" for mark in marks]
    for place, number in sorted((raw.index(line), number) for number, line in enumerate(lines)):
        pieces += [raw[at:place], encoded_file(letter.attachments[number].content)]
        at = place + len(lines[number])
    return b"".join((*pieces, raw[at:]))


def encoded_file(content: bytes) -> bytes:
    """Base64 in lines of 76 characters (RFC 2045 6.8), made in pieces, so that other threads run between them."""
    pieces = [base64.encodebytes(content[at : at + _PIECE]) for at in range(0, len(content), _PIECE)]
    return b"".join(piece.replace(b"\n", b"\r\n") for piece in pieces)


def message_id_field(domain: str) -> bytes:
    """A random one: it says nothing about the id under which the message is kept."""
    return f"Message-ID: <{secrets.token_hex(16)}@{domain}>\r\n".encode()


def date_field() -> bytes:
    """The present time."""
    return f"Date: {format_datetime(datetime.now(UTC))}\r\n".encode()


def text_field(name: str, value: str) -> bytes:
    """A field of text, folded and encoded (RFC 2047) where it must be."""
    if value.isascii() and len(name) + len(value) + 2 <= _LINE and "=?" not in value:
        return f"{name}: {value}\r\n".encode()
    words_fit = value.isascii() and "=?" not in value and all(len(word) < _LONGEST_WORD for word in value.split(" "))
    header = email.header.Header(
        value, charset="us-ascii" if words_fit else "utf-8", maxlinelen=_LINE, header_name=name
    )
    return f"{name}: {header.encode(linesep=_CRLF, splitchars=' ')}\r\n".encode("ascii")


def address_field(name: str, mailboxes: Iterable[Mailbox]) -> bytes:
    """A field of addresses, each on a line of its own where they do not fit into one."""
    written = [_written(mailbox, len(name) + 2) for mailbox in mailboxes]
    line = f"{name}: {', '.join(written)}"
    if len(line) > _LINE:
        line = f"{name}: " + ",\r\n ".join(written)
    return line.encode("ascii") + b"\r\n"


def _written(mailbox: Mailbox, used: int) -> str:
    address, name = mailbox
    if not name:
        return address
    if not name.isascii() or "=?" in name or len(name) > _LINE - used:
        header = email.header.Header(name, charset="utf-8", maxlinelen=_LINE - used)
        return f"{header.encode(linesep=_CRLF)}{_CRLF if len(name) > 20 else ''} <{address}>"
    phrase = name if _ATOMS.fullmatch(name) and name == name.strip() else f'"{_SPECIAL.sub(_ESCAPE, name)}"'
    return f"{phrase} <{address}>"


def composed_entity(letter: Letter) -> email.message.EmailMessage:
    """The parts of the letter as one MIME entity."""
    made = email.message.EmailMessage(_POLICY)
    shown = [one for one in letter.attachments if one.content_id and letter.html is not None]
    if letter.text is not None or letter.html is None:
        made.set_content(letter.text or "")
        if letter.html is not None:
            made.add_alternative(letter.html, subtype="html")
    else:
        made.set_content(letter.html, subtype="html")
    if shown:
        holder = made.get_body(("html",))
        assert isinstance(holder, email.message.EmailMessage)
        for one in shown:
            holder.add_related(one.content, *_kind(one), cid=f"<{one.content_id}>", **_named(one, "inline"))
    for one in letter.attachments:
        if one not in shown:
            more: dict[str, Any] = {"cid": f"<{one.content_id}>"} if one.content_id else {}
            made.add_attachment(one.content, *_kind(one), **_named(one, "attachment"), **more)
    return made


def _kind(attachment: Attachment) -> tuple[str, str]:
    main, _, sub = attachment.content_type.partition("/")
    return main, sub


def _named(attachment: Attachment, disposition: str) -> dict[str, Any]:
    return {"disposition": disposition} | ({"filename": attachment.filename} if attachment.filename else {})


_CRLF: Final = "\r\n"
_ESCAPE: Final = r"\\\1"
