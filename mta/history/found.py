"""The row of a delivery as it is stored, and how many of them are read with few objects of Python."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, select

from mta.history.tables import DayTables
from mta.model.ids import DeliveryId
from mta.model.standings import PLAIN
from mta.ports.history_writer import Visits

_AT_ONCE: Final = 500  # values in one IN
_COLUMNS: Final = "n, id, standing, last, more"


class Found(NamedTuple):
    """A row as it is stored, see tables.DayTables."""

    n: int
    id: DeliveryId
    standing: int
    last: int
    more: str


def columns(tables: DayTables) -> Sequence[object]:
    """Those of Found."""
    deliveries = tables.deliveries
    return deliveries.c.n, deliveries.c.id, deliveries.c.standing, deliveries.c.last, deliveries.c.more


def newest_before(connection: Connection, tables: DayTables, n: int, most: int) -> list[Found]:
    """Rows with numbers less than `n`, falling."""
    return _rows(connection, tables, f"n < {n:d}", f" LIMIT {most:d}")


def by_numbers(connection: Connection, tables: DayTables, numbers: Collection[int]) -> list[Found]:
    """Those that there are, by falling number."""
    return _rows(connection, tables, f"n IN ({_in_words(numbers)})") if numbers else []


def numbers_at(connection: Connection, tables: DayTables, standing: int, n: int, most: int) -> list[int]:
    """Numbers less than `n` of rows with a standing that is indexed, falling."""
    query = (
        f"SELECT n FROM {tables.deliveries.name} WHERE standing = {standing:d} AND standing > {PLAIN:d} AND n < {n:d}"
        f" ORDER BY n DESC LIMIT {most:d}"
    )
    return [number for (number,) in _fetched(connection, query)]


def by_ids(connection: Connection, tables: DayTables, ids: Collection[bytes]) -> list[int]:
    """The numbers of those that there are, in any order."""
    column, wanted = tables.deliveries.c, list(ids)
    numbers: list[int] = []
    for at in range(0, len(wanted), _AT_ONCE):
        query = select(column.n).where(column.id.in_(wanted[at : at + _AT_ONCE]))
        numbers += connection.execute(query).scalars()
    return numbers


def first_visits(connection: Connection, tables: DayTables, rows: Iterable[Found]) -> dict[DeliveryId, Visits]:
    """Those of rows that were visited."""
    ids = [row.id for row in rows if row.more]  # the events of visits are there
    visits, found = tables.visits, dict[DeliveryId, Visits]()
    if ids and connection.execute(select(visits.c.id).limit(1)).first() is not None:
        for at in range(0, len(ids), _AT_ONCE):
            query = select(visits).where(visits.c.id.in_(ids[at : at + _AT_ONCE]))
            found |= {DeliveryId(row.id): Visits(row.opened, row.clicked) for row in connection.execute(query)}
    return found


def _rows(connection: Connection, tables: DayTables, where: str, limit: str = "") -> list[Found]:
    """Numbers stand in the text of the statement: as parameters they cost more than the rows that are found."""
    query = f"SELECT {_COLUMNS} FROM {tables.deliveries.name} WHERE {where} ORDER BY n DESC{limit}"
    return list(map(Found._make, _fetched(connection, query)))


def _fetched(connection: Connection, query: str) -> Sequence[Sequence[Any]]:
    """The rows as the driver gives them."""
    result = connection.exec_driver_sql(query)
    cursor = result.cursor
    rows: Sequence[Sequence[Any]] = cursor.fetchall() if cursor is not None else ()
    result.close()
    return rows


def _in_words(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))
