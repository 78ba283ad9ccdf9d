"""The deliveries of one day that may match a filter, newest first, by the index that leaves the fewest of them."""

import heapq
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

from sqlalchemy import Connection, func, select

from mta.history.chunks import Chunks
from mta.history.encoding import NAMED, number, places_of, text
from mta.history.found import Found, by_ids, by_numbers, newest_before, numbers_at
from mta.history.layout import Kind
from mta.history.tables import DayTables
from mta.model.address_keys import plain_address, recipient_key
from mta.model.standings import EVERY, PLAIN, numbers_of
from mta.ports.history import RowFilter
from mta.ports.history_writer import PLACE_BITS

_PAGE: Final = 2000  # rows read at once
_LEAST: Final = 50  # rows
_ROUNDS: Final = 32  # read at first; each page of postings takes twice as many as the one before, or half as many
_MOST_ROUNDS: Final = 1024
_MOST_NUMBERS: Final = 50_000  # of deliveries in a page of postings, about: rounds of a busy hour have thousands each
_AT_ONCE: Final = 500  # values in one IN
_SAMPLE: Final = 2000  # postings counted to find the rarer condition; a fact with fewer in a day is rare
_PLACE_BYTES: Final = 4
_ABOVE_ALL: Final = 1 << 62
_PLACE: Final = (1 << PLACE_BITS) - 1

Condition = tuple[int, str]  # kind of posting, value
Rounds = Callable[[set[int]], set[int]]  # those of these rounds whose new deliveries are wanted


class Looked(NamedTuple):
    """Rows that may match, by falling number. Of all deliveries with numbers from `down_to` on there is no other."""

    rows: Sequence[Found]
    down_to: int


