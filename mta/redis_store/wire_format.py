"""Commands and answers as bytes: the Redis protocol, version 2."""

from collections.abc import Sequence
from typing import Final

import hiredis
from redis.exceptions import ConnectionError, ResponseError

INCOMPLETE: Final = object()  # a reader returns it while an answer has not come whole

_LENGTHS: Final = tuple(b"\r\n$%d\r\n" % size for size in range(256))  # of short words, with the end of the line before


def reader() -> hiredis.Reader:
    return hiredis.Reader(protocolError=ConnectionError, replyError=ResponseError, notEnoughData=INCOMPLETE)


def pack(*commands: Sequence[bytes | str | int | float]) -> bytes:
    """Commands as the server reads them. Joined once: the library's packer lets its buffer grow with each word, which
    takes thirty times as long for messages of 50 KB."""
    parts = []
    for words in commands:
        parts.append(b"*%d" % len(words))
        for word in words:
            raw = word if word.__class__ is bytes else str(word).encode()
            size = len(raw)
            parts.append(_LENGTHS[size] if size < 256 else b"\r\n$%d\r\n" % size)
            parts.append(raw)
        parts.append(b"\r\n")
    return b"".join(parts)
