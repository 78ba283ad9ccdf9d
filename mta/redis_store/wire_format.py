"""Commands and answers as bytes: the Redis protocol, version 2."""

from collections.abc import Sequence
from typing import Final

import hiredis
from redis.exceptions import ConnectionError, ResponseError

INCOMPLETE: Final = object()  # what a reader returns while an answer has not come whole


def reader() -> hiredis.Reader:
    return hiredis.Reader(protocolError=ConnectionError, replyError=ResponseError, notEnoughData=INCOMPLETE)


def pack(*commands: Sequence[bytes | str | int | float]) -> bytes:
    """Commands as the server reads them. Joined once: the library's packer lets its buffer grow with each word, which
    takes thirty times as long for messages of 50 KB."""
    parts = []
    for words in commands:
        parts.append(b"*%d\r\n" % len(words))
        for word in words:
            raw = word if isinstance(word, bytes) else str(word).encode()
            parts += (b"$%d\r\n" % len(raw), raw, b"\r\n")
    return b"".join(parts)
