"""A letter whose subject and texts differ from recipient to recipient: its MIME is made once, with gaps for the texts.

A text is filled in as quoted-printable, or as base64 where most of its letters are not ASCII (RFC 2045 6.7, 6.8).
"""

import base64
import binascii
import secrets
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from mta.content.compose import (
    Letter,
    Mailbox,
    address_field,
    composed_entity,
    date_field,
    message_id_field,
    text_field,
)
from mta.model.templates import TemplateParts

_MOSTLY_FOREIGN: Final = 0.3  # share of letters that are not ASCII, from which base64 is the shorter one
_QUOTED: Final = "quoted-printable"
_BASE64: Final = "base64"
_OF_PART: Final = ("text", "html")


class _Gap(NamedTuple):
    """A gap in the body, and the encoding of the text that fills it."""

    part: str
    encoding: str


class PersonalLetter:
    """The parts that all messages have in common, as octets."""

    def __init__(self, letter: Letter, sample: TemplateParts) -> None:
        """The subject and the texts of `letter` do not count; `sample` says which texts there are, and is much like
        those of each message. Raises ValueError: a header field or a content type cannot be written."""
        marks = {part: f"gap{secrets.token_hex(12)}" for part in _OF_PART if getattr(sample, part)}
        marks = marks or {"text": f"gap{secrets.token_hex(12)}"}
        hollow = msgspec.structs.replace(letter, text=marks.get("text"), html=marks.get("html"))
        entity = composed_entity(hollow)
        encodings = {part: _encoding(getattr(sample, part)) for part in marks}
        for one in entity.walk():
            for part, mark in marks.items():
                if not one.is_multipart() and mark in str(one.get_payload()):
                    del one["Content-Transfer-Encoding"]
                    one["Content-Transfer-Encoding"] = encodings[part]
                    one.set_param("charset", "utf-8")
                    one.set_payload(mark)
        block, _, body = entity.as_bytes().partition(b"\r\n\r\n")
        self._above = address_field("From", (letter.sender,))
        self._above += address_field("Reply-To", letter.reply_to) if letter.reply_to else b""
        below = [address_field("Cc", letter.cc)] if letter.cc else []
        below += [date_field(), *(text_field(name, value) for name, value in letter.headers), block, b"\r\n"]
        self._below = b"".join(below)
        self._domain = letter.sender.address.rpartition("@")[2]
        self._gaps = [_Gap(part, encodings[part]) for part in marks]
        self._pieces = _pieces(b"\r\n" + body, [mark.encode() for mark in marks.values()])

    def header(self, to: Sequence[Mailbox], subject: str) -> bytes:
        """The header of one message, with a message id of its own."""
        line = address_field("To", to) if to else b""
        fields = (self._above, line, message_id_field(self._domain), text_field("Subject", subject), self._below)
        return b"".join(fields)

    def rest(self, parts: TemplateParts) -> bytes:
        """The empty line and the body of one message."""
        found = [self._pieces[0]]
        for gap, piece in zip(self._gaps, self._pieces[1:], strict=True):
            found.append(_encoded(getattr(parts, gap.part), gap.encoding))
            found.append(piece)
        if not found[-1]:
            found.append(b"" if found[-2].endswith(b"\r\n") else b"\r\n")
        return b"".join(found)


def _pieces(body: bytes, marks: Sequence[bytes]) -> list[bytes]:
    """The body around the marks, which are in it in this order, each once."""
    found = []
    for mark in marks:
        piece, _, body = body.partition(mark)
        found.append(piece)
    return [*found, body.removeprefix(b"\r\n") if body == b"\r\n" else body]


def _encoding(text: str) -> str:
    foreign = sum(not char.isascii() for char in text[:4096])
    return _BASE64 if foreign > _MOSTLY_FOREIGN * min(len(text), 4096) else _QUOTED


def _encoded(text: str, encoding: str) -> bytes:
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    raw = text.replace("\n", "\r\n").encode()
    if encoding == _BASE64:
        return base64.encodebytes(raw).replace(b"\n", b"\r\n")
    quoted = binascii.b2a_qp(raw, quotetabs=False, istext=True, header=False)
    return quoted if b"\r\n" in raw else quoted.replace(b"\n", b"\r\n")  # it ends its lines as the first one ends
