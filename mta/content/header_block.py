"""The header block of a message and the fields that are taken out of it, byte for byte.

The block is what comes before the first empty line; a message without one is all block. Lines in it that are no
header fields (no colon, mbox's `From `) stay where they are, as does everything that is not taken out. The only line
ends in it are CRLF: the machine that received it saw to that.
"""

import functools
import re
from typing import NamedTuple


class Field(NamedTuple):
    """A field that was taken out: its name as written, its value with the folding."""

    name: bytes
    value: bytes


def header_end(content: bytes) -> int:
    """The length of the header block, with the CRLF of its last line."""
    if content.startswith(b"\r\n"):
        return 0
    end = content.find(b"\r\n\r\n")
    return len(content) if end < 0 else end + 2


def count_received(block: bytes) -> int:
    """How many trace headers the block has (RFC 5321 6.3)."""
    lowered = block.lower()
    return lowered.count(b"\nreceived:") + lowered.startswith(b"received:")


def take_fields(content: bytes, end: int, prefixes: tuple[str, ...]) -> tuple[bytes, list[Field]]:
    """Content without the fields of its header block (the first `end` octets) whose names begin with one of
    `prefixes` (lower case), and these fields in order."""
    block = content[:end]
    lowered = b"\n" + block.lower()
    fields: list[Field] = []
    kept: list[bytes] = []
    position = 0
    for found in _pattern(prefixes).finditer(lowered):
        start, value, stop = found.start(1) - 1, found.end(2) - 1, found.end() - 1  # in the block
        fields.append(Field(block[start : found.end(1) - 1], block[value:stop]))
        if start > position:
            kept.append(block[position:start])
        position = stop + 2
    if not fields:
        return content, fields
    kept.append(content[position:])
    return b"".join(kept), fields


@functools.lru_cache(maxsize=16)
def _pattern(prefixes: tuple[str, ...]) -> re.Pattern[bytes]:
    """Of a block in lower case with a line end before it: it looks for fixed octets, where `^` would try each line."""
    names = b"|".join(re.escape(prefix.encode()) for prefix in prefixes) or rb"(?!)"
    return re.compile(rb"\n((?:" + names + rb")[^\r\n:]*?)([ \t]*:)[^\r\n]*(?:\r\n[ \t][^\r\n]*)*")
