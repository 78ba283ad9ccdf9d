"""Marks in memory that the workers of a node share: a number of 8 bits for each key, until a time."""

import functools
import hashlib
import mmap
import os
from typing import Final, NamedTuple, Self

_SLOTS: Final = 4096  # a power of two
_SIZE: Final = 8 * _SLOTS  # of one table; a multiple of the size of a page
_REMEMBERED: Final = 16_384  # keys whose places are remembered
_LOW: Final = 0xFFFFFFFF
_LONGEST: Final = 60_000  # ms: a slot that says more was written weeks ago

DEAD_HOSTS: Final = 0  # the places of the tables in the memory
OPEN_PATHS: Final = 1
_TABLES: Final = 2


class MarkPlace(NamedTuple):
    """The number of a key's slot, and its mark there, which is never 0."""

    slot: int
    mark: int


class SharedMarks:
    """A slot is one number, so that it is read and written at once: 24 bits of the key's hash, the number beside it,
    and until when, as the last 32 bits of monotonic milliseconds. Keys whose slot is the same displace each other."""

    def __init__(self, memory: bytearray | mmap.mmap) -> None:
        self._slots = memoryview(memory).cast("Q")

    @classmethod
    def alone(cls) -> Self:
        """In memory of its own."""
        return cls(bytearray(_SIZE))

    @classmethod
    def at(cls, descriptor: int, table: int) -> Self:
        """One of the tables in the memory that `egress_memory` made."""
        return cls(mmap.mmap(descriptor, _SIZE, offset=table * _SIZE))

    def set(self, place: MarkPlace, until: float, number: int = 0) -> None:
        """The mark stands until then (monotonic seconds)."""
        self._slots[place.slot] = (place.mark << 8 | number) << 32 | int(until * 1000) & _LOW

    def get(self, place: MarkPlace, now: float) -> int | None:
        """The number of the mark, None: it does not stand."""
        found = self._slots[place.slot]
        if found >> 40 != place.mark or not 0 < (found - int(now * 1000)) & _LOW <= _LONGEST:
            return None
        return (found >> 32) & 0xFF

    def clear(self) -> None:
        """No mark stands."""
        self._slots.cast("B")[:] = bytes(_SIZE)


@functools.lru_cache(maxsize=_REMEMBERED)
def place_of(key: tuple[object, ...]) -> MarkPlace:
    """The place of the marks of this key."""
    digest = hashlib.blake2b("|".join(map(str, key)).encode(), digest_size=8).digest()
    return MarkPlace(int.from_bytes(digest[:4]) % _SLOTS, int.from_bytes(digest[5:]) | 1)


def egress_memory() -> int:
    """A descriptor of new memory for all tables, which the workers of a node inherit."""
    memory = os.memfd_create("floodgate-egress")
    os.ftruncate(memory, _TABLES * _SIZE)
    return memory
