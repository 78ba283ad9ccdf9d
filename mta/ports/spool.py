"""The spool as the journal sees it: the first durable copy of events after the store."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from mta.model.entries import Entry

Sourced = tuple[
    str, Entry
]  # a lane ("3", or "rules"), "" for an event of the journal's own, whose id is the whole event id


class Place(NamedTuple):
    """A boundary between two batches of the spool; a later one is greater."""

    segment: int
    offset: int  # bytes


class Batch(NamedTuple):
    """The entries that one append wrote."""

    entries: Sequence[Sourced]
    end: Place


class Damage(NamedTuple):
    """A stretch of the spool that cannot be read."""

    reason: str
    end: Place  # reading goes on here


class Spool(Protocol):
    """A queue of batches on disk for any number of consumers, each with a place of its own.

    Blocking calls, made on one thread; they raise OSError.
    """

    identity: str  # of this spool; another one in its place has another

    @property
    def end(self) -> Place:
        """Behind the newest batch."""
        ...

    @property
    def size(self) -> int:
        """Bytes of all segments."""
        ...

    def is_full(self, part: float = 1.0) -> bool:
        """Its size has reached `part` of `journal.spool_max`."""
        ...

    def append(self, entries: Sequence[Sourced]) -> Place:
        """The new end. Durable on return; with OSError nothing of it is in the spool."""
        ...

    def read(self, start: Place) -> Batch | Damage:
        """The batch or the damage that begins at `start`, which is before the end of the spool."""
        ...

    def last(self, source: str) -> str:
        """The newest entry of that source which was ever appended, "0-0" = none."""
        ...

    def place_of(self, consumer: str) -> Place:
        """Where the consumer was noted last; the oldest batch where nothing is known of it."""
        ...

    def note(self, consumer: str, place: Place) -> None:
        """Everything before `place` is durable at the consumer. After a crash an older place may be known."""
        ...

    def behind(self, start: Place, size: int) -> Place:
        """A boundary that lies at least `size` bytes behind `start`, or the end."""
        ...

    def trim(self, least: Place) -> None:
        """Remove segments that lie before `least` altogether."""
        ...

    def close(self) -> None: ...
