"""Errors of the database as HistoryAway, translated once."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from mta.model.errors import HistoryAway


@contextmanager
def translated(where: str, *more: type[Exception]) -> Iterator[None]:
    """`where` names the database for people, without its password. `more`: errors beside those of SQLite and the
    system."""
    errors: tuple[type[Exception], ...] = (sqlite3.Error, OSError, *more)
    try:
        yield
    except errors as error:
        cause = getattr(error, "orig", None) or error  # SQLAlchemy wraps that of the driver
        raise HistoryAway(f"history.url: {where}: {_one_line(cause)}") from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
