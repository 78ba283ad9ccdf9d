"""The header block of a message and the fields that are taken out of it, byte for byte.

The block ends before the first empty line; a message without an empty line is all block. If the first remaining line
is no header field (text, a continued line of no field, mbox's `From `), the message has no header: all of it is text.
It gets an empty line before it, so that a field prepended to the message does not continue in it. Later lines that are
no header fields stay where they are. Fields behind such a line are reported apart, since they may have been meant as
text. The only line ends are CRLF; the SMTP machine that received the message saw to that.
"""

import functools
import re
from typing import NamedTuple


class Field(NamedTuple):
    """A field that was taken out: its name as written, its value with the folding."""

    name: bytes
    value: bytes


MAX_FIELDS = 128  # that are taken out of one message: with more of them it is refused
MAX_FOLDS = 2048  # of one field: a longer one is cut there, and refused for its length

# Repeats are bounded: the matcher keeps a note of each, a gigabyte of them where a message is made for it.
_VALUE = rb"[^\r\n]*(?:\r\n[ \t][^\r\n]*){0,%d}" % MAX_FOLDS
_begins_a_field = re.compile(rb"[!-9;-~]+[ \t]*:").match
_no_field = re.compile(rb"\n(?![!-9;-~]++[ \t]*+:|[ \t])").search
_split_at_received = re.compile(rb"\n(?i:received):").split
_fields = re.compile(rb"([^\r\n:]*):(" + _VALUE + rb")").findall


def take_header(content: bytes, prefixes: tuple[str, ...]) -> tuple[bytes, bytes, int, bytes]:
    """Four things: the header block without the fields whose names begin with one of `prefixes` (lower case); the lines
    of these fields; where in `content` the rest of the message begins; and those of the lines that stand behind a line
    that is no header field. For a message without a header the first is the empty line that must precede its text."""
    end = header_end(content)
    parts = _split(content[:end], prefixes)
    block, taken = _put_together(parts)
    if not block or _begins_a_field(block):
        return block, taken, end, _behind_no_field(parts)
    # No header: only fields before the first line of the text were meant as such.
    found = _leading(prefixes).match(b"\n" + content[:end])
    taken = found[0][1:] if found is not None else b""
    return b"\r\n", taken, len(taken) + taken.endswith(b"\r"), b""


def header_end(content: bytes) -> int:
    """The length of the header block, with the CRLF of its last line."""
    if content.startswith(b"\r\n"):
        return 0
    end = content.find(b"\r\n\r\n")
    return len(content) if end < 0 else end + 2


def has_received(block: bytes, count: int) -> bool:
    """Whether the block has so many trace headers (RFC 5321 6.3)."""
    return len(_split_at_received(b"\n" + block, maxsplit=count)) > count


def take_fields(block: bytes, prefixes: tuple[str, ...]) -> tuple[bytes, bytes]:
    """A header block without the fields whose names begin with one of `prefixes` (lower case), and the lines of these
    fields in order, b"" = there are none; the first MAX_FIELDS + 1 of them where there are more."""
    return _put_together(_split(block, prefixes))


def split_fields(lines: bytes) -> list[Field]:
    """The fields in the lines that were taken out."""
    return [Field(name.rstrip(b" \t"), value) for name, value in _fields(lines)]


def _split(block: bytes, prefixes: tuple[str, ...]) -> list[bytes]:
    """In turns: the lines that stay, each with the LF before it and without the LF behind it, and a field."""
    return _pattern(prefixes).split(b"\n" + block, MAX_FIELDS + 1)


def _put_together(parts: list[bytes]) -> tuple[bytes, bytes]:
    return b"".join(parts[::2])[1:], b"\n".join(parts[1::2])


def _behind_no_field(parts: list[bytes]) -> bytes:
    """The fields that are taken out from behind the first line that is neither a field nor the fold of one."""
    if not _no_field(b"".join(parts[:-1:2])):
        return b""
    first = next(place for place in range(0, len(parts), 2) if _no_field(parts[place]))
    return b"\n".join(parts[first + 1 :: 2])


@functools.lru_cache(maxsize=16)
def _pattern(prefixes: tuple[str, ...]) -> re.Pattern[bytes]:
    """Of a field, from the LF before it to its last CR: it looks for fixed octets, where `^` would try each line."""
    return re.compile(rb"\n(" + _field(prefixes) + rb")")


@functools.lru_cache(maxsize=16)
def _leading(prefixes: tuple[str, ...]) -> re.Pattern[bytes]:
    """Of all fields at the beginning, each as in `_pattern`."""
    return re.compile(rb"(?:\n" + _field(prefixes) + rb"){1,%d}" % (MAX_FIELDS + 1))


def _field(prefixes: tuple[str, ...]) -> bytes:
    names = b"|".join(re.escape(prefix.encode()) for prefix in prefixes) or rb"(?!)"
    return rb"(?i:" + names + rb")[^\r\n:]*:" + _VALUE + rb"\r"
