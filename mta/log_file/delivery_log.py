"""The delivery log: a file of JSON lines, each batch one write and one sync, reopened when it was moved."""

import fcntl
import os
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from mta.model.events import Event

_TAIL = 32 * 1024 * 1024  # bytes; more than what can have been written after the last noted position
_PIECE = 100  # lines made at once: of more, what they are made from would ask the kernel for pages each time
_EVENT = re.compile(rb'^\{"v":\d+,"time":"[^"]*","event":"([^"]+)"', re.MULTILINE)


class DeliveryLog:
    """Fulfils ports.journal.EventSink. One process writes a file; what fails (OSError) leaves no half line behind."""

    def __init__(self, path: str, lines: Callable[[Iterable[tuple[str, Event]]], bytes]) -> None:
        """`lines` makes the JSON objects of events, each with its line end. Raises OSError: the file cannot be
        written."""
        self._path = path
        self._lines = lines
        self._fd = -1
        self._written: set[str] = set()  # at the end of the file when it was opened first
        self._fresh = 0
        self._open()
        self._written = self._known_events()

    def write(self, events: Iterable[tuple[str, Event]]) -> list[bytes]:
        """Append what the file does not have yet; durable on return. Raises OSError: nothing of it is in the file."""
        if self._fd < 0 or self._was_moved():
            self.reopen()
        new, pieces = iter(events), list[bytes]()
        if self._written:
            new = self._not_written(new)
        while piece := self._lines(islice(new, _PIECE)):
            pieces.append(piece)
        if pieces:
            self._append(b"".join(pieces))
        return pieces

    def _not_written(self, events: Iterable[tuple[str, Event]]) -> Iterator[tuple[str, Event]]:
        """After a crash the same events come once more, right at the start."""
        for item in events:
            if item[0] not in self._written:
                self._fresh += 1
                yield item
        if self._fresh > 100_000:
            self._written = set()

    def reopen(self) -> None:
        self.close()
        self._open()

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _append(self, data: bytes) -> None:
        fd = self._fd
        before = os.fstat(fd).st_size
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(fd, left) :]
            os.fdatasync(fd)
        except OSError:
            try:
                os.ftruncate(fd, before)
            finally:
                self.close()  # opening it again repairs what truncating could not
            raise

    def _was_moved(self) -> bool:
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return True
        return not os.path.samestat(there, os.fstat(self._fd))

    def _open(self) -> None:
        directory = os.path.dirname(self._path) or "."
        os.makedirs(directory, mode=0o750, exist_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _repair(fd)
            os.fdatasync(fd)
            _sync_directory(directory)
        except BlockingIOError as error:
            os.close(fd)
            raise OSError(
                error.errno, "another process writes this log; give it its own journal.log_path", self._path
            ) from error
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    def _known_events(self) -> set[str]:
        size = os.fstat(self._fd).st_size
        tail = os.pread(self._fd, _TAIL, max(0, size - _TAIL))
        return {found.decode("utf-8", "replace") for found in _EVENT.findall(tail)}


def _repair(fd: int) -> None:
    """Cut off a line that a crash left unfinished: it was not durable, so its event comes again."""
    end = size = os.fstat(fd).st_size
    while end > 0:
        start = max(0, end - 65536)
        found = os.pread(fd, end - start, start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end < size:
        os.ftruncate(fd, end)


def _sync_directory(path: str) -> None:
    """A new file's name must be as durable as what is written to it."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
