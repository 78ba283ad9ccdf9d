"""The relaxed canonical form of header fields and body, over which DKIM signs (RFC 6376 3.4.2, 3.4.4)."""

import re
from collections.abc import Mapping

_FIELD_END = re.compile(rb"\r\n(?![ \t])")
_FIELD_NAME = re.compile(rb"([!-9;-~]+)[ \t]*\Z")
_BLANKS = re.compile(rb"  +")

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


def relaxed_body(body: bytes) -> bytes:
    """Blanks before a line's end and empty lines at the body's end do not count, other blanks count as one space."""
    body = body.replace(b"\t", b" ")
    if b"  " in body:
        body = _BLANKS.sub(b" ", body)
    body = body.replace(b" \r\n", b"\r\n").rstrip(b"\r\n")
    body = body.removesuffix(b" ").rstrip(b"\r\n") if body.endswith(b" ") else body
    return body + b"\r\n" if body else b""
