"""The attachments of messages that are sent."""

import base64
import binascii
import re
from typing import Any, Final

from control_api.schemas.sending_values import CONTROL, an_object, check_names_in
from control_api.schemas.values import Value, a_text
from mta.content.compose import Attachment
from mta.model.errors import BadValue

_MAX_ATTACHMENTS: Final = 100
_MAX_FILENAME: Final = 255
_PIECE: Final = 512 * 1024  # characters
_OF_ATTACHMENT: Final = ("filename", "content_type", "content", "content_id")

_TYPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,60}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,80}", re.ASCII)
_CONTENT_ID: Final = re.compile(r"[!#-;=?A-Z^-~]{1,200}", re.ASCII)


def _read_attachments(value: Any, field: str) -> tuple[Attachment, ...]:
    if not isinstance(value, list) or len(value) > _MAX_ATTACHMENTS:
        raise BadValue(field, f"is not a list of at most {_MAX_ATTACHMENTS} attachments")
    found = tuple(_read_attachment(one, f"{field}[{at}]") for at, one in enumerate(value))
    seen: set[str] = set()
    for at, one in enumerate(found):
        if one.content_id and one.content_id in seen:
            raise BadValue(f"{field}[{at}].content_id", "is that of another attachment, too; give each its own")
        seen.add(one.content_id)
    return found


def _read_attachment(value: Any, field: str) -> Attachment:
    if not isinstance(value, dict):
        raise BadValue(field, "is not an object with filename, content_type and content")
    check_names_in(field, value, _OF_ATTACHMENT, "a field of an attachment")
    filename = value.get("filename") or ""
    if not isinstance(filename, str) or CONTROL.search(filename) or len(filename) > _MAX_FILENAME:
        raise BadValue(f"{field}.filename", f"is not one line of at most {_MAX_FILENAME} characters")
    kind = value.get("content_type") or "application/octet-stream"
    if not isinstance(kind, str) or not _TYPE.fullmatch(kind) or kind.lower().startswith(("multipart/", "message/")):
        raise BadValue(f"{field}.content_type", 'is not the type of a file; give one such as "application/pdf"')
    content_id = value.get("content_id") or ""
    if not isinstance(content_id, str) or (content_id and not _CONTENT_ID.fullmatch(content_id)):
        raise BadValue(f"{field}.content_id", "is not a content id: 1 to 200 printable ASCII characters, no < > [ ]")
    return Attachment(filename, kind.lower(), _read_base64(value.get("content"), f"{field}.content"), content_id)


def _read_base64(value: Any, field: str) -> bytes:
    if not isinstance(value, str):
        raise BadValue(field, "is required; give the octets in base64")
    text = value.replace("\r", "").replace("\n", "") if "\n" in value or "\r" in value else value
    found = bytearray()
    try:
        for at in range(0, len(text), _PIECE):  # in pieces, so that other threads run between them
            piece = text[at : at + _PIECE]
            octets = base64.b64decode(piece, validate=True)
            if at + _PIECE < len(text) and len(octets) != _PIECE // 4 * 3:
                raise ValueError("padding inside")
            found += octets
    except (binascii.Error, ValueError):
        raise BadValue(field, "is not base64 (RFC 4648 4)") from None
    return bytes(found)


_ATTACHMENT_SCHEMA: Final = an_object(
    ("content",),
    filename=a_text("[A-Za-z0-9._-]{0,60}"),
    content_type=a_text("application/[a-z]{1,20}"),
    content=a_text("([A-Za-z0-9+/]{4}){0,20}"),
    content_id=a_text("[A-Za-z0-9._-]{1,60}"),
)

ATTACHMENTS: Final = Value(
    _read_attachments, {"type": "array", "items": _ATTACHMENT_SCHEMA, "maxItems": _MAX_ATTACHMENTS}
)
