"""The deliveries of one day that may match a filter, newest first, found by the index that says most."""

from collections.abc import Iterator, Sequence
from typing import Final

from sqlalchemy import Connection, func, select

from mta.history.encoding import number, places_of, text
from mta.history.layout import Kind
from mta.history.tables import DayTables
from mta.model.address_keys import plain_address, recipient_key
from mta.model.standings import EVERY, PLAIN, numbers_of
from mta.ports.history import RowFilter
from mta.ports.history_writer import PLACE_BITS

_PAGE: Final = 2000  # numbers of an index read at once
_ROUNDS: Final = 32
_AT_ONCE: Final = 500  # values in one IN
_SAMPLE: Final = 2000  # postings counted to find the rarer condition


class Candidates:
    """Of one day."""

    def __init__(self, connection: Connection, tables: DayTables, wanted: RowFilter) -> None:
        self._connection = connection
        self._tables = tables
        self._wanted = wanted
        self._conditions = _conditions(wanted)
        numbers = numbers_of(wanted.statuses)
        if wanted.rule is not None or wanted.category is not None or wanted.uncertain:
            # A plain standing has none of these.
            numbers = frozenset(number for number in numbers or EVERY if number > PLAIN)
        self._standings = sorted(numbers) if numbers and min(numbers) > PLAIN else []

    def before(self, n: int) -> Iterator[list[int]]:
        """Numbers less than `n`, falling, in pages that may be empty."""
        deliveries = self._tables.deliveries
        if self._wanted.recipient is not None:
            yield from self._by_index(n, deliveries.c.recipient == recipient_key(self._wanted.recipient))
        elif self._conditions and not (self._standings and self._are_common()):
            yield from self._by_postings(n)
        elif self._standings:
            yield from self._by_index(n, deliveries.c.standing.in_(self._standings), deliveries.c.standing > PLAIN)
        else:
            yield from self._by_index(n)

    def _by_index(self, n: int, *conditions: object) -> Iterator[list[int]]:
        column = self._tables.deliveries.c.n
        while True:
            query = select(column).where(column < n, *conditions).order_by(column.desc()).limit(_PAGE)  # type: ignore[arg-type]
            page = list(self._connection.execute(query).scalars().all())
            if page:
                yield self._with_postings(page)
                n = page[-1]
            if len(page) < _PAGE:
                return

    def _with_postings(self, page: list[int]) -> list[int]:
        """Those that are in the postings of all conditions."""
        rounds = sorted({n >> PLACE_BITS for n in page})
        for condition in self._conditions:
            there: dict[int, set[int]] = {}
            for at in range(0, len(rounds), _AT_ONCE):
                some = rounds[at : at + _AT_ONCE]
                there |= self._postings(condition, some[-1] + 1, some[0], 0, some)
            page = [n for n in page if (n & (1 << PLACE_BITS) - 1) in there.get(n >> PLACE_BITS, ())]
        return page

    def _by_postings(self, n: int) -> Iterator[list[int]]:
        """Deliveries in the postings of all conditions, round by round."""
        first, *others = sorted(self._conditions, key=self._sample)
        before = (n >> PLACE_BITS) + 1
        while True:
            rounds = self._postings(first, before, 0, _ROUNDS)
            if not rounds:
                return
            before = min(rounds)
            for other in others:
                also = self._postings(other, max(rounds) + 1, before, 0)
                rounds = {round_: places & also[round_] for round_, places in rounds.items() if round_ in also}
            found = sorted(
                (
                    number(round_, place)
                    for round_, places in rounds.items()
                    for place in places
                    if number(round_, place) < n
                ),
                reverse=True,
            )
            if found:
                yield found

    def _postings(
        self, condition: tuple[int, str], before: int, least: int, most: int, only: Sequence[int] = ()
    ) -> dict[int, set[int]]:
        """Round -> places."""
        postings, (kind, value) = self._tables.postings, condition
        column = postings.c.round
        query = select(column, postings.c.places).where(
            postings.c.kind == kind, postings.c.value == value, column < before, column >= least
        )
        if only:
            query = query.where(column.in_(only))
        if most:
            query = query.order_by(column.desc()).limit(most)
        return {round_: set(places_of(places)) for round_, places in self._connection.execute(query)}

    def _sample(self, condition: tuple[int, str]) -> int:
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

    def _are_common(self) -> bool:
        """The rarest condition holds for more deliveries than the standings do."""
        deliveries = self._tables.deliveries
        some = (
            select(deliveries.c.n)
            .where(deliveries.c.standing.in_(self._standings), deliveries.c.standing > PLAIN)
            .limit(100 * _SAMPLE)
            .subquery()
        )
        standings = int(self._connection.execute(select(func.count()).select_from(some)).scalar_one())
        return 4 * standings < min(map(self._sample, self._conditions))


def _conditions(wanted: RowFilter) -> Sequence[tuple[int, str]]:
    given = (
        (Kind.TAG, wanted.tag),
        (Kind.SENDER, plain_address(wanted.sender) if wanted.sender is not None else None),
        (Kind.DOMAIN, wanted.domain),
        (Kind.POOL, wanted.pool),
        (Kind.TENANT, wanted.tenant),
    )
    return [(kind, text(value)) for kind, value in given if value is not None]
