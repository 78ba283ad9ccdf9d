"""History by its URL: the database that the journal writes and the API reads."""

from mta.history.absent import AbsentHistory
from mta.history.files import SqliteFiles
from mta.history.reader import HistoryReader
from mta.history.sqlite_writer import SqliteWriter
from mta.model.errors import HistoryOff
from mta.model.settings import Settings
from mta.ports.history import History
from mta.ports.history_writer import HistoryWriter


def history_writer(settings: Settings) -> HistoryWriter | None:
    """None: no history is kept."""
    if not settings.history.url:
        return None
    return SqliteWriter(_folder(settings), settings.history.retention)


def open_history(settings: Settings) -> History:
    if not settings.history.url:
        return AbsentHistory(HistoryOff())
    return HistoryReader(SqliteFiles(_folder(settings)))


def _folder(settings: Settings) -> str:
    return f"{settings.node.data_dir}/history"
