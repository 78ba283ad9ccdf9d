"""Writing history to PostgreSQL: a round is one transaction, whose end alone waits for those of other journals."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from mta.history.encoding import (
    EARLIER,
    change_tuple,
    chunk_data,
    counter_tuples,
    delivery_tuple,
    hour_tuples,
    parts_of,
    posting_tuples,
    site_tuples,
    statement_tuples,
    visit_tuples,
)
from mta.history.layout import SCHEMA_VERSION, day_name
from mta.history.postgres import SCHEMA, connect, import_driver
from mta.history.tables import CONTROL, day_tables
from mta.model.errors import HistoryAway
from mta.model.ids import DeliveryId
from mta.model.secret_urls import hide_password
from mta.model.standings import LIVE
from mta.ports.history_writer import DAY_MS, Position, PositionMoved, Round, Row
from mta.ports.spool import Place
from mta.ports.tag_counters import TagCounters
from mta.timing.clock import wall_ms

_DDL_LOCK: Final = 0x666C6F6F64  # of the advisory lock under which tables are made and dropped

_CHANGES: Final = (
    "CREATE TEMPORARY TABLE IF NOT EXISTS changes"
    " (more text, rank int, standing smallint, last bigint, id bytea) ON COMMIT DELETE ROWS"
)
_APPLY: Final = """
UPDATE deliveries{day} AS d SET
 more = d.more || c.more || CASE WHEN c.rank < d.rank THEN ',' || c.last
  WHEN c.rank > d.rank AND d.last <> d.n THEN ',' || d.last ELSE '' END,
 standing = CASE WHEN c.rank >= d.rank THEN c.standing ELSE d.standing END,
 last = CASE WHEN c.rank >= d.rank THEN c.last ELSE d.last END,
 rank = greatest(d.rank, c.rank)
