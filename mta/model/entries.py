"""An entry of a lane's event stream: the events of one atomic step, each framed by its length."""

import struct
from collections.abc import Iterable
from typing import NamedTuple

_size = struct.Struct(">I").pack
_size_at = struct.Struct(">I").unpack_from


class Entry(NamedTuple):
    """One entry as the stream keeps it. The id of an event is `<lane>.<epoch>.<entry id>.<index>`."""

    id: str  # "<ms>-<seq>"
    framed: bytes
    left_out: bytes = b""  # indices (2 bytes each) of framed events that the step withdrew

    @property
    def events(self) -> tuple[bytes, ...]:
        """Encoded Event structs."""
        return unframed(self.framed, self.left_out)


def framed(events: Iterable[bytes]) -> bytes:
    """The events of one step as the stream keeps them, see append_framed."""
    return b"".join([_size(len(event)) + event for event in events])


def unframed(raw: bytes, left_out: bytes = b"") -> tuple[bytes, ...]:
    """The events of a stream entry except those at the places `left_out`, and none that is empty."""
    found, at, end = [], 0, len(raw)
    while at < end:
        start = at + 4
        at = start + _size_at(raw, at)[0]
        found.append(raw[start:at])
    for place in range(0, len(left_out), 2):
        found[int.from_bytes(left_out[place : place + 2], "big")] = b""
    return tuple(filter(None, found))


def link_entry(entry_id: str) -> Entry:
    """It has no events: the next entry in the spool comes directly behind `entry_id` in the stream. Without an id, that
    is behind the entry before it in the spool."""
    return Entry(entry_id, b"")


def is_link(entry: Entry) -> bool:
    return not entry.framed


def order_of(entry_id: str) -> tuple[int, int]:
    """Entry ids compare by this."""
    ms, _, seq = entry_id.partition("-")
    return int(ms), int(seq or 0)
