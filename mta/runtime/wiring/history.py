"""History by its URL: the database that the journal writes and the API reads.

Modules of `mta.history` that need SQLAlchemy or a driver are imported where a URL, or a question, needs them.
"""

from typing import TYPE_CHECKING

from mta.history.absent import AbsentHistory
from mta.history.sqlite_history import SqliteHistory
from mta.history.sqlite_writer import SqliteWriter
from mta.model.errors import HistoryElsewhere, HistoryError, HistoryNotBegun, HistoryOff
from mta.model.settings import Settings
from mta.ports.history import History
from mta.ports.history_orders import HistoryEraser
from mta.runtime.wiring.opening import OpenStore

if TYPE_CHECKING:
    from mta.history.postgres_writer import PostgresWriter


def history_writer(settings: Settings) -> "SqliteWriter | PostgresWriter | None":
    """None: no history is kept. Raises SettingsError."""
    url, retention = settings.history.url, settings.history.retention
    if not url:
        return None
    if url == "sqlite":
        return SqliteWriter(_folder(settings), retention)
    from mta.history.postgres_writer import PostgresWriter

    return PostgresWriter(url, retention)


def open_eraser(settings: Settings) -> HistoryEraser:
    """Of a history that this node writes. Raises SettingsError."""
    from mta.history.eraser import Eraser

    url = settings.history.url
    if url == "sqlite":
        from mta.history.files import SqliteFiles

        return Eraser(SqliteFiles(_folder(settings), writable=True))
    from mta.history.postgres import PostgresTables

    return Eraser(PostgresTables(url, writable=True))


async def open_history(settings: Settings, store: OpenStore) -> History:
    """Raises SettingsError, StoreError."""
    url = settings.history.url
    if not url:
        return AbsentHistory(_off)
    if url != "sqlite":
        from mta.history.postgres import PostgresTables
        from mta.history.reader import HistoryReader

        return HistoryReader(PostgresTables(url))
    if await store.cluster.history_holder() == settings.node.name:
        return SqliteHistory(_folder(settings), _read_files)
    return AbsentHistory(lambda: _elsewhere(store))


def _read_files(folder: str) -> History:
    from mta.history.files import SqliteFiles
    from mta.history.reader import HistoryReader

    return HistoryReader(SqliteFiles(folder))


async def _off() -> HistoryError:
    return HistoryOff()


async def _elsewhere(store: OpenStore) -> HistoryError:
    holder = await store.cluster.history_holder()
    if not holder:
        return HistoryNotBegun("history has not begun yet: no node with the role journal has started")
    return HistoryElsewhere(holder)


def _folder(settings: Settings) -> str:
    return f"{settings.node.data_dir}/history"
