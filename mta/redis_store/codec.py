"""How records, events and content are written in Redis."""

import functools
from collections.abc import Mapping, Sequence

import msgspec
import zstandard

from mta.model.mail import Record

PIECE = 512 * 1024  # bytes; larger content is kept in pieces, so that no command moves megabytes

# The errors that reading a damaged record or content may raise.
UNREADABLE = (msgspec.DecodeError, ValueError, IndexError, zstandard.ZstdError)

_encoder = msgspec.msgpack.Encoder()
_record_decoder = msgspec.msgpack.Decoder(Record)

encode = _encoder.encode

_SHORT = tuple(bytes((0xD9, size)) for size in range(256))  # heads of strings
_BYTES = tuple(bytes((number,)) for number in range(256))
_NEW = tuple(bytes((0xD9, size, 0)) for size in range(256))  # heads of records whose claim was never lost
_Raw = msgspec.Raw


def lua_text(raw: bytes) -> msgspec.Raw:
    """`raw` as a msgpack string: the library that steps read their arguments with knows no binary type."""
    size = len(raw)
    if size < 256:
        return _Raw(_SHORT[size] + raw)
    if size < 65536:
        return _Raw(b"\xda%b%b" % (size.to_bytes(2, "big"), raw))
    return _Raw(b"\xdb%b%b" % (size.to_bytes(4, "big"), raw))


def lua_texts(raws: Sequence[bytes]) -> msgspec.Raw:
    """A list of such strings."""
    parts = [b"\xdd%b" % len(raws).to_bytes(4, "big")]
    for raw in raws:
        parts += (_SHORT[len(raw)], raw) if len(raw) < 256 else (bytes(lua_text(raw)),)
    return msgspec.Raw(b"".join(parts))


def pairs(known: Mapping[bytes, bytes]) -> list[msgspec.Raw]:
    """Keys and values in turn, as such strings."""
    return [part for pair in known.items() for part in _pair(*pair)]


@functools.lru_cache(maxsize=1024)
def _pair(key: bytes, value: bytes) -> tuple[msgspec.Raw, msgspec.Raw]:
    return lua_text(key), lua_text(value)


def encode_record(record: Record, reclaims: int) -> bytes:
    return _BYTES[reclaims] + encode(record)


def new_record(record: Record) -> msgspec.Raw:
    """As `lua_text` of `encode_record`, of a record whose claim was never lost."""
    raw = _encoder.encode(record)
    size = len(raw) + 1
    return _Raw(_NEW[size] + raw) if size < 256 else lua_text(b"\0" + raw)


def decode_record(raw: bytes) -> tuple[int, Record]:
    """(times its claim was lost, record). Raises UNREADABLE (it is parked then)."""
    return raw[0], _record_decoder.decode(raw[1:])


def encode_content(content: bytes, compress_above: int) -> bytes:
    """Raw or, when that is smaller, zstd."""
    if len(content) > compress_above:
        packed = zstandard.ZstdCompressor(level=3).compress(content)
        if len(packed) < len(content):
            return b"z" + packed
    return b"r" + content


def decode_content(raw: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(raw[1:]) if raw[:1] == b"z" else raw[1:]


def pieces(raw: bytes) -> list[bytes]:
    return [raw[at : at + PIECE] for at in range(0, len(raw), PIECE)]
