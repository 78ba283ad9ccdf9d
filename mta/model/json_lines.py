"""Structs as lines of JSON, in which each character is visible and none but the line end ends a line."""

from collections.abc import Sequence
from typing import Any

import msgspec
import orjson

from mta.model.text import visible

_encode = msgspec.json.Encoder().encode_lines


def json_lines(records: Sequence[Any]) -> bytes:
    """One object a line, each with its line end. Characters that are not printable are escaped visibly."""
    try:
        encoded = _encode(records)
    except UnicodeEncodeError:  # a lone surrogate
        return b"".join([_escaped(record) for record in records])
    if _is_plain(encoded):
        return encoded
    each = zip(records, encoded.splitlines(keepends=True), strict=True)
    return b"".join([line if _is_plain(line) else _escaped(record) for record, line in each])


def _is_plain(encoded: bytes) -> bool:
    """JSON escapes dangerous characters, other than DEL and those beyond ASCII. Without these no character has to be
    made visible."""
    return encoded.isascii() and b"\\" not in encoded and b"\x7f" not in encoded


def _escaped(record: Any) -> bytes:
    return orjson.dumps(_visible(msgspec.to_builtins(record)), option=orjson.OPT_APPEND_NEWLINE)


def _visible(value: Any) -> Any:
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {visible(key): _visible(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_visible(item) for item in value]
    return value
