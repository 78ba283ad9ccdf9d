"""Lists of deliveries: newest first, day by day, each page of what the first one knew."""

import time
from collections.abc import Container, Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection, func, select

from mta.history.candidates import Candidates, Rounds
from mta.history.chunks import Chunks
from mta.history.database import Database
from mta.history.encoding import text
from mta.history.found import Found, first_visits
from mta.history.tables import DAYS, HEAD, LANES, SITES, DayTables
from mta.model.address_keys import plain_address
from mta.model.errors import BadValue
from mta.model.events import Event
from mta.model.standings import numbers_of
from mta.model.status import DeliveryRow
from mta.ports.history import LONGEST_LOOK, MOST_LOOKED_AT, MOST_ROWS, RowFilter, RowPage
from mta.ports.history_writer import DAY_MS

_ABOVE_ALL: Final = 1 << 62


_ANYTHING: Final = RowFilter()


class RowCursor(NamedTuple):
    """Behind the row with the number `n` in the tables of `day`; rounds after batch `head` do not count."""

    head: int
    day: int
    n: int

    def __str__(self) -> str:
        return f"{self.head}-{self.day}-{self.n}"


def parse_cursor(text: str) -> RowCursor:
    """Raises BadValue."""
    try:
        return RowCursor(*map(int, text.split("-")))
    except (ValueError, TypeError):
        raise BadValue("cursor", "is none that an answer gave; leave it out to begin at the newest") from None


class Rows:
    """Blocking calls, from any thread."""

    def __init__(self, database: Database, chunks: Chunks) -> None:
        self._database = database
        self._chunks = chunks

    def page(self, wanted: RowFilter, limit: int, cursor: str) -> RowPage:
        """See ports.history.History.rows."""
        with self._database.control() as control:
            as_of = known_until(control)  # first: a round that is written meanwhile may be left out
            at = parse_cursor(cursor) if cursor else RowCursor(_head(control), _ABOVE_ALL, _ABOVE_ALL)
            days = _days(control, wanted, at.day)
            domains = _domains(control, wanted.site)
        limit = max(1, min(limit, MOST_ROWS))
        rows: list[DeliveryRow] = []
        looked_at, end = 0, time.monotonic() + LONGEST_LOOK
        for day in days:
            with self._database.day(day) as opened:
                if opened is None:
                    continue
                rounds = self._wanted_rounds(wanted, at.head, day)
                candidates = Candidates(*opened, wanted, self._chunks, rounds)
                for looked in candidates.before(at.n if day == at.day else _ABOVE_ALL, 2 * limit):
                    pairs = self._matching(wanted, domains, looked.rows)[: limit - len(rows)]
                    rows += self.with_visits(pairs, *opened)
                    if len(rows) == limit:
                        return RowPage(rows, str(RowCursor(at.head, day, pairs[-1][0].n)), as_of)
                    looked_at += len(looked.rows)
                    if looked_at >= MOST_LOOKED_AT or time.monotonic() > end:
                        return RowPage(rows, str(RowCursor(at.head, day, looked.down_to)), as_of)
        return RowPage(rows, "", as_of)

    @staticmethod
    def with_visits(
        pairs: Sequence[tuple[Found, Event]], connection: Connection, tables: DayTables
    ) -> list[DeliveryRow]:
        """The rows of one day, each with the first visits."""
        visits = first_visits(connection, tables, [found for found, _ in pairs])
        return [
            DeliveryRow(found.id, event, *visits.get(found.id, ())) if visits else DeliveryRow(found.id, event)
            for found, event in pairs
        ]

    def newest_events(self, found: Sequence[Found]) -> list[tuple[Found, Event]]:
        """Each with the event that says how it stands."""
        events = self._chunks.bare_events([row.last for row in found])
        pairs = []
        for row in found:
            known = events.get(row.last)
            if known is not None and known.id == row.id:
                pairs.append((row, known))
            elif (other := self._other_event(row)) is not None:
                pairs.append((row, other))
        return pairs

    def _other_event(self, row: Found) -> Event | None:
        """The newest event of a row whose own is in a round that was interrupted."""
        numbers = {row.n, *(int(n) for n in row.more.split(",") if n)}
        events = [event for event in self._chunks.bare_events(numbers).values() if event.id == row.id]
        return max(events, key=lambda event: event.seq, default=None)

    def _wanted_rounds(self, wanted: RowFilter, head: int, day: int) -> Rounds:
        until = wanted.accepted_until or _ABOVE_ALL

        def those(rounds: set[int]) -> set[int]:
            return {
                round_
                for round_, batch in self._chunks.batches(rounds).items()
                if batch.number <= head and (until is _ABOVE_ALL or batch.least_new(day) < until)
            }

        return those

    def _matching(
        self, wanted: RowFilter, domains: Container[str], found: Sequence[Found]
    ) -> list[tuple[Found, Event]]:
        standings = numbers_of(wanted.statuses)
        if standings or wanted.accepted_from is not None or wanted.accepted_until is not None:
            found = [row for row in found if (not standings or row.standing in standings) and _in_time(row.id, wanted)]
        pairs = self.newest_events(found)
        return pairs if wanted == _ANYTHING else [pair for pair in pairs if matches(pair[1], wanted, domains)]


def matches(event: Event, wanted: RowFilter, domains: Container[str]) -> bool:
    """The conditions that no posting answers; `domains` are those of the site that is wanted."""
    return (
        (wanted.recipient is None or plain_address(event.recipient) == plain_address(wanted.recipient))
        and (wanted.rule is None or (event.forced is not None and event.forced.rule == wanted.rule))
        and (wanted.category is None or event.category == wanted.category)
        and (wanted.uncertain is None or event.uncertain is wanted.uncertain)
        and (wanted.site is None or text(event.domain) in domains)
    )


def known_until(control: Connection) -> int:
    """Unix ms up to which every event is there, 0 = not known: the least of the newest epoch of each lane."""
    newest: dict[str, tuple[int, int]] = {}
    for source, known in control.execute(select(LANES.c.source, LANES.c.known)):
        lane, _, epoch = source.rpartition(".")
        newest[lane] = max(newest.get(lane, (0, 0)), (int(epoch), known))
    return min((known for _, known in newest.values()), default=0)


def _head(control: Connection) -> int:
    return int(control.execute(select(func.coalesce(func.max(HEAD.c.number), 0))).scalar_one())


def _days(control: Connection, wanted: RowFilter, first: int) -> list[int]:
    query = select(DAYS.c.day).where(DAYS.c.day <= min(first, 1 << 30)).order_by(DAYS.c.day.desc())
    if wanted.accepted_from is not None:
        query = query.where(DAYS.c.day >= wanted.accepted_from // DAY_MS)
    if wanted.accepted_until is not None:
        query = query.where(DAYS.c.day <= wanted.accepted_until // DAY_MS)
    return list(control.execute(query).scalars())


def _domains(control: Connection, site: str | None) -> Container[str]:
    """Those of the site; nothing where no site is wanted."""
    return (
        () if site is None else set(control.execute(select(SITES.c.domain).where(SITES.c.site == text(site))).scalars())
    )


def _in_time(id_: bytes, wanted: RowFilter) -> bool:
    ms = int.from_bytes(id_[:6], "big")
    return (wanted.accepted_from is None or ms >= wanted.accepted_from) and (
        wanted.accepted_until is None or ms < wanted.accepted_until
    )
