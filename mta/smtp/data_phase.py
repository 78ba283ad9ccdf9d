"""The data phase of a transaction: finds the end of data, bounds the octets before it, and decodes the content."""

from mta.smtp import replies
from mta.smtp.transparency import (
    end_of_data,
    has_bare_line_end,
    is_whole_content,
    most_on_the_wire,
    unstuffed,
    with_crlf,
)


class DataPhase:
    """A session has one and calls `begin` for each message. The machine keeps the octets; `start` is the position of
    the CRLF before the content."""

    __slots__ = ("_is_stuffed", "_is_too_large", "_max_size", "_most_on_the_wire", "_scan")

    def __init__(self, max_size: int) -> None:
        """`max_size`: octets of content."""
        self._max_size = max_size
        self._most_on_the_wire = most_on_the_wire(max_size)
        self.begin()

    def begin(self) -> None:
        self._scan = 0  # how far behind `start` the search for the end of data goes on
        self._is_stuffed = False  # a line of the content begins with a dot
        self._is_too_large = False

    def whole_content(self, octets: bytes) -> bytes | None:
        """The content, if these octets follow DATA at once and are all of it with the end of data, and it is as it is
        to be: within its size, without stuffing or a bare CR or LF. None: the octets must be looked at as they come."""
        if len(octets) - 3 > self._max_size or not is_whole_content(octets):
            return None
        content = octets[:-3]
        return None if has_bare_line_end(content) else content

    def find_end(self, octets: bytearray, start: int) -> int:
        """The position at which the end of data begins; -1: it has not come."""
        end, self._is_stuffed = end_of_data(octets, start + self._scan, self._is_stuffed)
        return end

    def keep_bounded(self, octets: bytearray, start: int) -> int:
        """Note how far the search came. Returns the new `start`: of a message that is too large, only the octets that
        may be part of the end of data are kept."""
        size = len(octets)
        if self._is_too_large or size - start > self._most_on_the_wire:
            self._is_too_large = True
            start = max(start, size - 4)
        self._scan = max(start, size - 4) - start
        return start

    def content(self, octets: bytearray, start: int, end: int, normalizes: bool) -> tuple[bytes, bytes | None]:
        """The content before the end of data at `end`, with CRLF line ends and without stuffing; or b"" and the reply
        that refuses it. `normalizes`: bare CR and LF become CRLF instead of being refused."""
        if self._is_too_large:
            return b"", replies.TOO_LARGE
        # With the CRLF before it where unstuffing asks for that.
        raw = bytes(memoryview(octets)[start if self._is_stuffed else start + 2 : end + 2])
        content = unstuffed(raw) if self._is_stuffed else raw
        if len(content) > self._max_size:
            return b"", replies.TOO_LARGE
        if has_bare_line_end(raw):
            if not normalizes:
                return b"", replies.BARE_IN_DATA
            content = with_crlf(raw, self._is_stuffed)
            if len(content) > self._max_size:
                return b"", replies.TOO_LARGE
        return content, None
