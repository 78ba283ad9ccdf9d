"""Content made 7-bit: before it is signed, so that no host on the way has to convert it (RFC 6376 5.3), and for a host
that takes no other content.

The octets of each 8-bit leaf of the MIME tree are encoded, and its Content-Transfer-Encoding says so. All other octets
stay. Multipart/signed and multipart/encrypted stay as they are: their signatures cover the octets.
"""

import base64
import binascii
import re
from typing import Final, NamedTuple

from mta.content.canonical_form import header_fields
from mta.content.header_block import header_end

_MOST_LEVELS: Final = 50
_PLAIN: Final = frozenset((b"", b"7bit", b"8bit", b"binary"))
_UNTOUCHED: Final = (b"multipart/signed", b"multipart/encrypted", b"message/partial", b"message/external-body")
_ENCODING: Final = re.compile(rb"^content-transfer-encoding[ \t]*:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)\r\n", re.I | re.M)
_TYPE: Final = re.compile(rb"^content-type[ \t]*:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)\r\n", re.I | re.M)
_SIGNED: Final = re.compile(rb"^dkim-signature[ \t]*:", re.I | re.M)
_VERSION: Final = re.compile(rb"^mime-version[ \t]*:", re.I | re.M)
_COMMENT: Final = re.compile(rb'("(?:[^"\\]|\\.)*")|\((?:[^()\\]|\\.)*\)')  # or a quoted string, which stays
_BOUNDARY: Final = re.compile(rb';[ \t]*boundary[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^ \t;"]+))', re.I)
_ESCAPED: Final = re.compile(rb"\\(.)")
_MANY: Final = 0.25  # of octets that are not ASCII, above which base64 is shorter


class Entity(NamedTuple):
    """A message, or a part of one: its header with the CRLF of its last line, and its body."""

    header: bytes
    body: bytes


def seven_bit_message(content: bytes) -> bytes | None:
    """The message for a host that takes 7-bit content only (RFC 6152 3). None: it cannot be converted, or may not,
    since it is signed."""
    end = header_end(content)
    header = content[:end]
    if not header.isascii() or _SIGNED.search(header) or header_fields(header) is None:
        return None
    made = made_seven_bit(Entity(header, content[end + 2 :]))
    return made.header + b"\r\n" + made.body if made.body.isascii() else None


def made_seven_bit(entity: Entity, level: int = 0) -> Entity:
    """The entity with 7-bit leaves, as far as that is possible; unchanged where its body is 7-bit."""
    header, body = entity
    if body.isascii() or level > _MOST_LEVELS:
        return entity
    kind, boundary = _content_type(header)
    if kind in _UNTOUCHED:
        return entity
    encoding = _encoding(header)
    if encoding not in _PLAIN:
        return entity  # it is not encoded as it says
    if kind.startswith(b"multipart/"):
        parts = body if boundary is None else _parts_made(body, boundary, level)
        return Entity(_relabeled(header, encoding), parts) if parts.isascii() else Entity(header, parts)
    if kind in (b"message/rfc822", b"message/global"):
        inner = _made(body, level)
        return Entity(_relabeled(header, encoding), inner) if inner.isascii() else Entity(header, inner)
    return _leaf(header, body, kind, level)


def _leaf(header: bytes, body: bytes, kind: bytes, level: int) -> Entity:
    if not kind and level == 0:
        charset = b"utf-8" if _is_utf8(body) else b"unknown-8bit"  # RFC 1428
        header += b"Content-Type: text/plain; charset=" + charset + b"\r\n"
    few = len(body) - len(body.decode("ascii", "ignore")) <= _MANY * len(body)
    if few and (not kind or kind.startswith(b"text/")):
        name, body = b"quoted-printable", _quoted_printable(body)
    else:
        name, body = b"base64", base64.encodebytes(body).replace(b"\n", b"\r\n").removesuffix(b"\r\n")
        body += b"\r\n" if level == 0 else b""  # the line's end of a part belongs to the boundary
    header = _ENCODING.sub(b"", header) + b"Content-Transfer-Encoding: " + name + b"\r\n"
    if level == 0 and not _VERSION.search(header):
        header += b"MIME-Version: 1.0\r\n"
    return Entity(header, body)


def _quoted_printable(body: bytes) -> bytes:
    """In lines of at most 76 characters. The line ends of text stay."""
    lines = [binascii.b2a_qp(line, istext=True).replace(b"=\n", b"=\r\n") for line in body.split(b"\r\n")]
    return b"\r\n".join(lines)


def _parts_made(body: bytes, boundary: bytes, level: int) -> bytes:
    """The body of a multipart with 7-bit parts. Its preamble and epilogue stay."""
    delimiter = re.compile(rb"(?:\A|\r\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?:\r\n|\Z)")
    made, at, found = [], 0, delimiter.search(body)
    inside = False
    while found is not None:
        # The line end behind one delimiter may be the one before the next.
        piece = body[at : found.start()] if found.start() >= at else b""
        made.append(_made(piece, level) if inside else piece)
        made.append(found[0] if found.start() >= at else body[at : found.end()])
        at, inside = found.end(), found[1] is None
        if not inside:
            break
        found = delimiter.search(body, at - 2 if body[at - 2 : at] == b"\r\n" else at)
    rest = body[at:]
    made.append(_made(rest, level) if inside else rest)
    return b"".join(made)


def _made(text: bytes, level: int) -> bytes:
    """A part, or a message within one."""
    if text.isascii():
        return text
    if text.startswith(b"\r\n"):
        header, rest = b"", text
    else:
        end = text.find(b"\r\n\r\n")
        if end < 0:
            return text
        header, rest = text[: end + 2], text[end + 2 :]
        if header_fields(header) is None:
            return text  # readers of MIME differ in where its body begins
    made = made_seven_bit(Entity(header, rest[2:]), level + 1)
    return b"".join((made.header, b"\r\n", made.body))


def _content_type(header: bytes) -> tuple[bytes, bytes | None]:
    """Type and subtype in lower case, b"" = the header says none; and the boundary."""
    found = _TYPE.search(header)
    if found is None:
        return b"", None
    value = _COMMENT.sub(_no_comment, found[1].replace(b"\r\n", b""))
    boundary = _BOUNDARY.search(value)
    kind = value.partition(b";")[0].strip(b" \t").lower()
    if boundary is None:
        return kind, None
    return kind, boundary[2] or _ESCAPED.sub(rb"\1", boundary[1])


def _encoding(header: bytes) -> bytes:
    found = _ENCODING.search(header)
    return b"" if found is None else _COMMENT.sub(_no_comment, found[1].replace(b"\r\n", b"")).strip(b" \t").lower()


def _no_comment(found: re.Match[bytes]) -> bytes:
    return found[1] or b" "


def _relabeled(header: bytes, encoding: bytes) -> bytes:
    """A composite whose parts are 7-bit now."""
    return _ENCODING.sub(b"Content-Transfer-Encoding: 7bit\r\n", header) if encoding else header


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
