"""The outbox as the journal sees it; raises StoreAway, StoreError."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from mta.model.events import Event
from mta.model.rules import Change


class Entry(NamedTuple):
    """One stream entry: the events of one atomic step. Event ids are `<lane>.<entry id>.<index>`."""

    id: str  # "<ms>-<seq>"
    events: tuple[bytes, ...]  # encoded Event structs


class Page(NamedTuple):
    """Entries in order, as many as there was room for."""

    entries: list[Entry]
    more: bool  # that room, not the end of the stream, ended it


class Outbox(Protocol):
    """Event streams, one per lane; each lane has one journal at a time."""

    lanes: int

    async def lease(self, lane: int, journal: str, seconds: float) -> bool:
        """Take or renew the lane; False: another journal has it."""
        ...

    async def release(self, lane: int, journal: str) -> None: ...

    async def position(self, lane: int) -> str:
        """The last entry made durable ("0-0" at first)."""
        ...

    async def read(self, lane: int, after: str, room: int) -> Page:
        """What follows `after`, up to about `room` bytes of events: at least one entry, where there is one."""
        ...

    async def wait(self, positions: Mapping[int, str], seconds: float) -> bool:
        """Whether something follows one of these (lane -> entry); False after that time or less. May be cancelled."""
        ...

    async def done(self, lane: int, journal: str, position: str) -> bool:
        """All up to `position` is durable: note it and trim the stream behind it. False: the lease is lost."""
        ...

    async def drop(self, lane: int, journal: str, keep: int) -> int:
        """Trim to the newest `keep` entries (journal.when_behind = "drop"); how many entries were dropped."""
        ...

    async def backlog(self, lane: int) -> int:
        """Entries not yet journaled."""
        ...

    async def changes(self, after: int, most: int) -> list["RuleChange"]:
        """Changes of the rule table beyond generation `after`."""
        ...

    async def changes_position(self, node: str) -> int: ...

    async def changes_done(self, node: str, generation: int) -> None: ...


class RuleChange(NamedTuple):
    """A change of the rule table as the audit has it."""

    change: Change
    at: int  # Unix ms
    by: str
    unreadable: str = ""  # why nothing but the id of its rule is known here


class EventSink(Protocol):
    """Where the journal makes events durable: the delivery log now, the history database beside it later.

    Blocking calls, made on one thread; `write` may be repeated with the same events after a crash.
    """

    def write(self, events: Iterable[tuple[str, Event]]) -> list[bytes]:
        """(event id, event) in order, gone through once; returns once they are durable, what was new as pieces of the
        log: lines with their ends."""
        ...

    def reopen(self) -> None: ...

    def close(self) -> None: ...


class Tail(Protocol):
    """Live events for watchers, fed by the journal only while somebody watches."""

    async def watched(self) -> bool: ...

    async def feed(self, lines: Sequence[bytes]) -> None:
        """Log lines (JSON objects without line end)."""
        ...

    async def watch(self) -> None:
        """Somebody watches for the next minute."""
        ...

    async def follow(self, after: str, most: int, seconds: float) -> list[tuple[str, bytes]]:
        """(tail id, line) beyond `after` ("$" = from now on), waiting up to `seconds` for the first."""
        ...
