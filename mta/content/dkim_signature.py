"""The DKIM-Signature field: the fields that it covers, the digest that is signed, and its text (RFC 6376 3.5, 3.7)."""

import base64
import functools
import hashlib
from collections.abc import Collection
from typing import Final, NamedTuple

from mta.content.canonical_form import HeaderFields, body_digest, relaxed_field

_LINE: Final = 72  # characters of a folded line
_NAME: Final = b"dkim-signature"
# Signed where they stand, in this order, and once more than they stand where `dkim.oversign` names them (RFC 6376
# 5.4.1). Trace fields and those that hosts on the way change are not among them.
SIGNED: Final = (
    b"from", b"sender", b"reply-to", b"to", b"cc", b"subject", b"date", b"message-id", b"in-reply-to", b"references",
    b"mime-version", b"content-type", b"content-transfer-encoding", b"content-id", b"content-description",
    b"resent-from", b"resent-to", b"resent-cc", b"resent-date", b"resent-message-id", b"list-id", b"list-help",
    b"list-unsubscribe", b"list-unsubscribe-post", b"list-subscribe", b"list-post", b"list-owner", b"list-archive",
    b"feedback-id",
)  # fmt: skip


FieldNames = tuple[tuple[bytes, bool], ...]


class Covered(NamedTuple):
    """The part of a message that its signatures cover, alike for each key."""

    names: bytes  # the value of `h=`
    fields: bytes  # in canonical form
    body_hash: bytes  # base64


def names_to_sign(oversigned: Collection[str]) -> FieldNames:
    """Each name in lower case, and whether it is signed once more than it stands there."""
    over = {name.lower().encode(): True for name in oversigned}
    return tuple((name, name in over) for name in dict.fromkeys((*SIGNED, *over)))


def cover(fields: HeaderFields, body: bytes | memoryview, wanted: FieldNames) -> Covered:
    """`wanted` is of `names_to_sign`."""
    names: list[bytes] = []
    parts: list[bytes] = []
    for name, is_over in wanted:
        values = fields.get(name)
        if values is not None:
            for value in reversed(values):  # RFC 6376 5.4.2: from the bottom up
                parts.append(relaxed_field(name, value))
                names.append(name)
        if is_over:
            names.append(name)
    parts.append(b"")
    return Covered(b":".join(names), b"\r\n".join(parts), base64.b64encode(body_digest(body)))


def unsigned_value(covered: Covered, domain: str, selector: str, algorithm: str, at: int) -> bytes:
    """The value of the field with an empty `b=`; `algorithm` as in `a=`, `at` in Unix seconds."""
    names = _folded(covered.names, b":")
    first = f" v=1; a={algorithm}; c=relaxed/relaxed; d={domain};\r\n\ts={selector}; t={at};\r\n\th=".encode()
    return b"".join((first, names, b";\r\n\tbh=", covered.body_hash, b";\r\n\tb="))


def digest_of(covered: Covered, value: bytes) -> bytes:
    """The SHA-256 digest that is signed; `value` is that of the field with an empty `b=`."""
    return hashlib.sha256(covered.fields + relaxed_field(_NAME, value)).digest()


def signature_field(value: bytes, signature: bytes) -> bytes:
    """The whole field with its final CRLF."""
    text = base64.b64encode(signature)
    lines = [text[at : at + _LINE] for at in range(0, len(text), _LINE)]
    return b"".join((b"DKIM-Signature:", value, b"\r\n\t".join(lines), b"\r\n"))


def signing_domains(values: Collection[bytes]) -> set[str]:
    """The domains (`d=`, lower case) of the DKIM-Signature fields that a message has."""
    found = set()
    for value in values:
        for tag in value.replace(b"\r\n", b"").split(b";"):
            name, _, domain = tag.partition(b"=")
            if name.strip() == b"d":
                found.add(domain.strip().decode("ascii", "replace").lower())
    return found


@functools.lru_cache(maxsize=256)
def _folded(text: bytes, at: bytes) -> bytes:
    """`text` in lines that end behind `at`."""
    lines, line = [], b""
    for word in text.split(at):
        if line and len(line) + len(word) > _LINE - 2:
            lines.append(line)
            line = b""
        line += word + at
    lines.append(line[: -len(at)])
    return b"\r\n\t".join(lines)
