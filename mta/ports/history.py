"""History as its readers see it: the newest record of every delivery, every event in order, and counts by hour.

The journal writes history in rounds. A round gets the next number, and its events get places in it, counted from 0; so
(round, place) orders all events, and nothing is ever put in before what a reader has seen. A delivery has the number of
the round and the place in which history first heard of it. Lists go from the newest of these to the oldest.

Every call raises HistoryOff, HistoryElsewhere or HistoryAway (mta.model.errors). A method that waits for a database
does not hold the caller's loop.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from mta.model.events import Event, EventType
from mta.model.ids import DeliveryId, MessageId
from mta.model.status import DeliveryRow, Status
from mta.ports.audit import NotedEvent
from mta.ports.tag_counters import TagCounters

MOST_ROWS: Final = 10_000  # of one page
MOST_LOOKED_AT: Final = 200_000  # rows after which a page ends although it is shorter than its limit
LONGEST_LOOK: Final = 0.25  # seconds of reading after which it ends, too


class Cursor(NamedTuple):
    """An event's position in history; a later event has a greater one."""

    batch: int  # number of the round, from 1
    place: int  # in that round, from 0


BEGINNING: Final = Cursor(0, 0)


class RowFilter(msgspec.Struct, frozen=True, kw_only=True):
    """All given conditions must hold; times are Unix milliseconds."""

    tag: str | None = None
    tenant: str | None = None
    recipient: str | None = None  # compared without case
    sender: str | None = None  # compared without case; "" is the null sender
    domain: str | None = None
    pool: str | None = None  # that it was accepted in
    site: str | None = None  # the newest site of its domain
    statuses: frozenset[Status] = frozenset()  # empty: any
    rule: str | None = None  # that the newest event names
    category: str | None = None
    uncertain: bool | None = None
    accepted_from: int | None = None  # at or after
    accepted_until: int | None = None  # before


class RowPage(NamedTuple):
    """Rows from the newest to the oldest."""

    rows: Sequence[DeliveryRow]
    cursor: str  # for the next page; "" = the end
    as_of: int  # Unix ms: every event that the store took before this time is in the answer


class KeptEvent(NamedTuple):
    """An event as history keeps it."""

    at: Cursor
    event_id: str
    event: Event


class EventPage(NamedTuple):
    """Events in order."""

    events: Sequence[KeptEvent]
    next: Cursor  # goes on behind the page
    at_end: bool  # nothing follows yet
    missing: int = 0  # events among these that were dropped with their day


class Behind(NamedTuple):
    """Events behind a cursor."""

    events: int
    oldest: int  # Unix ms at which the first of their rounds was written, 0 = there is none


class HourCount(NamedTuple):
    """How often something happened; a dimension that was not asked for is ""."""

    begins: int  # Unix ms
    pool: str
    domain: str
    tenant: str
    category: str
    kind: str  # the type of the event, as in the log
    many: int
    site: str = ""  # the newest one of its domain; "" = it is not known


class MissingEvents(NamedTuple):
    """A gap: history lacks the events of a lane between two stream entries."""

    lane: str
    after: str
    until: str
    reason: str
    noted_at: int  # Unix ms


class Coverage(NamedTuple):
    """The extent of history; times are Unix milliseconds, 0 = nothing is there yet."""

    begun_at: int
    oldest: int  # the oldest day that is kept begins then
    as_of: int  # every event that the store took before this time is there
    head: int  # the number of the newest round
    gaps: Sequence[MissingEvents]


class History(Protocol):
    """Reading history. Rows of deliveries are those of the newest round, or newer."""

    async def coverage(self) -> Coverage: ...

    async def rows(self, wanted: RowFilter, limit: int, cursor: str = "") -> RowPage:
        """At most `limit` rows (and MOST_ROWS) behind the cursor. Rows that appear while a reader goes on are not
        in the later pages: each page is of the deliveries that were known to the first one. Raises BadValue: `cursor`
        is none."""
        ...

    async def row(self, delivery: DeliveryId) -> DeliveryRow | None:
        """None: history does not know it."""
        ...

    async def message(self, message: MessageId) -> list[DeliveryRow]:
        """The rows of a message's deliveries, by number; [] = history does not know it."""
        ...

    async def events_of(self, message: MessageId) -> list[KeptEvent]:
        """Every event of the message's deliveries, in order; Event.id tells which delivery one belongs to."""
        ...

    async def events(self, after: Cursor, most: int, without: Collection[EventType] = ()) -> EventPage:
        """At most `most` events at `after` or behind it; those of some types are passed over, which costs little."""
        ...

    async def events_at(self, places: Sequence[Cursor]) -> dict[Cursor, KeptEvent]:
        """These events; one that is not there any more is left out."""
        ...

    async def behind(self, after: Cursor) -> Behind:
        """The extent of what is at `after` or behind it, to the round."""
        ...

    async def newest(self) -> Cursor:
        """Where the next event will be."""
        ...

    async def at(self, time: int) -> Cursor:
        """Behind the events of all rounds that were written before `time` (Unix ms)."""
        ...

    async def counts(
        self, by: Sequence[str], interval: int, from_: int, until: int, tenant: str | None = None
    ) -> list[HourCount]:
        """Sums of the events between two times (Unix ms, whole hours), by `pool`, `domain`, `tenant`, `category` and
        `site` (those named in `by`), the type of the event, and intervals of so many ms (whole hours; 0 = one sum)."""
        ...

    async def sites(self, domains: Iterable[str]) -> dict[str, str]:
        """The newest site of each domain that has one."""
        ...

    async def tag_counters(self, tag: str, tenant: str = "") -> Sequence[TagCounters]:
        """See ports.tag_counters.FoldedTags."""
        ...

    async def rule_statement(self, rule_id: str) -> str:
        """The newest statement of a rule that was written when its sweep was over, or when it was removed: the JSON of
        a mta.model.statements.RuleStatement; "" = none is there."""
        ...

    async def orders(self, below: str, most: int) -> list[NotedEvent]:
        """See ports.audit.OldOrders."""
        ...

    async def close(self) -> None: ...
