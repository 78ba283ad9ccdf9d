"""The files of a history on SQLite, as readers open them."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event

from mta.history.layout import control_file, day_name
from mta.history.tables import DayTables, day_tables

_MOST_DAYS: Final = 64  # whose files are kept open


class SqliteFiles:
    """Fulfils history.database.Database."""

    def __init__(self, folder: str, *, writable: bool = False) -> None:
        self.where = folder
        self._writable = writable
        self._folder = Path(folder)
        memory = create_engine("sqlite://")
        memory.connect().close()  # the dialect learns the version
        self._dialect, self._url = memory.dialect, memory.url
        self._compiled: dict[Any, Any] = {}
        self._engine = lru_cache(maxsize=_MOST_DAYS)(self._open)

    @contextmanager
    def control(self) -> Iterator[Connection]:
        control_file(self._folder)
        with self._engine("control").connect() as connection:
            yield connection

    @contextmanager
    def day(self, day: int) -> Iterator[tuple[Connection, DayTables] | None]:
        name = day_name(day)
        if not (self._folder / f"{name}.db").exists():
            self._engine.cache_clear()  # it was dropped
            yield None
            return
        with self._engine(name).connect() as connection:
            yield connection, day_tables("")

    def close(self) -> None:
        self._engine.cache_clear()

    def _open(self, name: str) -> Engine:
        """All files share a dialect and the statements that were compiled for it: a search looks into many of them.

        No connection keeps prepared statements. Most of them name up to 2,000 numbers and come once; 128 of these take
        some 16 MiB, in each file that an export has come through.
        """
        path = str(self._folder / f"{name}.db")
        pool = QueuePool(partial(sqlite3.connect, path, timeout=5.0, check_same_thread=False, cached_statements=0))
        event.listen(pool, "connect", self._prepare)
        return Engine(pool, self._dialect, self._url, execution_options={"compiled_cache": self._compiled})

    def _prepare(self, connection: Any, record: Any) -> None:
        """Readers change nothing; a file is open for writing only because readers of a write-ahead log note
        themselves."""
        connection.execute(f"PRAGMA query_only = {'OFF' if self._writable else 'ON'}")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -512")  # KiB: many files are open
