"""The outbox as the journal sees it, and the live tail that the journal feeds; they raise StoreAway, StoreError."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from mta.model.entries import Entry
from mta.model.entry_events import RULES_SOURCE
from mta.model.events import Event

RULES_LANE: Final = -1  # the events of the rule table: one more lane


def name_of(lane: int) -> str:
    return RULES_SOURCE if lane == RULES_LANE else str(lane)


def source_of(lane: int, epoch: int) -> str:
    """A stream as a spool names it, and the beginning of the ids of its events."""
    return f"{name_of(lane)}.{epoch}"


class Page(NamedTuple):
    """Entries in order, as many as there was room for."""

    entries: list[Entry]
    more: bool  # that room, not the end of the stream, ended it


class StreamEnd(NamedTuple):
    """The state of a lane's stream."""

    epoch: int  # rises when the stream lost what had been read; from 1
    last: str  # its newest entry, also when that was trimmed; "0-0" = it never had one
    added: int  # entries up to the position asked about that it ever had
    born: str  # the same as long as the store is not emptied; "" = it was emptied and is not prepared yet


class JournalState(NamedTuple):
    """The figures of one journal process, as it told them last."""

    node: str
    pid: int
    told_at: int  # Unix ms
    metrics: Mapping[str, float]


class Outbox(Protocol):
    """Event streams, one per lane and RULES_LANE; each of them has one journal at a time."""

    lanes: int  # without RULES_LANE

    async def lease(self, lane: int, journal: str, seconds: float) -> bool:
        """Take or renew the lane; False: another journal has it."""
        ...

    async def release(self, lane: int, journal: str) -> None: ...

    async def position(self, lane: int) -> str:
        """The last entry that is in the spool of some journal ("0-0" at first)."""
        ...

    async def end(self, lane: int, position: str) -> StreamEnd:
        """The end of the lane's stream, counted at `position`."""
        ...

    async def raise_epoch(self, lane: int, epoch: int) -> int:
        """Raise the lane's epoch above `epoch`, once; the epoch now."""
        ...

    async def has(self, lane: int, entry: str) -> bool:
        """Whether the entry still stands in the lane's stream."""
        ...

    async def read(self, lane: int, after: str, room: int) -> Page:
        """The entries behind `after`, up to about `room` bytes of events: at least one entry, where there is one."""
        ...

    async def wait(self, positions: Mapping[int, str], seconds: float) -> bool:
        """Whether something follows one of these (lane -> entry); False after that time or less. May be cancelled."""
        ...

    async def done(self, lane: int, journal: str, position: str) -> bool:
        """All up to `position` is durable: note it and trim the stream behind it (that of RULES_LANE later: other nodes
        copy it). False: the lease is lost."""
        ...

    async def drop(self, lane: int, journal: str, keep: int) -> int:
        """Trim to the newest `keep` entries (journal.when_behind = "drop"); how many entries were dropped."""
        ...

    async def backlog(self, lane: int) -> int:
        """Entries that no journal has taken yet."""
        ...

    async def copied(self, node: str) -> str:
        """The last entry of RULES_LANE that is in that node's spool ("0-0" at first)."""
        ...

    async def note_copied(self, node: str, position: str) -> None: ...

    async def tell(self, state: JournalState) -> None:
        """Replace the figures that this node's journal told before."""
        ...


class Journals(Protocol):
    """The journals of the cluster, as somebody sees them who renders their figures."""

    async def journals(self) -> list[JournalState]: ...


class Tail(Protocol):
    """Live events for watchers, fed by the journal only while somebody watches."""

    async def watched(self) -> bool: ...

    async def feed(self, events: Sequence[tuple[str, Event]]) -> None:
        """(event id, event) in order; watchers see them as lines of the log."""
        ...
