"""The format of a segment: blocks, each with its length and checksum; the first is the segment's head.

A head (JSON) names the newest entry of each source before this segment. Every other block is a batch: entries one
behind the other, each with the lengths of its four parts.
"""

import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from mta.model.entries import Entry
from mta.ports.spool import Sourced

HEAD: Final = b"\xf6FG1"
BATCH: Final = b"\xf6FGb"

_BLOCK: Final = struct.Struct(">4sII")  # kind, bytes that follow, their checksum
_ENTRY: Final = struct.Struct(">BBII")  # lengths: source, id, framed, left_out

_last_decoder = msgspec.json.Decoder(dict[str, str])


class Block(NamedTuple):
    """A block that is whole."""

    kind: bytes
    payload: memoryview
    end: int


def head_block(last: Mapping[str, str]) -> bytes:
    payload = msgspec.json.encode(last)
    return _BLOCK.pack(HEAD, len(payload), zlib.crc32(payload)) + payload


def batch_block(entries: Sequence[Sourced]) -> bytes:
    parts = [b""]
    for source, (entry_id, framed, left_out) in entries:
        lengths = _ENTRY.pack(len(source), len(entry_id), len(framed), len(left_out))
        parts += (lengths, source.encode("ascii"), entry_id.encode("ascii"), framed, left_out)
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    parts[0] = _BLOCK.pack(BATCH, sum(map(len, parts)), checksum)
    return b"".join(parts)


def block_size(data: bytes) -> int:
    """Bytes of the block that begins `data`, as far as its first bytes tell; 0: too few of them."""
    return _BLOCK.size + int(_BLOCK.unpack_from(data)[1]) if len(data) >= _BLOCK.size else 0


def read_block(data: memoryview, at: int) -> Block | None:
    """The block that begins there; None: none that is whole."""
    if len(data) - at < _BLOCK.size:
        return None
    kind, length, checksum = _BLOCK.unpack_from(data, at)
    start = at + _BLOCK.size
    payload = data[start : start + length]
    if kind not in (HEAD, BATCH) or len(payload) < length or zlib.crc32(payload) != checksum:
        return None
    return Block(kind, payload, start + length)


def next_batch(data: memoryview, at: int) -> int:
    """Where the next whole batch begins at or after `at`, -1 = none."""
    raw = bytes(data[at:])
    found = raw.find(BATCH)
    while found >= 0 and read_block(data, at + found) is None:
        found = raw.find(BATCH, found + 1)
    return at + found if found >= 0 else -1


def entries_of(payload: memoryview) -> list[Sourced]:
    """The entries of a batch."""
    found: list[Sourced] = []
    at, end = 0, len(payload)
    while at < end:
        lengths = _ENTRY.unpack_from(payload, at)
        at += _ENTRY.size
        parts = []
        for length in lengths:
            parts.append(bytes(payload[at : at + length]))
            at += length
        source, entry_id, framed, left_out = parts
        found.append((source.decode("ascii"), Entry(entry_id.decode("ascii"), framed, left_out)))
    return found


def last_of(payload: memoryview) -> dict[str, str]:
    """The newest entries that a head names."""
    return _last_decoder.decode(payload)
