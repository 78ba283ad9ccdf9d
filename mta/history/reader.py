"""Reading history: each call is carried out by a thread, in transactions of its own."""

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from mta.history.chunks import Chunks, type_bytes
from mta.history.database import Database
from mta.history.encoding import number, round_and_place, tag_counters_of, text
from mta.history.found import Found, columns
from mta.history.orders import Orders
from mta.history.rows import Rows, known_until
from mta.history.tables import ABOUT, BATCHES, DAYS, HEAD, HOURS, SITES, STATEMENTS, TAG_COUNTERS
from mta.history.translated import translated
from mta.model.events import EventType
from mta.model.ids import DeliveryId, MessageId, made_at, message_of
from mta.model.status import DeliveryRow
from mta.ports.audit import NotedEvent
from mta.ports.history import Behind, Coverage, Cursor, EventPage, HourCount, KeptEvent, RowFilter, RowPage
from mta.ports.history_writer import DAY_MS, HOUR_MS
from mta.ports.tag_counters import TagCounters

_THREADS: Final = 4
_STORED: Final = ("pool", "domain", "tenant", "category")  # columns of the hours
_DIMENSIONS: Final = (*_STORED, "site")
_NAMES: Final = 500  # in one IN
_BATCHES: Final = 64  # read at once by a reader of events

_P = ParamSpec("_P")
_T = TypeVar("_T")


