"""Errors of the database as HistoryAway, translated once."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from mta.model.errors import HistoryAway


@contextmanager
def translated(where: str) -> Iterator[None]:
    """`where` names the database for people, without its password."""
    try:
        yield
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        raise HistoryAway(f"history.url: {where}: {_one_line(cause)}") from error
    except (sqlite3.Error, OSError) as error:
        raise HistoryAway(f"history.url: {where}: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
