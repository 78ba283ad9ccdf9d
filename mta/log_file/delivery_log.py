"""The delivery log: a file of JSON lines, each batch one write, synced now and then, reopened when it was moved."""

import errno
import fcntl
import os
import re
from collections.abc import Callable, Sequence

from mta.ports.event_sinks import Item

_TAIL = 32 * 1024 * 1024  # bytes; more than what can have been written after the last noted place (journal.fan_out)
_FRESH = 100_000  # new events after which none comes again that the file has
_EVENT = re.compile(rb'^\{"v":\d+,"time":"[^"]*","event":"([^"]+)"', re.MULTILINE)


class DeliveryLog:
    """Fulfils ports.event_sinks.EventSink. One process writes a file; a write that fails (OSError) leaves no half
    line."""

    def __init__(self, path: str, lines: Callable[[Sequence[Item]], bytes]) -> None:
        """`lines` makes the JSON objects of events, each with its line end. Raises OSError: the file cannot be
        written."""
        self._path = path
        self._lines = lines
        self._fd = -1
        self._synced = 0  # size of the file when it was synced last
        self._unsynced = False  # something was written since
        self._known: set[str] | None = None  # events at the end of the file, while some may come again
        self._fresh = 0
        self._added: list[bytes] = []
        self._new: list[str] = []  # events of these lines, while some may come again
        self._open()
        self._learn()

    def add(self, events: Sequence[Item]) -> None:
        """Make the lines of those that the file does not have yet."""
        self._ensure_open()
        if self._known is not None:
            events = self._not_known(events)
        if events:
            self._added.append(self._lines(events))

    def write(self) -> None:
        added, new = self._added, self._new
        self._added, self._new = [], []
        self._ensure_open()
        if self._was_moved():
            self.reopen()
        if added:
            self._append(b"".join(added))
            self._unsynced = True
            self._remember(new)

    def sync(self) -> None:
        if not self._unsynced:
            return
        self._unsynced = False  # with an error it all comes again
        if self._fd < 0:
            raise OSError(errno.EIO, "it was closed before it was synced", self._path)
        try:
            os.fdatasync(self._fd)
            self._synced = os.fstat(self._fd).st_size
        except OSError:
            try:
                os.ftruncate(self._fd, self._synced)
            finally:
                self.close()
            raise

    def reopen(self) -> None:
        self.sync()
        self.close()
        self._open()

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _ensure_open(self) -> None:
        """A file that had to be closed is opened again, and what it has is looked at again."""
        if self._fd < 0:
            self._open()
            self._learn()

    def _not_known(self, events: Sequence[Item]) -> list[Item]:
        """After a crash the same events come once more, right at the start."""
        known = self._known
        assert known is not None
        new = [item for item in events if item[0] not in known]
        self._new += [event_id for event_id, _ in new]
        return new

    def _remember(self, new: Sequence[str]) -> None:
        """These are in the file now."""
        if self._known is not None:
            self._known.update(new)
            self._fresh += len(new)
            if self._fresh > _FRESH:
                self._known = None

    def _append(self, data: bytes) -> None:
        before = os.fstat(self._fd).st_size
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(self._fd, left) :]
        except OSError:
            try:
                os.ftruncate(self._fd, before)
            except OSError:
                self.close()  # opening it again repairs what truncating could not
            raise

    def _learn(self) -> None:
        """Know the events at the end of the file."""
        size = os.fstat(self._fd).st_size
        tail = os.pread(self._fd, _TAIL, max(0, size - _TAIL))
        self._known = {found.decode("utf-8", "replace") for found in _EVENT.findall(tail)}
        self._fresh = 0

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
        self._synced = os.fstat(fd).st_size


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
