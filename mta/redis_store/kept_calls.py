"""Idempotent calls as the store keeps them under their keys.

8 bytes hash of the content, 16 bytes first message id; a call of one message to which the plain answer was given has
nothing else. Else: messages (4 bytes), messages that are done (4), the session that works on it (its length, 1 byte,
before it), the note (2 bytes), and the differences to the end. Its first id holds the time of the call.
"""

import struct
from collections.abc import Sequence
from typing import Any, Final

from mta.model.idempotency import CONTENT_BYTES
from mta.model.ids import MessageId
from mta.ports.idempotency import KeptCall, KnownCalls

_PLAIN: Final = CONTENT_BYTES + 16
_counts = struct.Struct(">II").unpack_from


def known_calls(answer: Sequence[Any]) -> KnownCalls:
    """`answer` is that of the accept step."""
    rows = zip(answer[1::3], answer[2::3], answer[3::3], strict=True)
    return KnownCalls({place: _kept(stands, lives == 1) if stands else None for place, stands, lives in rows})


def _kept(stands: bytes, owner_lives: bool) -> KeptCall:
    content, first = stands[:CONTENT_BYTES], MessageId(stands[CONTENT_BYTES:_PLAIN])
    if len(stands) == _PLAIN:
        return KeptCall(content, first, 1, 1, "", False, b"", b"")
    total, done = _counts(stands, _PLAIN)
    owner_at = _PLAIN + 9
    note_at = owner_at + stands[owner_at - 1] + 2
    rest_at = note_at + int.from_bytes(stands[note_at - 2 : note_at], "big")
    owner = stands[owner_at : note_at - 2].decode()
    return KeptCall(content, first, total, done, owner, owner_lives, stands[note_at:rest_at], stands[rest_at:])