FROM changes AS c WHERE d.id = c.id"""
_MISSING: Final = "SELECT id FROM changes AS c WHERE NOT EXISTS (SELECT 1 FROM deliveries{day} AS d WHERE d.id = c.id)"
_VISIT: Final = (
    "INSERT INTO visits{day} AS visits VALUES (%s,%s,%s)"
    f" ON CONFLICT (id) DO UPDATE SET {EARLIER.format(least='least')}"
)
_STATEMENT: Final = (
    "INSERT INTO statements VALUES (%s,%s,%s)"
    " ON CONFLICT (rule) DO UPDATE SET statement = excluded.statement, written_at = excluded.written_at"
)
_HOUR: Final = (
    "INSERT INTO hours VALUES (%s,%s,%s,%s,%s,%s,%s)"
    " ON CONFLICT (hour, pool, domain, tenant, category, kind) DO UPDATE SET many = hours.many + excluded.many"
)
_SITE: Final = (
    "INSERT INTO sites VALUES (%s,%s,%s)"
    " ON CONFLICT (domain) DO UPDATE SET site = excluded.site, written_at = excluded.written_at"
)
_COUNTER: Final = (
    "INSERT INTO tag_counters VALUES (%s,%s,%s,%s,%s,%s,%s) ON CONFLICT (tag, tenant, lane, epoch, field)"
    " DO UPDATE SET many = excluded.many, written_at = excluded.written_at"
)


class PostgresWriter:
    """Fulfils ports.history_writer.HistoryWriter, ports.tag_counters.TagArchive and ports.sites.SiteArchive."""

    alone = False

    def __init__(self, url: str, retention: float, *, clock: Callable[[], int] = wall_ms) -> None:
        """`retention` in seconds. Raises SettingsError: the driver is not installed."""
        self._driver = import_driver()
        self._url = url
        self._where = hide_password(url)
        self._retention_ms = int(retention * 1000)
        self._clock = clock
        self._connection: Any = None
        self._made: set[int] = set()  # days that have tables

    def open(self) -> None:
        with self._transaction() as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_DDL_LOCK,))
            if connection.execute("SELECT to_regclass(%s)", (f"{SCHEMA}.head",)).fetchone()[0] is None:
                connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
                _create(connection, CONTROL.sorted_tables)
                connection.execute("CREATE SEQUENCE rounds")
                connection.execute("INSERT INTO head VALUES (1, 0)")
                rows = (("schema", SCHEMA_VERSION), ("begun", str(self._clock())))
                connection.cursor().executemany("INSERT INTO about VALUES (%s, %s)", rows)

    def positions(self) -> Mapping[str, Position]:
        with self._transaction() as connection:
            rows = connection.execute("SELECT source, begun, position FROM lanes").fetchall()
            return {source: Position(begun, last) for source, begun, last in rows}

    def place(self, spool: str) -> Place | None:
        with self._transaction() as connection:
            row = connection.execute("SELECT segment, place FROM spools WHERE spool = %s", (spool,)).fetchone()
            return Place(*row) if row else None

    def write(self, round_: Round) -> None:
        days = sorted({chunk.day for chunk in round_.chunks} | {common[0] for common in round_.commons})
        for day in days:
            if day not in self._made:
                self._make_day(day)
        with self._transaction() as connection:
            self._move_positions(connection, round_)
            if round_.events:
                self._write_events(connection, round_, days)

    def drop_old_days(self, now: int) -> None:
        oldest = now - self._retention_ms
        with self._transaction() as connection:
            for table in ("tag_counters", "sites"):
                connection.execute(f"DELETE FROM {table} WHERE written_at < %s", (oldest,))
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_DDL_LOCK,))
            rows = connection.execute("SELECT day FROM days WHERE written_at < %s ORDER BY day LIMIT 10", (oldest,))
            for (day,) in rows.fetchall():
                name = day_name(day)
                live = f"SELECT 1 FROM deliveries_{name} WHERE standing IN {LIVE} LIMIT 1"
                if (day + 1) * DAY_MS < oldest and connection.execute(live).fetchone() is None:
                    self._made.discard(day)
                    connection.execute("DELETE FROM days WHERE day = %s", (day,))
                    connection.execute("DELETE FROM hours WHERE hour >= %s AND hour < %s", (day * 24, day * 24 + 24))
                    connection.execute("DELETE FROM statements WHERE written_at < %s", ((day + 1) * DAY_MS,))
                    connection.execute(f"DROP TABLE deliveries_{name}, postings_{name}, chunks_{name}, visits_{name}")
                    return

    def keep(self, tags: Sequence[TagCounters]) -> None:
        with self._transaction() as connection:
            connection.cursor().executemany(_COUNTER, counter_tuples(tags, self._clock()))

    def keep_sites(self, sites: Mapping[str, str]) -> None:
        with self._transaction() as connection:
            connection.cursor().executemany(_SITE, site_tuples(sites, self._clock()))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # A round

    def _move_positions(self, connection: Any, round_: Round) -> None:
        for source, (after, last) in sorted(round_.stretches.items()):
            moved = connection.execute(
                "UPDATE lanes SET position = %s WHERE source = %s AND position = %s", (last, source, after)
            )
            if not moved.rowcount:
                made = connection.execute(
                    "INSERT INTO lanes VALUES (%s, %s, %s, 0) ON CONFLICT DO NOTHING", (source, after, last)
                )
                if not made.rowcount:
                    raise PositionMoved(f"{source} does not stand at {after} any more")
        if round_.place is not None:
            connection.execute(
                "INSERT INTO spools VALUES (%s, %s, %s) ON CONFLICT (spool)"
                " DO UPDATE SET segment = excluded.segment, place = excluded.place",
                (round_.spool, *round_.place),
            )
        for source, known in sorted(round_.known.items()):
            connection.execute("UPDATE lanes SET known = greatest(known, %s) WHERE source = %s", (known, source))

    def _write_events(self, connection: Any, round_: Round, days: Sequence[int]) -> None:
        (new,) = connection.execute("SELECT nextval('rounds')").fetchone()
        fresh: set[DeliveryId] = set()
        for day in days:
            fresh |= self._write_day(connection, day, new, round_)
        hours = sorted(hour_tuples(round_))
        # From here on one journal after the other.
        (newest,) = connection.execute("SELECT number FROM head FOR UPDATE").fetchone()
        connection.cursor().executemany(_HOUR, hours)
        connection.cursor().executemany(_STATEMENT, statement_tuples(round_))
        now = self._clock()
        for day in days:
            connection.execute(
                "INSERT INTO days VALUES (%s, %s) ON CONFLICT (day) DO UPDATE SET written_at = excluded.written_at",
                (day, now),
            )
        batch = (newest + 1, new, now, round_.events, parts_of(round_, fresh))
        connection.execute("INSERT INTO batches VALUES (%s,%s,%s,%s,%s)", batch)
        connection.execute("UPDATE head SET number = %s", (newest + 1,))

    def _write_day(self, connection: Any, day: int, new: int, round_: Round) -> set[DeliveryId]:
        """The deliveries that history did not have."""
        suffix = f"_{day_name(day)}"
        rows = [(id_, row) for id_, row in round_.rows.items() if int.from_bytes(id_[:6], "big") // DAY_MS == day]
        fresh = [(id_, row) for id_, row in rows if row.fresh]
        changed = [(id_, row) for id_, row in rows if not row.fresh]
        if changed:
            fresh += self._change(connection, suffix, new, changed)
        ids = {id_ for id_, _ in fresh}
        _copy(connection, f"deliveries{suffix}", [delivery_tuple(new, id_, row) for id_, row in fresh])
        _copy(connection, f"postings{suffix}", posting_tuples(new, day, round_, ids))
        chunks = [(new, chunk.first, chunk_data(chunk.entries)) for chunk in round_.chunks if chunk.day == day]
        _copy(connection, f"chunks{suffix}", chunks)
        if round_.visits:
            connection.cursor().executemany(_VISIT.format(day=suffix), visit_tuples(day, round_))
        return ids

    def _change(
        self, connection: Any, suffix: str, new: int, changed: Sequence[tuple[DeliveryId, Row]]
    ) -> list[tuple[DeliveryId, Row]]:
        """Those that are not there."""
        connection.execute(_CHANGES)
        connection.execute("TRUNCATE changes")
        _copy(connection, "changes", [change_tuple(new, id_, row) for id_, row in changed])
        done = connection.execute(_APPLY.format(day=suffix))
        if done.rowcount == len(changed):
            return []
        missing = {bytes(id_) for (id_,) in connection.execute(_MISSING.format(day=suffix)).fetchall()}
        return [pair for pair in changed if pair[0] in missing]

    def _make_day(self, day: int) -> None:
        with self._transaction() as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_DDL_LOCK,))
            _create(connection, day_tables(f"_{day_name(day)}").metadata.sorted_tables)
        self._made.add(day)

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        """Raises HistoryAway; after any error the connection is made anew."""
        try:
            if self._connection is None:
                self._connection = connect(self._url)
            with self._connection.transaction():
                yield self._connection
        except self._driver.Error as error:
            self._drop_connection()
            raise HistoryAway(f"history.url: {self._where}: {' '.join(str(error).split())}") from error
        except OSError as error:
            self._drop_connection()
            raise HistoryAway(f"history.url: {self._where}: {error}") from error

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        self._made.clear()
        if connection is not None:
            connection.close()


def _create(connection: Any, tables: Iterable[Table]) -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    for table in tables:
        connection.execute(str(CreateTable(table, if_not_exists=True).compile(dialect=dialect)))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            connection.execute(str(CreateIndex(index, if_not_exists=True).compile(dialect=dialect)))


def _copy(connection: Any, table: str, rows: Sequence[Sequence[Any]]) -> None:
    if rows:
        with connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
