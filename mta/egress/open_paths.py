"""Open paths: to which sites the other workers of a node have open connections, by sending IP."""

import os
import time
from collections.abc import Callable, Iterable
from typing import Final, Self

from mta.egress.shared_marks import OPEN_PATHS, MarkPlace, SharedMarks, place_of

_EVERY: Final = 1.0  # seconds from one time to tell to the next
_HOLDS: Final = 3.0  # seconds for which the others believe it

_Path = tuple[str, ...]


class OpenPaths:
    """Each worker tells its own paths again and again; of several that have the same path the last one to tell it is
    known. So a worker that has a connection itself learns nothing here, and needs nothing."""

    def __init__(
        self, marks: SharedMarks, clock: Callable[[], float] = time.monotonic, worker: int | None = None
    ) -> None:
        """`worker`: a number that tells this worker from the others; None: made of its process id."""
        self._marks = marks
        self._clock = clock
        self._worker = (os.getpid() if worker is None else worker) & 0xFF
        self._told_at = 0.0
        self._places: dict[_Path, MarkPlace] = {}  # of the paths that were told last

    @classmethod
    def alone(cls) -> Self:
        return cls(SharedMarks.alone())

    @classmethod
    def at(cls, descriptor: int) -> Self:
        return cls(SharedMarks.at(descriptor, OPEN_PATHS))

    def tell(self, paths: Iterable[_Path]) -> None:
        """These have open connections of this worker. It does nothing where it has just told."""
        now = self._clock()
        if now - self._told_at < _EVERY:
            return
        self._told_at = now
        known = self._places
        self._places = {path: known.get(path) or place_of(path) for path in paths}
        for place in self._places.values():
            self._marks.set(place, now + _HOLDS, self._worker)

    def opened(self, path: _Path) -> None:
        """The first connection of a path is open."""
        self._marks.set(place_of(path), self._clock() + _HOLDS, self._worker)

    def has(self, path: _Path) -> bool:
        """Whether another worker has a connection there."""
        found = self._marks.get(place_of(path), self._clock())
        return found is not None and found != self._worker
