"""When each message of a flow was accepted and received, as source and sink wrote it down, by its number."""

import array
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

Moments: TypeAlias = "array.array[float]"  # Unix times by message number, 0.0 = never


def read(path: Path) -> Moments:
    """The file is little-endian doubles."""
    moments = array.array("d", path.read_bytes())
    if sys.byteorder == "big":
        moments.byteswap()
    return moments


def between(earlier: Sequence[float], later: Sequence[float]) -> list[float]:
    """Seconds from the one to the other, of the messages that have both.

    Less than nothing where a message was received before its source had read the 250.
    """
    return [after - before for before, after in zip(earlier, later, strict=False) if before and after]


def per_second(moments: Iterable[float], start: float) -> list[int]:
    """How many fell into each second since `start`."""
    seconds = Counter(int(moment - start) for moment in moments if moment >= start)
    return [seconds[second] for second in range(max(seconds, default=-1) + 1)]
