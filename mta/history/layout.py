"""Names and places of a history, apart from its tables: code that needs no more than them imports no SQLAlchemy."""

import time
from pathlib import Path
from typing import Final

from mta.model.errors import HistoryNotBegun
from mta.ports.history_writer import DAY_MS

SCHEMA_VERSION: Final = "1"


class Kind:
    """The kind of fact by which a posting finds deliveries."""

    # Of deliveries, which never lose them
    TAG: Final = 1
    SENDER: Final = 2
    DOMAIN: Final = 3
    POOL: Final = 4
    TENANT: Final = 5
    # Of events after which a delivery stands otherwise than PLAIN, in the day of the delivery
    RULE: Final = 6
    CATEGORY: Final = 7
    UNCERTAIN: Final = 8  # its value is ""
    # Of events of the rule table's lane, in the day of the event
    ORDER: Final = 9  # its value is ""


def day_name(day: int) -> str:
    """YYYYMMDD."""
    return time.strftime("%Y%m%d", time.gmtime(day * DAY_MS // 1000))


def control_file(folder: Path) -> Path:
    """Of a history on SQLite. Raises HistoryNotBegun."""
    path = folder / "control.db"
    if not path.exists():
        raise HistoryNotBegun("history has not begun yet: the journal of this node has written nothing")
    return path
