"""The tables of history, the same on SQLite and on PostgreSQL.

`control` stands once, in the file `control.db` or under its plain names. The tables of a day stand in the file
`<YYYYMMDD>.db`, or have `_<YYYYMMDD>` behind their names. On PostgreSQL everything is in the schema `floodgate`.
`mta.history.sqlite_schema` has the statements that make the files: change it with this.

A number n of a delivery or an event is (round << PLACE_BITS) + place. A round's own number on PostgreSQL comes from a
sequence before it is written; `batches.number` is given last, under the lock of `head`, without gaps. On SQLite both
are the same.
"""

from functools import lru_cache
from typing import Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
)

from mta.model.standings import PLAIN

REVISION: Final = "revision"  # rises with each erasure, so that readers forget what they remember
_Number = BigInteger().with_variant(Integer, "sqlite")  # an INTEGER PRIMARY KEY is SQLite's own row number

CONTROL: Final = MetaData()


def _keys(*names: str) -> list[Column[str]]:
    """Columns of text that make up the primary key."""
    return [Column(name, String, primary_key=True) for name in names]


def _time(name: str) -> Column[int]:
    """Unix ms."""
    return Column(name, BigInteger, nullable=False)


# name -> value: schema, begun (Unix ms), REVISION
ABOUT: Final = Table("about", CONTROL, *_keys("name"), Column("value", String, nullable=False))

# The one row: number of the newest batch
HEAD: Final = Table(
    "head", CONTROL, Column("one", Integer, primary_key=True), Column("number", BigInteger, nullable=False)
)

# A round that was written. `parts`: msgpack [[day, least ms of a message id that is new on that day, [first place of
# each chunk of that day]], ...]
BATCHES: Final = Table(
    "batches",
    CONTROL,
    Column("number", _Number, primary_key=True, autoincrement=False),
    Column("round", BigInteger, nullable=False, unique=True),
    _time("written_at"),
    Column("events", Integer, nullable=False),
    Column("parts", LargeBinary, nullable=False),
)

# By lane and epoch ("3.1"): entries behind `begun` up to `position` are there, and until `known` (Unix ms) no other
LANES: Final = Table(
    "lanes",
    CONTROL,
    *_keys("source"),
    Column("begun", String, nullable=False),
    Column("position", String, nullable=False),
    _time("known"),
)

# How far each spool is written
SPOOLS: Final = Table(
    "spools",
    CONTROL,
    *_keys("spool"),
    Column("segment", BigInteger, nullable=False),
    Column("place", BigInteger, nullable=False),
)

# Days that have tables, in days since 1970-01-01 UTC
DAYS: Final = Table("days", CONTROL, Column("day", Integer, primary_key=True), _time("written_at"))

# Events by hour (since 1970-01-01 UTC), for statistics
HOURS: Final = Table(
    "hours",
    CONTROL,
    Column("hour", Integer, primary_key=True),
    *_keys("pool", "domain", "tenant", "category", "kind"),
    Column("many", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# The newest site of each domain
SITES: Final = Table(
    "sites",
    CONTROL,
    *_keys("domain"),
    Column("site", String, nullable=False),
    _time("written_at"),
    sqlite_with_rowid=False,
)

# The newest statement of each rule, JSON
STATEMENTS: Final = Table(
    "statements",
    CONTROL,
    *_keys("rule"),
    Column("statement", String, nullable=False),
    _time("written_at"),
    sqlite_with_rowid=False,
)

# Counters of tags at rest, absolute values by epoch
TAG_COUNTERS: Final = Table(
    "tag_counters",
    CONTROL,
    *_keys("tag", "tenant"),
    Column("lane", Integer, primary_key=True),
    *_keys("epoch", "field"),
    Column("many", BigInteger, nullable=False),
    _time("written_at"),
    sqlite_with_rowid=False,
)


class DayTables(NamedTuple):
    """The tables of one day."""

    # n of its first event; the delivery's id; rank and number of its standing; hash of its address; n of the event
    # that says how it stands; n of its other events, each with a comma before it
    deliveries: Table
    # By the kind of value (see Kind) and a round: places of deliveries that are new in it, or of its events
    postings: Table
    # zstd of msgpack [[source, entry id, framed events, places left out], ...]
    chunks: Table
    # By the id of a delivery: Unix ms of the first open and of the first click that may be a reader's, 0 = none. One
    # that was visited has events beside the one that came first and the one that says how it stands
    visits: Table
    metadata: MetaData


@lru_cache(maxsize=256)
def day_tables(suffix: str) -> DayTables:
    """`suffix` is "" in a file of its own."""
    metadata = MetaData()
    deliveries = Table(
        f"deliveries{suffix}",
        metadata,
        Column("n", _Number, primary_key=True, autoincrement=False),
        Column("id", LargeBinary, nullable=False),
        Column("rank", Integer, nullable=False),
        Column("standing", SmallInteger, nullable=False),
        Column("recipient", BigInteger, nullable=False),
        Column("last", BigInteger, nullable=False),
        Column("more", String, nullable=False),
    )
    Index(f"deliveries{suffix}_id", deliveries.c.id, unique=True)
    behind = (deliveries.c.n,) if suffix else ()  # an index of SQLite has it anyway
    Index(f"deliveries{suffix}_recipient", deliveries.c.recipient, *behind)
    other = deliveries.c.standing > PLAIN
    Index(f"deliveries{suffix}_standing", deliveries.c.standing, *behind, sqlite_where=other, postgresql_where=other)
    postings = Table(
        f"postings{suffix}",
        metadata,
        Column("kind", SmallInteger, primary_key=True),
        Column("value", String, primary_key=True),
        Column("round", BigInteger, primary_key=True),
        Column("places", LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    chunks = Table(
        f"chunks{suffix}",
        metadata,
        Column("round", BigInteger, primary_key=True),
        Column("first", Integer, primary_key=True),
        Column("data", LargeBinary, nullable=False),
    )
    visits = Table(
        f"visits{suffix}",
        metadata,
        Column("id", LargeBinary, primary_key=True),
        Column("opened", BigInteger, nullable=False),
        Column("clicked", BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    return DayTables(deliveries, postings, chunks, visits, metadata)
