"""The spool: segments of batches, appended to with one write and one sync, removed behind the slowest consumer."""

import fcntl
import logging
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mta.ports.spool import Batch, Damage, Place, Sourced
from mta.spool_files.blocks import (
    BATCH,
    batch_block,
    block_size,
    entries_of,
    head_block,
    last_of,
    next_batch,
    read_block,
)

SEGMENT: Final = 32 * 1024 * 1024  # bytes after which the next segment is begun
_SEGMENTS: Final = 8  # at least, within the limit
_PIECE: Final = 2 * 1024 * 1024  # bytes: more than most batches have

_log = logging.getLogger(__name__)


class FileSpool:
    """Fulfils ports.spool.Spool. One process has a folder; the kernel lets it go with the process."""

    def __init__(self, folder: str, limit: int, segment: int = SEGMENT) -> None:
        """`limit` and `segment` in bytes. Cuts off the batch that a crash left unfinished: nobody was told that it is
        kept, so its entries come again. Raises OSError: the folder cannot be used, or another process has it."""
        self._folder = Path(folder)
        self._limit = limit
        self._segment = min(segment, limit // _SEGMENTS)
        self._last: dict[str, str] = {}
        self._sizes: dict[int, int] = {}  # of each segment, the oldest first
        self._places: dict[str, int] = {}  # consumer -> descriptor
        self._fd = -1  # of the newest segment
        self._torn = False  # the newest segment may hold more than its size says
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._open()
            self.identity = _identity(self._folder)
        except BlockingIOError as error:
            self.close()
            raise OSError(error.errno, "another process has this spool", folder) from error
        except BaseException:
            self.close()
            raise

    @property
    def end(self) -> Place:
        newest = next(reversed(self._sizes))
        return Place(newest, self._sizes[newest])

    @property
    def size(self) -> int:
        return sum(self._sizes.values())

    def is_full(self, part: float = 1.0) -> bool:
        return self.size >= part * self._limit

    def last(self, source: str) -> str:
        return self._last.get(source, "0-0")

    def append(self, entries: Sequence[Sourced]) -> Place:
        data = batch_block(entries)
        number, size = self.end
        if self._torn:
            self._cut(size)
        if size >= self._segment:
            self._begin(number + 1)
            number, size = self.end
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(self._fd, left) :]
            os.fdatasync(self._fd)
        except OSError:
            self._torn = True
            self._cut(size)
            raise
        self._sizes[number] = size + len(data)
        self._last.update((source, entry.id) for source, entry in entries if source)
        return self.end

    def _cut(self, size: int) -> None:
        os.ftruncate(self._fd, size)
        self._torn = False

    def read(self, start: Place) -> Batch | Damage:
        number, offset = start
        while number not in self._sizes or offset == self._sizes[number]:
            if number == self.end.segment:
                return Batch((), self.end)
            following = next(known for known in self._sizes if known > number)
            if following > number + 1 or number not in self._sizes:
                missing = f"{self._path(number + (number in self._sizes)).name} is missing"
                return Damage(missing, self._begin_of(following))
            number, offset = self._begin_of(following)
        data = self._read(number, offset)
        block = read_block(data, 0)
        if block is not None and block.kind == BATCH:
            return Batch(entries_of(block.payload), Place(number, offset + block.end))
        data = memoryview(self._path(number).read_bytes())
        good = next_batch(data, offset)
        end = Place(number, good if good >= 0 else self._sizes[number])
        lost = f"{self._path(number).name}: {abs(end.offset - offset)} bytes from {offset} on cannot be read"
        return Damage(lost, end)

    def place_of(self, consumer: str) -> Place:
        oldest = self._begin_of(next(iter(self._sizes)))
        try:
            words = (self._folder / f"{consumer}.place").read_text("ascii").split()
            noted = Place(int(words[0]), int(words[1]))
        except (FileNotFoundError, ValueError, IndexError):
            return oldest
        return max(oldest, noted) if noted <= self.end else oldest

    def note(self, consumer: str, place: Place) -> None:
        fd = self._places.get(consumer)
        if fd is None:
            path = self._folder / f"{consumer}.place"
            fd = self._places[consumer] = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.pwrite(fd, f"{place.segment} {place.offset}".ljust(39).encode() + b"\n", 0)

    def behind(self, start: Place, size: int) -> Place:
        passed = -start.offset
        for number, length in self._sizes.items():
            if number >= start.segment:
                if passed >= size:
                    return self._begin_of(number)
                passed += length
        return self.end

    def trim(self, least: Place) -> None:
        passed = [number for number in self._sizes if number < least.segment]
        if passed:
            for fd in self._places.values():
                os.fdatasync(fd)  # no place that is known after a crash lies in a segment that is gone
        for number in passed:
            self._path(number).unlink(missing_ok=True)
            del self._sizes[number]

    def close(self) -> None:
        for fd in (self._fd, *self._places.values(), self._lock):
            if fd >= 0:
                os.close(fd)
        self._fd = self._lock = -1
        self._places.clear()

    # Segments

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:012}.spool"

    def _read(self, number: int, offset: int) -> memoryview:
        """At least the block that begins at `offset`, as far as it is there."""
        with self._path(number).open("rb", buffering=0) as file:
            file.seek(offset)
            data = file.read(_PIECE)
            missing = block_size(data) - len(data)
            if missing > 0:
                data += file.read(min(missing, self._sizes[number]))
        return memoryview(data)

    def _begin_of(self, number: int) -> Place:
        """Behind the head."""
        head = read_block(self._read(number, 0), 0)
        return Place(number, head.end if head is not None else 0)

    def _open(self) -> None:
        for unfinished in self._folder.glob("*.new"):
            unfinished.unlink()
        for path in sorted(self._folder.glob("*.spool")):
            self._sizes[int(path.stem)] = path.stat().st_size
        if not self._sizes:
            self._begin(1)
            return
        path = self._path(self.end.segment)
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        data = memoryview(path.read_bytes())
        whole = self._learn(data)
        if whole < len(data):
            _log.warning("%s: an unfinished batch of %d bytes is cut off", path, len(data) - whole)
            self._cut(whole)
            self._sizes[self.end.segment] = whole
        os.fdatasync(self._fd)  # a process that was killed may not have done it
        _sync_folder(self._folder)

    def _learn(self, data: memoryview) -> int:
        """Know the newest entries of the newest segment; where its last whole block ends. Damage before that is left to
        those who read it."""
        head = read_block(data, 0)
        whole = 0
        if head is not None:
            self._last.update(last_of(head.payload))
            whole = head.end
        at = next_batch(data, whole)
        while at >= 0 and (block := read_block(data, at)) is not None:
            self._last.update((source, entry.id) for source, entry in entries_of(block.payload) if source)
            whole = block.end
            at = whole if read_block(data, whole) is not None else next_batch(data, whole)
        return whole

    def _begin(self, number: int) -> None:
        """A segment appears with its head or not at all."""
        path = self._path(number)
        unfinished = path.with_suffix(".new")
        head = head_block(self._last)
        fd = os.open(unfinished, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, head)
            os.fsync(fd)
            unfinished.rename(path)
            _sync_folder(self._folder)
        except BaseException:
            os.close(fd)
            raise
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._torn = fd, False
        self._sizes[number] = len(head)


def _identity(folder: Path) -> str:
    """Random, written once."""
    path = folder / "identity"
    try:
        known = path.read_text("ascii").strip()
    except FileNotFoundError:
        known = ""
    if not known:
        known = secrets.token_hex(8)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        os.write(fd, f"{known}\n".encode())
        os.fsync(fd)
        os.close(fd)
        _sync_folder(folder)
    return known


def _sync_folder(path: Path) -> None:
    """The name of a new file must be as durable as its content."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
