"""A round of history, gathered from the pieces of the spool: what one transaction writes, without event objects."""

from collections.abc import Mapping, Sequence
from typing import Final

from mta.journal.decoding import Piece
from mta.model.address_keys import recipient_key
from mta.model.entries import is_link, order_of
from mta.model.entry_events import RULES_SOURCE
from mta.model.events import Event, EventType
from mta.model.ids import DeliveryId
from mta.model.standings import PLAIN, UNKNOWN, UNTRIED, standing_number
from mta.model.status import rank_of
from mta.ports.event_sinks import Item
from mta.ports.history_writer import DAY_MS, HOUR_MS, Chunk, Position, Round, Row, Stretch, Visits
from mta.ports.spool import Place, Sourced

_CHUNK: Final = 128  # events: few enough to be read for one of them
# To look a member up at its class takes ten times as long.
_RECEPTION: Final = EventType.RECEPTION
_REJECTION: Final = EventType.REJECTION
_RULE: Final = EventType.RULE
_FIRST_RANK: Final = rank_of(Event(_RECEPTION, 0, seq=1))


class Gathering:
    """Entries that history has are left out; one lane's entries must follow each other without a hole."""

    def __init__(self, spool: str, positions: Mapping[str, Position]) -> None:
        """`positions` are those of the database with the rounds that are gathered and not written yet."""
        self.round = Round(spool)
        self._positions = dict(positions)
        self._chunk: list[Sourced] = []
        self._chunk_day = 0
        self._chunk_first = 0

    @property
    def positions(self) -> dict[str, Position]:
        """As they are once the round is written."""
        return self._positions

    def skip(self, source: str, after: str) -> None:
        """Go on behind `after`, although what lies before is missing."""
        self._move(source, after)

    def learn(self, positions: Mapping[str, Position]) -> None:
        """Positions that other journals have moved meanwhile."""
        for source, position in positions.items():
            known = self._positions.get(source)
            if source not in self.round.stretches and (known is None or order_of(position.last) > order_of(known.last)):
                self._positions[source] = position

    def add(self, piece: Piece) -> None:
        """Take what history lacks."""
        items, at = piece.items, 0
        for sourced, many in zip(piece.entries, piece.counts, strict=True):
            if self._is_new(sourced) and many:
                self._add_entry(sourced, items[at : at + many])
            at += many

    def finish(self, place: Place) -> Round:
        """`place` is behind what was added."""
        self._close_chunk()
        self.round.place = place
        return self.round

    def _is_new(self, sourced: Sourced) -> bool:
        """Whether history lacks the entry; it is noted as taken then."""
        source, entry = sourced
        if not source:
            return True
        known = self._positions.get(source)
        if is_link(entry):
            if known is None:
                self._positions[source] = Position(entry.id, entry.id)
                self.round.stretches[source] = Stretch(entry.id, entry.id)
            return False
        after = known.last if known is not None else "0-0"
        if order_of(entry.id) <= order_of(after):
            return False
        self._move(source, entry.id)
        return True

    def _move(self, source: str, last: str) -> None:
        known = self._positions.get(source)
        after = known.last if known is not None else "0-0"
        begun = self.round.stretches.get(source)
        self.round.stretches[source] = Stretch(begun.after if begun is not None else after, last)
        self._positions[source] = Position(known.begun if known is not None else after, last)

    def _add_entry(self, sourced: Sourced, items: Sequence[Item]) -> None:
        source, entry = sourced
        day = (order_of(entry.id)[0] if source else items[0][1].time) // DAY_MS
        round_ = self.round
        if self._chunk and (day != self._chunk_day or round_.events - self._chunk_first >= _CHUNK):
            self._close_chunk()
        if not self._chunk:
            self._chunk_day, self._chunk_first = day, round_.events
        self._chunk.append(sourced)
        place, hours, rows = round_.events, round_.hours, round_.rows
        for _, event in items:
            kind, id_ = event.type, event.id
            key = (event.time // HOUR_MS, event.pool, event.domain, event.tenant, event.category, kind)
            hours[key] = hours.get(key, 0) + 1
            if kind is _RECEPTION and id_ is not None and id_ not in rows and not event.next_attempt:
                rows[id_] = Row(place, place, _FIRST_RANK, UNTRIED, recipient_key(event.recipient), True)
                self._note_common(id_, event, place)
            elif id_ is not None and kind is not _REJECTION:
                self._note_row(id_, event, place)
            elif kind is not _REJECTION and source.startswith(RULES_SOURCE):
                round_.named.setdefault((day, "order", ""), []).append(place)
                if kind is _RULE and event.properties is not None and "statement" in event.properties:
                    round_.statements[event.properties["rule"]] = event.properties["statement"], event.time
            place += 1
        round_.events = place

    def _note_common(self, id_: DeliveryId, event: Event, place: int) -> None:
        day = int.from_bytes(id_[:6], "big") // DAY_MS
        common = (day, event.tags, event.sender or "", event.domain, event.pool, event.tenant)
        try:
            self.round.commons[common].append((place, id_))
        except KeyError:
            self.round.commons[common] = [(place, id_)]

    def _note_row(self, id_: DeliveryId, event: Event, place: int) -> None:
        rank = rank_of(event)
        standing = standing_number(event) if rank else UNKNOWN
        if standing > PLAIN:
            self._note_named(id_, event, place)
        if not rank:
            self._note_visit(id_, event)
        row = self.round.rows.get(id_)
        if row is None:
            recipient = recipient_key(event.recipient)
            self.round.rows[id_] = Row(place, place, rank, standing, recipient, event.type is _RECEPTION)
            self._note_common(id_, event, place)
        elif rank > row.rank:
            if row.last != row.first:
                row.more += (row.last,)
            row.rank, row.standing, row.last = rank, standing, place
        else:
            row.more += (place,)

    def _note_visit(self, id_: DeliveryId, event: Event) -> None:
        kind = event.type
        if (kind is EventType.OPEN or kind is EventType.CLICK) and not event.reason:
            visit = Visits(opened=event.time) if kind is EventType.OPEN else Visits(clicked=event.time)
            self.round.visits[id_] = visit.with_earlier(self.round.visits.get(id_, Visits()))

    def _note_named(self, id_: DeliveryId, event: Event, place: int) -> None:
        """A delivery that stands as most do has none of these facts."""
        named, day = self.round.named, int.from_bytes(id_[:6], "big") // DAY_MS
        if event.forced is not None:
            named.setdefault((day, "rule", event.forced.rule), []).append(place)
        if event.category:
            named.setdefault((day, "category", event.category), []).append(place)
        if event.uncertain:
            named.setdefault((day, "uncertain", ""), []).append(place)

    def _close_chunk(self) -> None:
        if self._chunk:
            first = self._chunk_first
            self.round.chunks.append(Chunk(self._chunk_day, first, self.round.events - first, self._chunk))
            self._chunk = []
