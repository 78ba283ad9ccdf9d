"""Instants: a Unix time for each message number, in a file of 8-byte little-endian doubles; 0.0 = never."""

import array
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path


def write_instants(path: Path, instants: "array.array[float]") -> None:
    """Writes them over whatever the file held."""
    path.write_bytes(_little_endian(instants).tobytes())


def read_instants(path: Path) -> "array.array[float]":
    """The instants of a file; the index of an entry is the number of its message."""
    return _little_endian(array.array("d", path.read_bytes()))


def between(earlier: Sequence[float], later: Sequence[float]) -> list[float]:
    """Seconds from the one to the other, of the messages that have both.

    Less than nothing where a message was received before its source had read the 250.
    """
    return [after - before for before, after in zip(earlier, later, strict=False) if before and after]


def per_second(instants: Iterable[float], start: float) -> list[int]:
    """How many fell into each second since `start`."""
    seconds = Counter(int(instant - start) for instant in instants if instant >= start)
    return [seconds[second] for second in range(max(seconds, default=-1) + 1)]


def _little_endian(instants: "array.array[float]") -> "array.array[float]":
    if sys.byteorder == "little":
        return instants
    turned = instants[:]
    turned.byteswap()
    return turned
