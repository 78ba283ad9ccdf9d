"""History on PostgreSQL: the stories of every database, two journals at once, and a server that dies."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from mta.history.postgres import PostgresTables
from mta.history.postgres_writer import PostgresWriter
from mta.history.reader import HistoryReader
from mta.history.webhook_tables import postgres_state
from mta.model.errors import HistoryAway
from mta.ports.history import BEGINNING, Cursor
from mta.ports.history_writer import DAY_MS
from tests.support import history_contract as contract
from tests.support import webhook_state_contract
from tests.support.history_rounds import NOW, Book, Lane, a_delivery, accepted
from tests.support.needs import needs
from tests.support.postgres import Postgres

pytestmark = needs("postgres")


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    made = Postgres()
    try:
        yield made.start()
    finally:
        made.remove()


@pytest.fixture
def reader(server: Postgres) -> Iterator[HistoryReader]:
    server.query("DROP SCHEMA IF EXISTS floodgate CASCADE")
    made = HistoryReader(PostgresTables(server.url))
    yield made
    asyncio.run(made.close())


@pytest.mark.parametrize("story", contract.STORIES, ids=lambda story: story.__name__)
def test_a_story_of_every_database(story: Callable[..., Any], server: Postgres, reader: HistoryReader) -> None:
    writer = PostgresWriter(server.url, 86400.0)
    story(writer, reader)
    writer.close()


@pytest.mark.parametrize("story", webhook_state_contract.STORIES, ids=lambda story: story.__name__)
def test_a_story_of_the_state_of_webhooks(story: Callable[..., None], server: Postgres) -> None:
    server.query("DROP SCHEMA IF EXISTS floodgate_webhooks CASCADE")
    state = postgres_state(server.url)
    state.open()
    story(state)
    state.close()


def test_an_old_day_is_dropped_unless_mail_of_it_lives(server: Postgres, reader: HistoryReader) -> None:
    now = [NOW]
    writer = PostgresWriter(server.url, 2 * DAY_MS / 1000, clock=lambda: now[0])
    contract.an_old_day_is_dropped_unless_mail_of_it_lives(writer, reader, now)
    writer.close()


def test_no_reader_misses_or_repeats_an_event_while_two_journals_write(server: Postgres, reader: HistoryReader) -> None:
    """Each journal has a lane of its own; a reader follows by cursor meanwhile, and another pages through rows."""
    rounds, many = 25, 40

    def write(lane: Lane, spool: str) -> None:
        writer = PostgresWriter(server.url, 86400.0)
        book = Book(writer, spool)
        for number in range(rounds):
            book.write(lane.entry(*[accepted(a_delivery(), f"{spool}.{number}.{n}@a.test") for n in range(many)]))
        writer.close()

    PostgresWriter(server.url, 86400.0).open()
    journals = [threading.Thread(target=write, args=(Lane(f"{n}.1"), f"s{n}")) for n in range(2)]
    for journal in journals:
        journal.start()
    seen: list[str] = []
    at: Cursor = BEGINNING
    for turn in count():
        if len(seen) >= 2 * rounds * many:
            break
        alive = any(journal.is_alive() for journal in journals)
        page = contract.ask(reader, lambda history, at=at: history.events(at, 33))  # type: ignore[misc]
        seen += [one.event.recipient for one in page.events]
        at = page.next
        if page.at_end or turn % 4 == 0:
            paged = contract.recipients(reader, limit=101, tag="t")
            assert len(set(paged)) == len(paged)
            assert set(seen) <= set(paged) or not page.at_end
        assert alive or page.events or not page.at_end, f"the reader ends with {len(seen)} events"
    assert len(set(seen)) == len(seen)
    for spool in ("s0", "s1"):
        mine = [one for one in seen if one.startswith(spool)]
        assert mine == [f"{spool}.{number}.{n}@a.test" for number in range(rounds) for n in range(many)]
    for journal in journals:
        journal.join()


def test_a_server_that_dies_is_away_and_comes_back(server: Postgres, reader: HistoryReader) -> None:
    writer, lane = PostgresWriter(server.url, 86400.0), Lane()
    book = Book(writer)
    book.write(lane.entry(accepted(a_delivery(), "a@a.test")))
    assert contract.recipients(reader) == ["a@a.test"]
    server.stop(signal.SIGQUIT)
    entry = lane.entry(accepted(a_delivery(), "b@a.test"))
    with pytest.raises(HistoryAway):
        book.writer.write(book.round([entry]))
    with pytest.raises(HistoryAway, match=r"history\.url"):
        contract.recipients(reader)
    server.start()
    book.write(entry)
    assert contract.recipients(reader) == ["b@a.test", "a@a.test"]
    writer.close()
