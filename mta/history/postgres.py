"""A history on PostgreSQL: how writers and readers connect, in a schema of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection, create_engine, event, text

from mta.history.layout import day_name
from mta.history.tables import DayTables, day_tables
from mta.model.errors import HistoryNotBegun, SettingsError
from mta.model.secret_urls import hide_password

SCHEMA: Final = "floodgate"
_CONNECT: Final = {"connect_timeout": 5, "tcp_user_timeout": 10_000, "application_name": "floodgate"}
_READ_TIMEOUT: Final = 30_000  # ms


def import_driver() -> Any:
    """Raises SettingsError."""
    try:
        import psycopg
    except ImportError:
        raise SettingsError(
            "history.url: postgresql:// needs the package psycopg; install it (pip install 'floodgate-mta[postgres]')"
        ) from None
    return psycopg


def connect(url: str) -> Any:
    """A connection of the driver, for bulk writes; every statement is in a transaction."""
    connection = import_driver().connect(url, **_CONNECT)
    connection.execute(f"SET search_path = {SCHEMA}")
    connection.execute("SET lock_timeout = 5000")
    connection.execute("SET statement_timeout = 60000")
    # A journal whose host has gone does not keep its locks.
    connection.execute("SET idle_in_transaction_session_timeout = 10000")
    connection.commit()
    return connection


class PostgresTables:
    """Fulfils database.Database."""

    def __init__(self, url: str, *, writable: bool = False) -> None:
        """Raises SettingsError."""
        import_driver()
        self._writable = writable
        self.where = hide_password(url)
        self._engine = create_engine(
            "postgresql+psycopg" + url.removeprefix("postgresql"),
            connect_args=_CONNECT,
            pool_pre_ping=True,
            pool_size=4,
        )
        event.listen(self._engine, "connect", self._prepare)

    @contextmanager
    def control(self) -> Iterator[Connection]:
        with self._engine.connect() as connection:
            if not _exists(connection, "head"):
                raise HistoryNotBegun("history has not begun yet: no journal has written to the database")
            yield connection

    @contextmanager
    def day(self, day: int) -> Iterator[tuple[Connection, DayTables] | None]:
        suffix = f"_{day_name(day)}"
        with self._engine.connect() as connection:
            yield (connection, day_tables(suffix)) if _exists(connection, f"chunks{suffix}") else None

    def close(self) -> None:
        self._engine.dispose()

    def _prepare(self, connection: Any, record: Any) -> None:
        connection.execute(f"SET search_path = {SCHEMA}")
        connection.execute(f"SET statement_timeout = {_READ_TIMEOUT}")
        connection.execute(f"SET default_transaction_read_only = {'off' if self._writable else 'on'}")
        connection.commit()


def _exists(connection: Connection, table: str) -> bool:
    query = text("SELECT to_regclass(:name) IS NOT NULL")
    return bool(connection.execute(query, {"name": f"{SCHEMA}.{table}"}).scalar_one())
