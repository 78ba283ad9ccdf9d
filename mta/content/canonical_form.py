"""The relaxed canonical form of header fields and body, over which DKIM signs (RFC 6376 3.4.2, 3.4.4)."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Final

_FIELD_END = re.compile(rb"\r\n(?![ \t])")
_FIELD_NAME = re.compile(rb"([!-9;-~]+)[ \t]*\Z")
_BLANKS = re.compile(rb"  +")
_PIECE: Final = 256 * 1024
_NOTHING: Final = hashlib.sha256().digest()

HeaderFields = Mapping[bytes, list[bytes]]  # name in lower case -> the values of its fields as written, from the top


def header_fields(block: bytes) -> HeaderFields | None:
    """The fields of a header block. None: it has a line that is no field, so verifiers differ in how they read it."""
    found: dict[bytes, list[bytes]] = {}
    for line in _FIELD_END.split(block):
        if not line:
            continue
        written, colon, value = line.partition(b":")
        name = _FIELD_NAME.match(written)
        if name is None or not colon:
            return None
        found.setdefault(name[1].lower(), []).append(value)
    return found


def relaxed_field(name: bytes, value: bytes) -> bytes:
    """`name` in lower case, `value` with its folding; without the final CRLF."""
    value = value.replace(b"\r\n", b"").replace(b"\t", b" ")
    if b"  " in value:
        value = _BLANKS.sub(b" ", value)
    return name + b":" + value.strip(b" ")


def relaxed_lines(lines: bytes) -> bytes:
    """Whole lines of a body: blanks at the end of a line do not count, other blanks count as one space."""
    lines = lines.replace(b"\t", b" ")
    if b"  " in lines:
        lines = _BLANKS.sub(b" ", lines)
    return lines.replace(b" \r\n", b"\r\n")


def body_digest(body: bytes | memoryview) -> bytes:
    """The SHA-256 digest of the relaxed form of a body whose last line has its end: empty lines at the end of the body
    do not count either. The body is worked through in pieces, so that other threads get their turns."""
    hasher, ends = hashlib.sha256(), 0  # `ends`: line ends that count if something follows
    for piece in _pieces(body):
        lines = relaxed_lines(piece)
        text = lines.rstrip(b"\r\n")
        if text:
            hasher.update(b"\r\n" * ends)
            hasher.update(text)
            ends = 0
        ends += (len(lines) - len(text)) // 2
    if hasher.digest() != _NOTHING:
        hasher.update(b"\r\n")
    return hasher.digest()


def _pieces(body: bytes | memoryview) -> Iterator[bytes]:
    """Whole lines, some hundred kilobytes of them."""
    at, size = 0, len(body)
    while at < size:
        piece = bytes(body[at : at + _PIECE])
        end = len(piece) if at + _PIECE >= size else piece.rfind(b"\r\n") + 2
        if end < 2:  # a line longer than a piece
            piece = bytes(body[at:])
            end = piece.find(b"\r\n", _PIECE - 1) + 2
            end = len(piece) if end < 2 else end
        yield piece[:end]
        at += end
