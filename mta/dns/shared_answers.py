"""Shared answers: the answers of DNS that the workers of a node have in common, in memory that they inherit.

The memory is a table of slots. The slot of a question, with up to three behind it, has the answer and its checksum, so
that one that is being written by another worker, or was overwritten in part, reads as absent. A worker that asks DNS
holds a lock on its question meanwhile (fcntl(2)), which the system gives back when the worker dies.
"""

import fcntl
import hashlib
import mmap
import os
import struct
import zlib
from typing import Any, Final, NamedTuple

import msgspec

_SLOTS: Final = 131_072  # a power of two
_SLOT_SIZE: Final = 256  # bytes
LONGEST: Final = 4 * _SLOT_SIZE  # longer answers are not shared
SIZE: Final = _SLOTS * _SLOT_SIZE + LONGEST
_HEAD: Final = struct.Struct("<IId")  # checksum of what follows it, bytes of the answer, until when it holds

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class Question(NamedTuple):
    """A name, and the type of the records that are asked for."""

    name: str
    kind: str


class SharedAnswers:
    """Questions whose slot is the same displace each other's answers: then DNS is asked once more. Times are monotonic
    seconds, the same for all workers."""

    def __init__(self, descriptor: int) -> None:
        """`descriptor`: of the memory that `answers_memory` made. A process has one such object, for good: the end of
        any copy of the descriptor gives all locks of the process back."""
        self._descriptor = descriptor
        self._memory = mmap.mmap(descriptor, SIZE)

    def get(self, question: Question, now: float) -> tuple[float, Any] | None:
        """Until when the answer holds, and the answer; None: it is not known."""
        at = _number(question) % _SLOTS * _SLOT_SIZE
        checksum, length, until = _HEAD.unpack_from(self._memory, at)
        if until <= now or not 0 < length <= LONGEST - _HEAD.size:
            return None
        end = at + _HEAD.size + length
        if zlib.crc32(self._memory[at + 4 : end]) != checksum:
            return None
        name, kind, answer = _decode(self._memory[at + _HEAD.size : end])
        return (until, answer) if (name, kind) == question else None

    def put(self, question: Question, until: float, answer: Any) -> None:
        """The answer holds until then."""
        text = _encode((*question, answer))
        if len(text) > LONGEST - _HEAD.size:
            return
        at = _number(question) % _SLOTS * _SLOT_SIZE
        slot = _HEAD.pack(0, len(text), until) + text
        self._memory[at : at + len(slot)] = struct.pack("<I", zlib.crc32(slot[4:])) + slot[4:]

    def lock(self, question: Question) -> bool:
        """Whether this worker may ask: no other one does. Then `unlock` must follow."""
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _place_of_lock(question))
        except OSError:
            return False
        return True

    def unlock(self, question: Question) -> None:
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, _place_of_lock(question))


def answers_memory() -> int:
    """A descriptor of new memory for answers, which the workers of a node inherit. Slots take room when they are
    used."""
    memory = os.memfd_create("floodgate-dns")
    os.ftruncate(memory, SIZE)
    return memory


def _number(question: Question) -> int:
    digest = hashlib.blake2b("|".join(question).encode("utf-8", "surrogateescape"), digest_size=6).digest()
    return int.from_bytes(digest)


def _place_of_lock(question: Question) -> int:
    """Locks lie behind the table, each at a place of its own."""
    return SIZE + _number(question)