class Candidates:
    """The deliveries in the tables of one day that may match the filter."""

    def __init__(
        self, connection: Connection, tables: DayTables, wanted: RowFilter, chunks: Chunks, rounds: Rounds
    ) -> None:
        self._connection = connection
        self._tables = tables
        self._wanted = wanted
        self._chunks = chunks
        self._rounds = rounds
        self._conditions = _conditions(wanted)
        self._named = _named(wanted)
        numbers = numbers_of(wanted.statuses)
        if self._named:  # a plain standing has none of these
            numbers = frozenset(number for number in numbers or EVERY if number > PLAIN)
        self._standings = sorted(numbers) if numbers and min(numbers) > PLAIN else []

    def before(self, n: int, most: int) -> Iterator[Looked]:
        """Those with numbers less than `n`, in pages of about `most` rows, that may be empty."""
        most = max(_LEAST, min(_PAGE, most))
        if self._wanted.recipient is not None:
            yield from self._in_pages(self._of_recipient(n), most)
        elif (events := self._rare_events()) is not None:
            yield from self._in_pages(self._of_events(events, n), most)
        elif self._conditions and not (self._standings and self._standings_are_rarer()):
            yield from self._in_pages(self._by_postings(n), most)
        elif self._standings:
            yield from self._in_pages(self._by_standing(n), most)
        else:
            yield from self._plain(n, most)

    def _plain(self, n: int, most: int) -> Iterator[Looked]:
        while True:
            rows = newest_before(self._connection, self._tables, n, most)
            if not rows:
                return
            n, most = rows[-1].n, min(2 * most, _PAGE)
            there = self._rounds({row.n >> PLACE_BITS for row in rows})
            yield Looked([row for row in rows if row.n >> PLACE_BITS in there], n)

    def _in_pages(self, pages: Iterable[tuple[Sequence[int], int]], most: int) -> Iterator[Looked]:
        """The rows of pages of numbers that fall, each with the number down to which it goes."""
        for numbers, down_to in pages:
            there = self._rounds({n >> PLACE_BITS for n in numbers})
            wanted = [n for n in numbers if n >> PLACE_BITS in there]
            at = 0
            while some := wanted[at : at + most]:
                at, most = at + len(some), min(2 * most, _PAGE)
                rows = self._with_names(by_numbers(self._connection, self._tables, some))
                yield Looked(rows, some[-1])
            yield Looked((), down_to)

    # By the indexes of deliveries

    def _of_recipient(self, n: int) -> Iterator[tuple[Sequence[int], int]]:
        column, key = self._tables.deliveries.c, recipient_key(self._wanted.recipient or "")
        while True:
            query = select(column.n).where(column.recipient == key, column.n < n).order_by(column.n.desc())
            page = list(self._connection.execute(query.limit(_PAGE)).scalars())
            if not page:
                return
            n = page[-1]
            yield self._with_postings(page), n

    def _by_standing(self, n: int) -> Iterator[tuple[Sequence[int], int]]:
        """Each standing has its own run of the index, in order; together they would have to be sorted for each page."""
        numbers = heapq.merge(*(self._at_standing(standing, n) for standing in self._standings), reverse=True)
        while page := list(islice(numbers, _PAGE)):
            yield self._with_postings(page), page[-1]

    def _at_standing(self, standing: int, n: int) -> Iterator[int]:
        while page := numbers_at(self._connection, self._tables, standing, n, _PAGE):
            yield from page
            n = page[-1]

    # By postings

    def _by_postings(self, n: int) -> Iterator[tuple[Sequence[int], int]]:
        """Deliveries in the postings of all conditions, round by round."""
        first, *others = sorted(self._conditions, key=self._sample)
        before, at_once = (n - 1 >> PLACE_BITS) + 1, _ROUNDS
        while True:
            rounds = self._postings(first, before, 0, at_once)
            if not rounds:
                return
            before = min(rounds)
            many = sum(map(len, rounds.values())) > _MOST_NUMBERS // 2
            at_once = max(1, at_once // 2) if many else min(2 * at_once, _MOST_ROUNDS)
            for other in others:
                also = self._postings(other, max(rounds) + 1, before, 0)
                rounds = {at: _in_both(places, also[at]) for at, places in rounds.items() if at in also}
            found = [round_ << PLACE_BITS | place for round_, places in rounds.items() for place in places]
            found.sort(reverse=True)
            if found and found[0] >= n:
                found = [one for one in found if one < n]
            yield found, number(before, 0)

    def _with_postings(self, page: Sequence[int]) -> Sequence[int]:
        """Those that are in the postings of all conditions."""
        for condition in self._conditions:
            there = self._there(condition, {n >> PLACE_BITS for n in page})
            page = [n for n in page if n & _PLACE in there.get(n >> PLACE_BITS, ())]
        return page

    def _with_names(self, rows: Sequence[Found]) -> Sequence[Found]:
        """Those whose newest event has the facts that are wanted, or may have, as long as its round is not written."""
        for condition in self._named:
            rounds = {row.last >> PLACE_BITS for row in rows}
            there, written = self._there(condition, rounds), self._chunks.batches(rounds)
            rows = [
                row
                for row in rows
                if row.last & _PLACE in there.get(row.last >> PLACE_BITS, ()) or row.last >> PLACE_BITS not in written
            ]
        return rows

    def _there(self, condition: Condition, rounds: set[int]) -> dict[int, set[int]]:
        """Round -> places."""
        there: dict[int, set[int]] = {}
        wanted = sorted(rounds)
        for at in range(0, len(wanted), _AT_ONCE):
            some = wanted[at : at + _AT_ONCE]
            found = self._postings(condition, some[-1] + 1, some[0], 0, some)
            there |= {round_: set(places) for round_, places in found.items()}
        return there

    def _postings(
        self, condition: Condition, before: int, least: int, most: int, only: Sequence[int] = ()
    ) -> "dict[int, array[int]]":
        """Round -> places, rising."""
        postings, (kind, value) = self._tables.postings, condition
        column = postings.c.round
        query = select(column, postings.c.places).where(
            postings.c.kind == kind, postings.c.value == value, column < before, column >= least
        )
        if only:
            query = query.where(column.in_(only))
        if most:
            query = query.order_by(column.desc()).limit(most)
        return {round_: places_of(places) for round_, places in self._connection.execute(query)}

    # By events

    def _rare_events(self) -> list[int] | None:
        """Numbers of the events of the rarest fact, None = no fact is wanted, or the day has too many of it."""
        sizes = {condition: self._sample(condition) for condition in self._named}
        rarest = min(sizes, key=sizes.__getitem__, default=None)
        if rarest is None or sizes[rarest] >= _PLACE_BYTES * _SAMPLE:
            return None
        rounds = self._postings(rarest, _ABOVE_ALL, 0, 0)
        return [number(round_, place) for round_, places in rounds.items() for place in places]

    def _of_events(self, events: Sequence[int], n: int) -> Iterator[tuple[Sequence[int], int]]:
        """Of deliveries that have one of these events."""
        ids = {event.id for event in self._chunks.bare_events(events).values() if event.id is not None}
        numbers = sorted((one for one in by_ids(self._connection, self._tables, ids) if one < n), reverse=True)
        yield self._with_postings(numbers), 0

    # Estimates

    def _sample(self, condition: Condition) -> int:
        """Bytes in the newest postings of the condition."""
        postings, (kind, value) = self._tables.postings, condition
        newest = (
            select(func.length(postings.c.places).label("size"))
            .where(postings.c.kind == kind, postings.c.value == value)
            .order_by(postings.c.round.desc())
            .limit(_SAMPLE)
            .subquery()
        )
        return int(self._connection.execute(select(func.coalesce(func.sum(newest.c.size), 0))).scalar_one())

    def _standings_are_rarer(self) -> bool:
        """Whether fewer deliveries have one of the standings than fulfil the rarest condition."""
        deliveries = self._tables.deliveries
        some = (
            select(deliveries.c.n)
            .where(deliveries.c.standing.in_(self._standings), deliveries.c.standing > PLAIN)
            .limit(100 * _SAMPLE)
            .subquery()
        )
        standings = int(self._connection.execute(select(func.count()).select_from(some)).scalar_one())
        return _PLACE_BYTES * standings < min(map(self._sample, self._conditions))


def _in_both(one: "array[int]", other: "array[int]") -> "array[int]":
    return array("I", sorted({*one} & {*other}))


def _conditions(wanted: RowFilter) -> Sequence[Condition]:
    given = (
        (Kind.TAG, wanted.tag),
        (Kind.SENDER, plain_address(wanted.sender) if wanted.sender is not None else None),
        (Kind.DOMAIN, wanted.domain),
        (Kind.POOL, wanted.pool),
        (Kind.TENANT, wanted.tenant),
    )
    return [(kind, text(value)) for kind, value in given if value is not None]


def _named(wanted: RowFilter) -> Sequence[Condition]:
    given = {"rule": wanted.rule, "category": wanted.category, "uncertain": "" if wanted.uncertain else None}
    return [(NAMED[field], text(value)) for field, value in given.items() if value is not None]
