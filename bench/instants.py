"""Instants: a Unix time for each message number, in a file of 8-byte little-endian doubles; 0.0 = never."""

import array
import sys
from pathlib import Path


def write_instants(path: Path, instants: "array.array[float]") -> None:
    """Writes them over whatever the file held."""
    path.write_bytes(_little_endian(instants).tobytes())


def read_instants(path: Path) -> "array.array[float]":
    """What was written; the entry at an index is of the message with that number."""
    return _little_endian(array.array("d", path.read_bytes()))


def _little_endian(instants: "array.array[float]") -> "array.array[float]":
    if sys.byteorder == "little":
        return instants
    turned = instants[:]
    turned.byteswap()
    return turned
