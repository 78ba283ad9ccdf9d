"""History by its URL: the database that the journal writes and the API reads."""

from mta.history.absent import AbsentHistory
from mta.history.eraser import Eraser
from mta.history.files import SqliteFiles
from mta.history.postgres import PostgresTables
from mta.history.postgres_writer import PostgresWriter
from mta.history.reader import HistoryReader
from mta.history.sqlite_writer import SqliteWriter
from mta.model.errors import HistoryElsewhere, HistoryError, HistoryNotBegun, HistoryOff
from mta.model.settings import Settings
from mta.ports.history import History
from mta.ports.history_orders import HistoryEraser
from mta.runtime.wiring.opening import OpenStore


def history_writer(settings: Settings) -> SqliteWriter | PostgresWriter | None:
    """None: no history is kept."""
    url, retention = settings.history.url, settings.history.retention
    if not url:
        return None
    return SqliteWriter(_folder(settings), retention) if url == "sqlite" else PostgresWriter(url, retention)


def history_eraser(settings: Settings) -> HistoryEraser:
    """Of a history that this node writes."""
    url = settings.history.url
    files = url == "sqlite"
    return Eraser(SqliteFiles(_folder(settings), writable=True) if files else PostgresTables(url, writable=True))


async def open_history(settings: Settings, store: OpenStore) -> History:
    """Raises SettingsError, StoreError."""
    url = settings.history.url
    if not url:
        return AbsentHistory(_off)
    if url != "sqlite":
        return HistoryReader(PostgresTables(url))
    if await store.cluster.history_holder() == settings.node.name:
        return HistoryReader(SqliteFiles(_folder(settings)))
    return AbsentHistory(lambda: _elsewhere(store))


async def _off() -> HistoryError:
    return HistoryOff()


async def _elsewhere(store: OpenStore) -> HistoryError:
    holder = await store.cluster.history_holder()
    if not holder:
        return HistoryNotBegun("history has not begun yet: no node with the role journal has started")
    return HistoryElsewhere(holder)


def _folder(settings: Settings) -> str:
    return f"{settings.node.data_dir}/history"
