"""Erasure in history: an address, the replies to its mail and the metadata of its mail are replaced."""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from mta.history.chunks import Chunks
from mta.history.database import Database
from mta.history.encoding import chunk_data, entries_of, number, places_of, round_and_place
from mta.history.found import Found, columns
from mta.history.layout import Kind
from mta.history.tables import ABOUT, DAYS, REVISION, DayTables
from mta.history.translated import translated
from mta.model.address_keys import plain_address, recipient_key
from mta.model.entries import Entry, framed
from mta.model.entry_events import decoded
from mta.model.events import Event
from mta.ports.history_orders import Erased
from mta.ports.spool import Sourced

_AT_ONCE: Final = 500

_encode = msgspec.msgpack.Encoder().encode


class Eraser:
    """Fulfils ports.history_orders.HistoryEraser."""

    def __init__(self, database: Database) -> None:
        """`database` may be written to."""
        self._database = database

    def days(self) -> Sequence[int]:
        with translated(self._database.where, SQLAlchemyError), self._database.control() as control:
            return list(control.execute(select(DAYS.c.day).order_by(DAYS.c.day)).scalars())

    def erase(self, day: int, address: str, instead: str) -> Erased:
        with translated(self._database.where, SQLAlchemyError), self._database.day(day) as opened:
            if opened is None:
                return Erased(0, 0)
            connection, tables = opened
            # Events first: an erasure that is interrupted finds the rows again.
            rows = self._rows(connection, tables, address)
            connection.rollback()
            events = self._erase_events(rows, address, instead)
            if events:
                self._erase_keys(connection, tables, [row.n for row in rows], address, instead)
                connection.commit()
                self._raise_revision()
            return Erased(len(rows) if events else 0, events)

    def close(self) -> None:
        self._database.close()

    def _rows(self, connection: Connection, tables: DayTables, address: str) -> list[Found]:
        deliveries, postings = tables.deliveries, tables.postings
        to = select(*columns(tables)).where(deliveries.c.recipient == recipient_key(address))  # type: ignore[call-overload]
        rows = [Found(*row) for row in connection.execute(to)]
        sent = select(postings.c.round, postings.c.places).where(
            postings.c.kind == Kind.SENDER, postings.c.value == plain_address(address)
        )
        numbers = [number(round_, place) for round_, places in connection.execute(sent) for place in places_of(places)]
        for at in range(0, len(numbers), _AT_ONCE):
            some = select(*columns(tables)).where(deliveries.c.n.in_(numbers[at : at + _AT_ONCE]))  # type: ignore[call-overload]
            rows += [Found(*row) for row in connection.execute(some)]
        return list({row.n: row for row in rows}.values())

    def _erase_events(self, rows: Iterable[Found], address: str, instead: str) -> int:
        numbers = {n for row in rows for n in (row.n, row.last, *(int(n) for n in row.more.split(",") if n))}
        by_round: dict[int, list[int]] = {}
        for n in numbers:
            round_, place = round_and_place(n)
            by_round.setdefault(round_, []).append(place)
        places: dict[int, set[tuple[int, int]]] = {}  # day -> (round, first place)
        for round_, batch in Chunks(self._database).batches(by_round).items():
            for day, first, _ in batch.by_chunk(by_round[round_]):
                places.setdefault(day, set()).add((round_, first))
        changed = 0
        for day, chunks in places.items():
            with self._database.day(day) as opened:
                if opened is not None:
                    connection, tables = opened
                    changed += sum(self._erase_chunk(connection, tables, *one, address, instead) for one in chunks)
                    connection.commit()
        return changed

    def _erase_chunk(
        self, connection: Connection, tables: DayTables, round_: int, first: int, address: str, instead: str
    ) -> int:
        chunks = tables.chunks
        here = (chunks.c.round == round_) & (chunks.c.first == first)
        data = connection.execute(select(chunks.c.data).where(here)).scalar()
        if data is None:
            return 0
        changed = 0
        entries: list[Sourced] = []
        for source, entry in entries_of(data):
            raws = []
            for raw in entry.events:
                event = decoded(source, entry.id, raw)
                forgets = _concerns(event, address)
                changed += forgets
                raws.append(_encode(_without(event, address, instead)) if forgets else raw)
            entries.append((source, Entry(entry.id, framed(raws))))
        if changed:
            connection.execute(update(chunks).where(here).values(data=chunk_data(entries)))
        return changed

    def _erase_keys(
        self, connection: Connection, tables: DayTables, numbers: Sequence[int], address: str, instead: str
    ) -> None:
        deliveries, postings = tables.deliveries, tables.postings
        for at in range(0, len(numbers), _AT_ONCE):
            connection.execute(
                update(deliveries)
                .where(
                    deliveries.c.n.in_(numbers[at : at + _AT_ONCE]), deliveries.c.recipient == recipient_key(address)
                )
                .values(recipient=recipient_key(instead))
            )
        here = (postings.c.kind == Kind.SENDER) & (postings.c.value == plain_address(address))
        moved = [
            {"kind": Kind.SENDER, "value": instead, "round": round_, "places": places}
            for round_, places in connection.execute(select(postings.c.round, postings.c.places).where(here))
        ]
        if moved:
            connection.execute(delete(postings).where(here))
            connection.execute(insert(postings), moved)

    def _raise_revision(self) -> None:
        with self._database.control() as control:
            here = ABOUT.c.name == REVISION
            known = control.execute(select(ABOUT.c.value).where(here)).scalar()
            if known is None:
                control.execute(insert(ABOUT).values(name=REVISION, value="1"))
            else:
                control.execute(update(ABOUT).where(here).values(value=str(int(known) + 1)))
            control.commit()


def _concerns(event: Event, address: str) -> bool:
    return event.id is not None and plain_address(address) in (
        plain_address(event.recipient),
        plain_address(event.sender or ""),
    )


def _without(event: Event, address: str, instead: str) -> Event:
    plain = plain_address(address)
    return msgspec.structs.replace(
        event,
        recipient=instead if plain_address(event.recipient) == plain else event.recipient,
        sender=instead if event.sender is not None and plain_address(event.sender) == plain else event.sender,
        text=instead if event.text else "",
        dialogue=(),
        properties={"forgotten": instead} if event.properties else None,
    )
