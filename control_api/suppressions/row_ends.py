"""The ends of rows in a stream of bytes, where a line break in quotes ends none, and rows that cannot be used."""

import enum
from collections.abc import Iterator
from typing import Final

LONGEST: Final = 1024 * 1024  # bytes of a row


class Unusable(enum.Enum):
    """Why a row is left out."""

    TOO_LONG = f"is longer than {LONGEST} bytes"
    OPEN_QUOTE = "has a quote that does not close"


class RowEnds:
    """Keeps what follows the last whole row: little more than LONGEST bytes."""

    def __init__(self, quotes: bool) -> None:
        """`quotes`: a cell in quotes may hold line breaks."""
        self._quotes = quotes
        self._kept = bytearray()
        self._scanned = 0  # bytes of it, up to the beginning of a line
        self._is_open = False  # a quote is open there
        self._is_skipping = False  # up to the end of a line that is too long

    def feed(self, piece: bytes) -> Iterator[bytes | Unusable]:
        """The rows that are whole now, together; an unusable one for a line whose row is left out. Behind that line the
        next row begins, also where it lay within quotes."""
        if self._is_skipping:
            _, end, piece = piece.partition(b"\n")
            if not end:
                return
            self._is_skipping = False
            yield Unusable.TOO_LONG
        self._kept += piece
        yield from self._whole()
        while len(self._kept) > LONGEST:
            if not self._scanned:
                self._kept.clear()
                self._is_skipping = True
                return
            yield from self._without_first_line()

    def finish(self) -> Iterator[bytes | Unusable]:
        """The rest, at the end of the stream."""
        if self._is_skipping:
            yield Unusable.TOO_LONG
        elif self._kept:
            if not self._kept.endswith(b"\n"):
                self._kept += b"\n"
            yield from self._whole()
            while self._kept:
                yield from self._without_first_line()

    def _whole(self) -> Iterator[bytes]:
        kept, at, end = self._kept, self._scanned, 0
        while (line_end := kept.find(b"\n", at)) >= 0:
            if self._quotes and kept.count(b'"', at, line_end) % 2:
                self._is_open = not self._is_open
            at = line_end + 1
            if not self._is_open:
                end = at
        self._scanned = at - end
        if end:
            yield bytes(kept[:end])
            del kept[:end]

    def _without_first_line(self) -> Iterator[bytes | Unusable]:
        """The first line opens a quote that does not close: what follows it is looked at anew."""
        yield Unusable.OPEN_QUOTE
        del self._kept[: self._kept.index(b"\n") + 1]
        self._scanned, self._is_open = 0, False
        yield from self._whole()
