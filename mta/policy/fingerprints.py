"""A set of 64-bit fingerprints in sorted arrays: a million takes 8 MB, and adding one moves a few kilobytes."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

SIZE: Final = 8  # bytes of a fingerprint
_SHARDS: Final = 256  # by the lowest byte


def fingerprint(name: bytes) -> int:
    """The same in every process."""
    return int.from_bytes(blake2b(name, digest_size=SIZE).digest(), "big")


def packed(prints: Iterable[int]) -> bytes:
    return b"".join([one.to_bytes(SIZE, "big") for one in prints])


def unpacked(raw: bytes) -> list[int]:
    return [int.from_bytes(raw[at : at + SIZE], "big") for at in range(0, len(raw), SIZE)]


class Fingerprints:
    """A name whose fingerprint is not in it was never added; one whose fingerprint is in it probably was."""

    __slots__ = ("_shards",)

    def __init__(self) -> None:
        self._shards = [array("Q") for _ in range(_SHARDS)]

    def __len__(self) -> int:
        return sum(map(len, self._shards))

    def __contains__(self, one: int) -> bool:
        shard = self._shards[one & 255]
        at = bisect_left(shard, one)
        return at < len(shard) and shard[at] == one

    def add(self, prints: Iterable[int]) -> None:
        for one in prints:
            shard = self._shards[one & 255]
            at = bisect_left(shard, one)
            if at == len(shard) or shard[at] != one:
                shard.insert(at, one)
