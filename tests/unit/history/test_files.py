"""History in files: the stories of every database, and what only files have."""

import asyncio
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection

from mta.history import rows
from mta.history.files import SqliteFiles
from mta.history.reader import HistoryReader
from mta.history.sqlite_history import SqliteHistory
from mta.history.sqlite_writer import SqliteWriter
from mta.model.errors import HistoryAway
from mta.model.events import EventType
from mta.model.status import Status
from mta.ports.history import RowFilter
from mta.ports.history_writer import DAY_MS
from tests.support import history_contract as contract
from tests.support.history_rounds import NOW, Book, Lane, a_delivery, accepted, later


@pytest.fixture
def reader(tmp_path: pathlib.Path) -> Iterator[SqliteHistory]:
    made = SqliteHistory(str(tmp_path / "history"), lambda folder: HistoryReader(SqliteFiles(folder)))
    yield made
    asyncio.run(made.close())


@pytest.mark.parametrize("story", contract.STORIES, ids=lambda story: story.__name__)
def test_a_story_of_every_database(story: Callable[..., Any], tmp_path: pathlib.Path, reader: SqliteHistory) -> None:
    writer = SqliteWriter(str(tmp_path / "history"), 86400.0)
    story(writer, reader)
    writer.close()


def test_counters_are_the_same_for_the_reader_of_every_database(tmp_path: pathlib.Path) -> None:
    writer = SqliteWriter(str(tmp_path / "history"), 86400.0)
    reader = HistoryReader(SqliteFiles(str(tmp_path / "history")))
    contract.counters_of_a_tag_are_kept_by_epoch(writer, reader)
    asyncio.run(reader.close())
    writer.close()


def test_an_old_day_is_dropped_unless_mail_of_it_lives(tmp_path: pathlib.Path, reader: SqliteHistory) -> None:
    now = [NOW]
    writer = SqliteWriter(str(tmp_path / "history"), 2 * DAY_MS / 1000, clock=lambda: now[0])
    contract.an_old_day_is_dropped_unless_mail_of_it_lives(writer, reader, now)
    writer.close()


def test_a_page_has_every_event_up_to_the_time_that_it_says_though_a_round_is_written_meanwhile(
    tmp_path: pathlib.Path, reader: SqliteHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = SqliteWriter(str(tmp_path / "history"), 86400.0)
    book, lane = Book(writer), Lane()
    book.write(lane.entry(accepted(a_delivery(), "first@a.test")), known=NOW)
    head_of = rows._head

    def head(control: Connection) -> int:
        found = head_of(control)
        book.write(lane.entry(accepted(a_delivery(NOW + 5), "second@a.test", NOW + 5)), known=NOW + 10)
        return found

    monkeypatch.setattr(rows, "_head", head)
    page = contract.ask(reader, lambda history: history.rows(RowFilter(), 10))
    told = [row.last.recipient for row in page.rows]
    assert (told, page.as_of) == (["first@a.test"], NOW)
    writer.close()


class Died(Exception):
    """The process died there."""


@pytest.mark.parametrize("fewer", [False, True])
def test_a_round_that_was_interrupted_before_the_control_file_is_written_again(
    tmp_path: pathlib.Path, reader: SqliteHistory, monkeypatch: pytest.MonkeyPatch, fewer: bool
) -> None:
    """The files of its days have it, the control file does not; the next try may have fewer entries."""
    folder = str(tmp_path / "history")
    lane = Lane()
    first, second = accepted(a_delivery(), "a@a.test"), accepted(a_delivery(), "b@a.test")
    entries = [
        lane.entry(second),
        lane.entry(later(first, EventType.TRANSIENT_FAILURE, code=451)),
        lane.entry(later(second, EventType.DELIVERY)),
        lane.entry(later(later(first, EventType.TRANSIENT_FAILURE), EventType.DELIVERY)),
    ]
    writer = SqliteWriter(folder, 86400.0)
    book = Book(writer)
    book.write(lane.entry(first))  # its stream goes on behind the entries above: the order of entries is theirs
    monkeypatch.setattr("mta.history.sqlite_writer.parts_of", _die)
    book = Book(writer)
    with pytest.raises(Died):
        book.write(*[(source, entry._replace(id=f"{NOW + 1}-{n}")) for n, (source, entry) in enumerate(entries)])
    monkeypatch.undo()
    writer.close()
    assert contract.recipients(reader) == ["a@a.test"]
    writer = SqliteWriter(folder, 86400.0)
    book = Book(writer)
    again = [(source, entry._replace(id=f"{NOW + 1}-{n}")) for n, (source, entry) in enumerate(entries)]
    if fewer:
        book.write(*again[1:2])
        book = Book(writer)
        again = [("0.1", accepted_entry[1]) for accepted_entry in again[2:]]
        lane = Lane("1.1")
        book.write(lane.entry(second))
    book.write(*again)
    writer.close()
    assert sorted(contract.recipients(reader)) == ["a@a.test", "b@a.test"]
    assert (
        sorted(contract.recipients(reader, statuses=frozenset({Status.DELIVERED}))) in (["a@a.test", "b@a.test"],)
        or fewer
    )
    message = contract.MessageId(first.id[:16])  # type: ignore[index]
    kept = contract.ask(reader, lambda history: history.events_of(message))
    assert [one.event.type for one in kept] == [
        EventType.RECEPTION, EventType.TRANSIENT_FAILURE, EventType.DELIVERY,
    ]  # fmt: skip


def _die(*args: Any) -> bytes:
    raise Died


def test_before_the_journal_has_written_anything_history_is_away(reader: SqliteHistory) -> None:
    with pytest.raises(HistoryAway, match="has not begun"):
        contract.ask(reader, lambda history: history.coverage())


def test_a_disk_that_fails_is_a_history_that_is_away(tmp_path: pathlib.Path) -> None:
    (tmp_path / "history").write_text("no folder")
    with pytest.raises(HistoryAway, match=r"history\.url"):
        SqliteWriter(str(tmp_path / "history"), 86400.0).open()
