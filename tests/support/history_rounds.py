"""Rounds of history made by hand: streams of events, and the writer that takes them."""

from collections.abc import Mapping, Sequence

import msgspec

from mta.journal.decoding import Decoder
from mta.journal.gathering import Gathering
from mta.model.entries import Entry, framed
from mta.model.events import Event, EventType
from mta.model.ids import DeliveryId, delivery_id, new_message_id
from mta.ports.history_writer import HistoryWriter, Position, Round
from mta.ports.spool import Place, Sourced

NOW = 1_800_000_000_000  # Unix ms, at 08:00
_encode = msgspec.msgpack.Encoder().encode


def a_delivery(at: int = NOW) -> DeliveryId:
    return delivery_id(new_message_id(0, at), 1)


def accepted(delivery: DeliveryId, to: str, at: int = NOW, **more: object) -> Event:
    fields = {"sender": "from@x.test", "pool": "p", "domain": to.rpartition("@")[2], "tags": ("t",), "size": 5} | more
    return Event(EventType.RECEPTION, at, delivery, "n1", recipient=to, seq=1, **fields)  # type: ignore[arg-type]


def later(event: Event, kind: EventType, after: int = 10, **more: object) -> Event:
    """The next event of the same delivery."""
    seq = event.seq + 1
    return msgspec.structs.replace(
        event, type=kind, time=event.time + after, seq=seq, queued_at=event.queued_at or event.time, **more
    )


class Lane:
    """The stream of one lane."""

    def __init__(self, source: str = "0.1", at: int = NOW) -> None:
        self.source = source
        self._at = at
        self._count = 0

    def entry(self, *events: Event) -> Sourced:
        self._count += 1
        return self.source, Entry(f"{self._at}-{self._count}", framed([_encode(event) for event in events]))


class Book:
    """Writes rounds, as the journal of one spool does."""

    def __init__(self, writer: HistoryWriter, spool: str = "s1") -> None:
        self.writer = writer
        self.spool = spool
        writer.open()
        self.positions: Mapping[str, Position] = writer.positions()
        self._place = writer.place(spool) or Place(1, 0)

    def round(self, entries: Sequence[Sourced], known: int = 0) -> Round:
        gathering = Gathering(self.spool, self.positions)
        for piece in Decoder().pieces(entries):
            gathering.add(piece)
        self._place = Place(1, self._place.offset + len(entries))
        round_ = gathering.finish(self._place)
        if known:
            round_.known = dict.fromkeys(gathering.positions, known)
        self._gathered = gathering.positions
        return round_

    def write(self, *entries: Sourced, known: int = 0) -> None:
        self.writer.write(self.round(entries, known))
        self.positions = self._gathered