class HistoryReader:
    """Fulfils ports.history.History."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._chunks = Chunks(database)
        self._rows = Rows(database, self._chunks)
        self._orders = Orders(database, self._chunks)
        self._threads = ThreadPoolExecutor(_THREADS, "history")

    async def coverage(self) -> Coverage:
        return await self._ask(self._coverage)

    async def rows(self, wanted: RowFilter, limit: int, cursor: str = "") -> RowPage:
        return await self._ask(self._rows.page, wanted, limit, cursor)

    async def row(self, delivery: DeliveryId) -> DeliveryRow | None:
        rows = await self.message(MessageId(message_of(delivery)))
        return next((row for row in rows if row.id == delivery), None)

    async def message(self, message: MessageId) -> list[DeliveryRow]:
        return await self._ask(self._message, message)

    async def events_of(self, message: MessageId) -> list[KeptEvent]:
        return await self._ask(self._events_of, message)

    async def events(self, after: Cursor, most: int, without: Collection[EventType] = ()) -> EventPage:
        return await self._ask(self._events, after, most, without)

    async def events_at(self, places: Sequence[Cursor]) -> dict[Cursor, KeptEvent]:
        return await self._ask(self._events_at, places)

    async def behind(self, after: Cursor) -> Behind:
        return await self._ask(self._behind, after)

    async def newest(self) -> Cursor:
        return Cursor((await self.coverage()).head + 1, 0)

    async def at(self, time: int) -> Cursor:
        return await self._ask(self._at, time)

    async def counts(
        self, by: Sequence[str], interval: int, from_: int, until: int, tenant: str | None = None
    ) -> list[HourCount]:
        return await self._ask(self._counts, by, interval, from_, until, tenant)

    async def sites(self, domains: Iterable[str]) -> dict[str, str]:
        return await self._ask(self._sites, list(domains))

    async def tag_counters(self, tag: str, tenant: str = "") -> Sequence[TagCounters]:
        return await self._ask(self._tag_counters, tag, tenant)

    async def rule_statement(self, rule_id: str) -> str:
        return await self._ask(self._rule_statement, rule_id)

    async def orders(self, below: str, most: int) -> list[NotedEvent]:
        return await self._ask(self._orders.read, below, most)

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._database.close()

    async def _ask(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        def ask() -> _T:
            with translated(self._database.where, SQLAlchemyError):
                self._chunks.forget_erased()
                return call(*args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._threads, ask)

    # On a thread

    def _coverage(self) -> Coverage:
        with self._database.control() as control:
            begun = control.execute(select(ABOUT.c.value).where(ABOUT.c.name == "begun")).scalar()
            oldest = control.execute(select(func.min(DAYS.c.day))).scalar()
            head = control.execute(select(func.max(HEAD.c.number))).scalar()
            return Coverage(int(begun or 0), (oldest or 0) * DAY_MS, known_until(control), head or 0, ())

    def _found(self, message: MessageId) -> list[Found]:
        with self._database.day(_day_of(message)) as opened:
            if opened is None:
                return []
            connection, tables = opened
            id_ = tables.deliveries.c.id
            query = select(*columns(tables)).where(id_ > message, id_ <= message + b"\xff\xff").order_by(id_)  # type: ignore[call-overload]
            rows = [Found(*row) for row in connection.execute(query)]
        there = self._chunks.batches({round_and_place(row.n)[0] for row in rows})
        return [row for row in rows if round_and_place(row.n)[0] in there]

    def _message(self, message: MessageId) -> list[DeliveryRow]:
        pairs = self._rows.newest_events(self._found(message))
        with self._database.day(_day_of(message)) as opened:
            return self._rows.with_visits(pairs, *opened) if opened is not None else []

    def _events_of(self, message: MessageId) -> list[KeptEvent]:
        found = self._found(message)
        numbers = {n for row in found for n in (row.n, row.last, *(int(n) for n in row.more.split(",") if n))}
        events = self._chunks.events(numbers)
        batches = self._chunks.batches({round_and_place(n)[0] for n in events})
        kept = []
        for n, (event_id, event) in events.items():
            round_, place = round_and_place(n)
            if event.id is not None and event.id[:16] == message:
                kept.append(KeptEvent(Cursor(batches[round_].number, place), event_id, event))
        return sorted(kept, key=lambda one: one.at)

    def _events(self, after: Cursor, most: int, without: Iterable[EventType]) -> EventPage:
        found: list[KeptEvent] = []
        at, missing, passed_over = after, 0, type_bytes(without)
        batches = self._chunks.following(max(1, after.batch), _BATCHES)
        for batch in batches:
            number, least = batch.number, after.place if batch.number == after.batch else 0
            chunks = batch.chunks()
            passed = bisect_right(chunks, least, key=lambda chunk: chunk[1])
            for first, end, chunk in self._chunks.of_batch(batch, chunks[max(0, passed - 1) :]):
                begin = max(first, least)
                if chunk is None:
                    missing += end - begin
                    continue
                some, behind = chunk.span(number, first, begin - first, most - len(found), passed_over)
                found += some
                if len(found) == most and first + behind < end:
                    return EventPage(found, Cursor(number, first + behind), False, missing)
            at = Cursor(number + 1, 0)
            if len(found) == most:
                return EventPage(found, at, False, missing)
        return EventPage(found, at, len(batches) < _BATCHES, missing)

    def _events_at(self, places: Sequence[Cursor]) -> dict[Cursor, KeptEvent]:
        rounds = self._chunks.rounds_of({at.batch for at in places})
        numbers = {number(rounds[at.batch], at.place): at for at in places if at.batch in rounds}
        return {numbers[n]: KeptEvent(numbers[n], *found) for n, found in self._chunks.events(numbers).items()}

    def _behind(self, after: Cursor) -> Behind:
        query = select(func.sum(BATCHES.c.events), func.min(BATCHES.c.written_at)).where(
            BATCHES.c.number >= after.batch
        )
        with self._database.control() as control:
            events, oldest = control.execute(query).one()
        return Behind(max(0, int(events or 0) - after.place), int(oldest or 0))

    def _at(self, time: int) -> Cursor:
        query = select(func.min(BATCHES.c.number)).where(BATCHES.c.written_at >= time)
        with self._database.control() as control:
            batch = control.execute(query).scalar()
            if batch is None:
                batch = (control.execute(select(func.max(HEAD.c.number))).scalar() or 0) + 1
        return Cursor(batch, 0)

    def _counts(self, by: Sequence[str], interval: int, from_: int, until: int, tenant: str | None) -> list[HourCount]:
        hours = interval // HOUR_MS
        begins = HOURS.c.hour - HOURS.c.hour % hours if hours else func.min(HOURS.c.hour)
        names = [name for name in _DIMENSIONS if name in by]
        columns = {name: HOURS.c[name] for name in _STORED} | {"site": func.coalesce(SITES.c.site, "").label("site")}
        chosen = [columns[name] for name in names]
        query = (
            select(begins.label("begins"), HOURS.c.kind, func.sum(HOURS.c.many).label("many"), *chosen)
            .select_from(HOURS.outerjoin(SITES, HOURS.c.domain == SITES.c.domain) if "site" in by else HOURS)
            .where(HOURS.c.hour >= from_ // HOUR_MS, HOURS.c.hour < -(-until // HOUR_MS))
            .group_by(*((begins,) if hours else ()), HOURS.c.kind, *chosen)
        )
        if tenant is not None:
            query = query.where(HOURS.c.tenant == tenant)
        with self._database.control() as control:
            rows = control.execute(query.order_by("begins", HOURS.c.kind, *chosen)).mappings().all()
        return [
            HourCount(
                begins=row["begins"] * HOUR_MS,
                kind=row["kind"],
                many=int(row["many"]),
                **{name: row[name] if name in names else "" for name in _DIMENSIONS},
            )
            for row in rows
        ]

    def _sites(self, domains: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        with self._database.control() as control:
            for at in range(0, len(domains), _NAMES):
                some = {text(domain): domain for domain in domains[at : at + _NAMES]}
                query = select(SITES.c.domain, SITES.c.site).where(SITES.c.domain.in_(some))
                found |= {some[domain]: site for domain, site in control.execute(query)}
        return found

    def _rule_statement(self, rule_id: str) -> str:
        query = select(STATEMENTS.c.statement).where(STATEMENTS.c.rule == rule_id)
        with self._database.control() as control:
            return control.execute(query).scalar() or ""

    def _tag_counters(self, tag: str, tenant: str) -> list[TagCounters]:
        stored = TAG_COUNTERS.c
        query = select(stored.lane, stored.epoch, stored.field, stored.many)
        query = query.where(stored.tag == text(tag), stored.tenant == tenant)
        with self._database.control() as control:
            return tag_counters_of(tag, tenant, map(tuple, control.execute(query)))


def _day_of(message: MessageId) -> int:
    return made_at(message) // DAY_MS
