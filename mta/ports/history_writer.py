"""History as the journal writes it: rounds, each of them one transaction, and the positions that make them count once.

Blocking calls, made on one thread; they raise HistoryAway.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from mta.model.errors import FloodgateError
from mta.model.ids import DeliveryId
from mta.ports.spool import Place, Sourced

PLACE_BITS: Final = 20
MOST_EVENTS: Final = 1 << PLACE_BITS  # of a round
DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000


class Chunk(NamedTuple):
    """Entries of one day that follow each other in a round."""

    day: int  # days since 1970-01-01 UTC, of the stream entries
    first: int  # place of the first event
    many: int
    entries: Sequence[Sourced]


class Row(msgspec.Struct, gc=False):
    """A delivery that a round has events of; all places are places in this round."""

    first: int  # place of its first event here
    last: int  # place of the event that says how it stands
    rank: int  # of that event, see mta.model.status
    standing: int  # see mta.model.standings
    recipient: int  # hash of the address
    fresh: bool  # the round has its acceptance: history does not have it yet
    more: tuple[int, ...] = ()  # places of its other events


# The facts of deliveries that lists select by, and that never change: day of the message id, tags, sender, domain,
# pool, tenant
Common = tuple[int, tuple[str, ...], str, str, str, str]

# A fact of an event that lists select by: the day of the delivery's message id, a field of RowFilter ("rule",
# "category" or "uncertain"), value; for an event of the rule table's lane the day of its entry, "order", ""
Named = tuple[int, str, str]


# The key of an hourly count: hour since 1970-01-01 UTC, pool, domain, tenant, category, type of the event
HourKey = tuple[int, str, str, str, str, str]


class Visits(NamedTuple):
    """The first open of a delivery and the first click in it that may be a reader's, Unix ms; 0 = none."""

    opened: int = 0
    clicked: int = 0

    def with_earlier(self, other: "Visits") -> "Visits":
        """The earlier one of each."""
        return Visits(_earlier(self.opened, other.opened), _earlier(self.clicked, other.clicked))


def _earlier(one: int, other: int) -> int:
    return min(one, other) if one and other else one or other


class Stretch(NamedTuple):
    """The entries of one source that a round has: behind `after`, up to `last`. Both the same: nothing new."""

    after: str
    last: str


class Position(NamedTuple):
    """The entries of one source that history has: behind `begun`, up to `last`."""

    begun: str
    last: str


class Round:
    """Everything that one transaction writes."""

    __slots__ = (
        "chunks", "commons", "events", "hours", "known", "named", "place", "rows", "spool", "statements", "stretches",
        "visits",
    )  # fmt: skip

    def __init__(self, spool: str) -> None:
        self.spool = spool  # identity of the spool that the entries come from
        self.place: Place | None = None  # in the spool, behind them
        self.events = 0
        self.chunks: list[Chunk] = []
        self.rows: dict[DeliveryId, Row] = {}
        self.commons: dict[Common, list[tuple[int, DeliveryId]]] = {}  # (place of the first event, delivery id)
        self.named: dict[Named, list[int]] = {}  # places of the events that have the value
        self.hours: dict[HourKey, int] = {}
        self.statements: dict[str, tuple[str, int]] = {}  # rule -> JSON of its newest statement, Unix ms
        self.stretches: dict[str, Stretch] = {}
        self.visits: dict[DeliveryId, Visits] = {}
        self.known: dict[str, int] = {}  # source -> Unix ms up to which its events are all in here, or before

    @property
    def is_empty(self) -> bool:
        return not self.events and not self.stretches and not self.known


class PositionMoved(FloodgateError):
    """Another journal wrote a lane meanwhile, or an earlier try succeeded unseen: nothing was written."""


class HistoryWriter(Protocol):
    """One journal's way into the database."""

    alone: bool  # no other journal writes to this history

    def open(self) -> None:
        """Make what is missing. May be repeated."""
        ...

    def positions(self) -> Mapping[str, Position]: ...

    def place(self, spool: str) -> Place | None:
        """Behind what was written from that spool; None: nothing was."""
        ...

    def write(self, round_: Round) -> None:
        """All of it or nothing. Raises PositionMoved."""
        ...

    def drop_old_days(self, now: int) -> None:
        """Drop one day on which nothing was written for the retention, and of whose deliveries none lives."""
        ...

    def close(self) -> None: ...
