"""Writing history to SQLite: a file for each day, and a control file that is committed last.

A round that was interrupted before the control file was committed is written again with the same number; its rows in
the files of its days are removed first. Nobody reads them meanwhile, because readers read only rounds that the control
file names.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mta.history.encoding import (
    EARLIER,
    change_tuple,
    chunk_data,
    counter_tuples,
    delivery_tuple,
    hour_tuples,
    number,
    parts_of,
    posting_tuples,
    site_tuples,
    statement_tuples,
    visit_tuples,
)
from mta.history.layout import SCHEMA_VERSION, day_name
from mta.history.sqlite_schema import CONTROL, DAY
from mta.history.translated import translated
from mta.model.ids import DeliveryId
from mta.model.standings import LIVE
from mta.ports.history_writer import DAY_MS, Position, PositionMoved, Round
from mta.ports.spool import Place
from mta.ports.tag_counters import TagCounters
from mta.timing.clock import wall_ms

_GROUP: Final = 400  # rows of one statement: each statement lets go of the interpreter once
_OPEN_DAYS: Final = 4  # files of days that are kept open
_PRAGMAS: Final = (
    "page_size = 8192",
    "journal_mode = WAL",
    "synchronous = FULL",  # the spool lets go of a round once it is written
    "busy_timeout = 5000",
    "wal_autocheckpoint = 8000",  # pages: a sweep changes the same ones in each round
    "cache_size = -16384",  # KiB: pages that do not fit are written to the log again and again within a round
)
_INSERT: Final = {
    "deliveries": ("INSERT INTO deliveries VALUES", 7),
    "postings": ("INSERT INTO postings VALUES", 4),
    "chunks": ("INSERT INTO chunks VALUES", 3),
}
# The columns of the rows are those of `change_tuple`.
_CHANGE: Final = (
    "UPDATE deliveries SET more = more || column1 || CASE WHEN column2 < rank THEN ',' || column4"
    " WHEN column2 > rank AND last <> n THEN ',' || last ELSE '' END,"
    # Of the same rank is the same event again, of a round that was interrupted: its place is another one now.
    " standing = CASE WHEN column2 >= rank THEN column3 ELSE standing END,"
    " last = CASE WHEN column2 >= rank THEN column4 ELSE last END,"
    " rank = max(rank, column2) FROM (VALUES {}) WHERE id = column5"
)
_VISIT: Final = f"INSERT INTO visits VALUES (?,?,?) ON CONFLICT DO UPDATE SET {EARLIER.format(least='min')}"
_STATEMENT: Final = "INSERT OR REPLACE INTO statements VALUES (?,?,?)"
_HOUR: Final = "INSERT INTO hours VALUES {} ON CONFLICT DO UPDATE SET many = many + excluded.many"


class SqliteWriter:
    """Fulfils ports.history_writer.HistoryWriter, ports.tag_counters.TagArchive and ports.sites.SiteArchive."""

    alone = True

    def __init__(self, folder: str, retention: float, *, clock: Callable[[], int] = wall_ms) -> None:
        """`retention` in seconds."""
        self._folder = Path(folder)
        self._retention_ms = int(retention * 1000)
        self._clock = clock
        self._control: sqlite3.Connection | None = None
        self._days: dict[int, sqlite3.Connection] = {}
        self._place: Place | None = None  # of the round before

    def open(self) -> None:
        with translated(str(self._folder)):
            if self._control is None:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                path = self._folder / "control.db"
                if not path.exists():
                    self._begin(path)
                self._control = _connect(path)

    def _begin(self, path: Path) -> None:
        """Readers see the whole control file or none."""
        fresh = path.with_name("control.new")
        for left in ("", "-wal", "-shm"):
            Path(f"{fresh}{left}").unlink(missing_ok=True)
        control = _connect(fresh)
        _create(control, CONTROL)
        control.execute("INSERT INTO head VALUES (1, 0)")
        control.executemany(
            "INSERT INTO about VALUES (?, ?)", (("schema", SCHEMA_VERSION), ("begun", str(self._clock())))
        )
        control.close()  # its log is in the file now
        fresh.rename(path)

    def positions(self) -> Mapping[str, Position]:
        with translated(str(self._folder)):
            rows = self._open_control().execute("SELECT source, begun, position FROM lanes")
            return {source: Position(begun, last) for source, begun, last in rows}

    def place(self, spool: str) -> Place | None:
        with translated(str(self._folder)):
            rows = self._open_control().execute("SELECT segment, place FROM spools WHERE spool = ?", (spool,))
            return next((Place(*row) for row in rows), None)

    def write(self, round_: Round) -> None:
        with translated(str(self._folder)):
            try:
                control = self._open_control()
                # A round that only moves the time up to which history is complete needs no sync: after a crash it is
                # written again.
                only_known = not round_.events and not round_.stretches and round_.place == self._place
                control.execute(f"PRAGMA synchronous = {'NORMAL' if only_known else 'FULL'}")
                self._write(control, round_)
                self._place = round_.place
            except BaseException:
                self._roll_back()
                raise

    def drop_old_days(self, now: int) -> None:
        with translated(str(self._folder)):
            control, oldest = self._open_control(), now - self._retention_ms
            for table in ("tag_counters", "sites"):
                control.execute(f"DELETE FROM {table} WHERE written_at < ?", (oldest,))
            query = "SELECT day FROM days WHERE written_at < ? ORDER BY day LIMIT 10"
            for (day,) in control.execute(query, (oldest,)).fetchall():
                live = f"SELECT 1 FROM deliveries WHERE standing IN {LIVE} LIMIT 1"
                if (day + 1) * DAY_MS < oldest and not self._day(day).execute(live).fetchall():
                    self._drop_day(control, day)
                    return

    def keep(self, tags: Sequence[TagCounters]) -> None:
        with translated(str(self._folder)):
            control = self._open_control()
            control.execute("BEGIN IMMEDIATE")
            control.executemany(
                "INSERT OR REPLACE INTO tag_counters VALUES (?,?,?,?,?,?,?)", counter_tuples(tags, self._clock())
            )
            control.execute("COMMIT")

    def keep_sites(self, sites: Mapping[str, str]) -> None:
        with translated(str(self._folder)):
            control = self._open_control()
            control.execute("BEGIN IMMEDIATE")
            rows = site_tuples(sites, self._clock())
            control.executemany("INSERT OR REPLACE INTO sites VALUES (?,?,?)", rows)
            control.execute("COMMIT")

    def close(self) -> None:
        self._roll_back()
        for connection in (*self._days.values(), self._control):
            if connection is not None:
                connection.close()
        self._days.clear()
        self._control = None

    # A round

    def _write(self, control: sqlite3.Connection, round_: Round) -> None:
        control.execute("BEGIN IMMEDIATE")
        ((newest,),) = control.execute("SELECT number FROM head")
        new = newest + 1
        self._move_positions(control, round_)
        if round_.events:
            days = self._days_of(round_)
            fresh: set[DeliveryId] = set()
            for day in days:
                fresh |= self._write_day(day, new, round_)
            for day in days:
                self._day(day).execute("COMMIT")
                control.execute("INSERT OR REPLACE INTO days VALUES (?, ?)", (day, self._clock()))
            _in_groups(control, _HOUR, 7, hour_tuples(round_))
            control.executemany(_STATEMENT, statement_tuples(round_))
            batch = (new, new, self._clock(), round_.events, parts_of(round_, fresh))
            control.execute("INSERT INTO batches VALUES (?,?,?,?,?)", batch)
            control.execute("UPDATE head SET number = ?", (new,))
        control.execute("COMMIT")

    def _move_positions(self, control: sqlite3.Connection, round_: Round) -> None:
        for source, (after, last) in round_.stretches.items():
            moved = control.execute(
                "UPDATE lanes SET position = ? WHERE source = ? AND position = ?", (last, source, after)
            )
            if not moved.rowcount:
                rows = control.execute("SELECT position FROM lanes WHERE source = ?", (source,)).fetchall()
                if rows:
                    raise PositionMoved(f"{source} stands at {rows[0][0]}, not at {after}")
                control.execute("INSERT INTO lanes VALUES (?, ?, ?, 0)", (source, after, last))
        for source, known in round_.known.items():
            control.execute("UPDATE lanes SET known = max(known, ?) WHERE source = ?", (known, source))
        if round_.place is not None:
            control.execute("INSERT OR REPLACE INTO spools VALUES (?, ?, ?)", (round_.spool, *round_.place))

    def _days_of(self, round_: Round) -> list[int]:
        return sorted({chunk.day for chunk in round_.chunks} | {common[0] for common in round_.commons})

    def _write_day(self, day: int, new: int, round_: Round) -> set[DeliveryId]:
        """The deliveries that history did not have."""
        connection = self._day(day)
        connection.execute("BEGIN IMMEDIATE")
        self._undo_interrupted(connection, new)
        rows = [(id_, row) for id_, row in round_.rows.items() if int.from_bytes(id_[:6], "big") // DAY_MS == day]
        fresh = [(id_, row) for id_, row in rows if row.fresh]
        # By id, as they stand in the file: each page is changed once. A sweep sees its queues in no order.
        changed = sorted((id_, row) for id_, row in rows if not row.fresh)
        if changed:
            done = _in_groups(connection, _CHANGE, 5, [change_tuple(new, id_, row) for id_, row in changed])
            if done != len(changed):
                fresh += [pair for pair in changed if not _has(connection, pair[0])]
        ids = {id_ for id_, _ in fresh}
        _insert(connection, "deliveries", [delivery_tuple(new, id_, row) for id_, row in fresh])
        _insert(connection, "postings", posting_tuples(new, day, round_, ids))
        chunks = [(new, chunk.first, chunk_data(chunk.entries)) for chunk in round_.chunks if chunk.day == day]
        _insert(connection, "chunks", chunks)
        if round_.visits:
            connection.executemany(_VISIT, visit_tuples(day, round_))
        return ids

    def _undo_interrupted(self, connection: sqlite3.Connection, new: int) -> None:
        """A round that was written here, and of which the control file knows nothing."""
        ((newest,),) = connection.execute("SELECT max(round) FROM chunks")
        ((last,),) = connection.execute("SELECT max(n) FROM deliveries")
        if max(newest or 0, (last or 0) >> 20) >= new:
            connection.execute("DELETE FROM deliveries WHERE n >= ?", (number(new, 0),))
            connection.execute("DELETE FROM postings WHERE round >= ?", (new,))
            connection.execute("DELETE FROM chunks WHERE round >= ?", (new,))

    # Files

    def _open_control(self) -> sqlite3.Connection:
        if self._control is None:
            self.open()
        assert self._control is not None
        return self._control

    def _day(self, day: int) -> sqlite3.Connection:
        connection = self._days.get(day)
        if connection is None:
            for other in list(self._days)[: 1 - _OPEN_DAYS]:
                if not self._days[other].in_transaction:
                    self._days.pop(other).close()
            connection = self._days[day] = _connect(self._folder / f"{day_name(day)}.db")
            _create(connection, DAY)
        return connection

    def _drop_day(self, control: sqlite3.Connection, day: int) -> None:
        """The control file forgets it first: readers never miss a file that it names for long."""
        control.execute("BEGIN IMMEDIATE")
        control.execute("DELETE FROM days WHERE day = ?", (day,))
        control.execute("DELETE FROM hours WHERE hour >= ? AND hour < ?", (day * 24, day * 24 + 24))
        control.execute("DELETE FROM statements WHERE written_at < ?", ((day + 1) * DAY_MS,))
        control.execute("COMMIT")
        self._days.pop(day).close()
        for name in ("", "-wal", "-shm"):
            (self._folder / f"{day_name(day)}.db{name}").unlink(missing_ok=True)

    def _roll_back(self) -> None:
        for connection in (*self._days.values(), self._control):
            if connection is not None and connection.in_transaction:
                connection.rollback()


def _connect(path: Path) -> sqlite3.Connection:
    """Used on the journal's thread for history, and closed there."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _create(connection: sqlite3.Connection, statements: Sequence[str]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for statement in statements:
        connection.execute(statement)
    connection.execute("COMMIT")


def _insert(connection: sqlite3.Connection, table: str, rows: list[Any]) -> None:
    words, columns = _INSERT[table]
    _in_groups(connection, f"{words} {{}}", columns, rows)


def _in_groups(connection: sqlite3.Connection, statement: str, columns: int, rows: list[Any]) -> int:
    """How many rows of the table were changed."""
    one = f"({','.join('?' * columns)})"
    whole, done = len(rows) - len(rows) % _GROUP, 0
    if whole:
        many = statement.format(",".join([one] * _GROUP))
        for at in range(0, whole, _GROUP):
            done += connection.execute(many, [value for row in rows[at : at + _GROUP] for value in row]).rowcount
    if whole < len(rows):
        done += connection.executemany(statement.format(one), rows[whole:]).rowcount
    return done


def _has(connection: sqlite3.Connection, id_: bytes) -> bool:
    return bool(connection.execute("SELECT 1 FROM deliveries WHERE id = ?", (id_,)).fetchall())
