"""The statements that make the files of history are those of its tables."""

import re

import pytest
from sqlalchemy import MetaData
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from mta.history import sqlite_schema, tables


@pytest.mark.parametrize(
    ("said", "metadata"),
    [(sqlite_schema.CONTROL, tables.CONTROL), (sqlite_schema.DAY, tables.day_tables("").metadata)],
    ids=["control.db", "the file of a day"],
)
def test_it_says_what_sqlalchemy_makes_of_the_tables(said: tuple[str, ...], metadata: MetaData) -> None:
    made: list[CreateTable | CreateIndex] = []
    for table in metadata.sorted_tables:
        made.append(CreateTable(table, if_not_exists=True))
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        made += [CreateIndex(index, if_not_exists=True) for index in indexes]
    dialect = sqlite.dialect()  # type: ignore[no-untyped-call]
    assert [_plain(str(one.compile(dialect=dialect))) for one in made] == list(map(_plain, said))


def _plain(statement: str) -> str:
    return re.sub(r"\s*([(),])\s*", r"\1", " ".join(statement.split()))
