"""The events of spooled entries, decoded piece by piece."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from mta.model.entries import Entry, framed
from mta.model.entry_events import add_events
from mta.model.events import Event
from mta.ports.event_sinks import Item
from mta.ports.spool import Sourced

# Events that are decoded at once. The memory of larger pieces would be new pages of the kernel each time.
PIECE = 100

_encode = msgspec.msgpack.Encoder().encode


class Piece(NamedTuple):
    """Some entries, how many events each of them has, and these events."""

    entries: Sequence[Sourced]
    counts: Sequence[int]
    items: list[Item]


class Decoder:
    """Counts the events that it cannot read."""

    def __init__(self) -> None:
        self.undecodable = 0

    def pieces(self, entries: Iterable[Sourced]) -> Iterator[Piece]:
        """All events of the entries in order, about `PIECE` at a time."""
        taken: list[Sourced] = []
        counts: list[int] = []
        items: list[Item] = []
        for sourced in entries:
            before = len(items)
            self.undecodable += add_events(items, *sourced)
            taken.append(sourced)
            counts.append(len(items) - before)
            if len(items) >= PIECE:
                yield Piece(taken, counts, items)
                taken, counts, items = [], [], []
        if taken:
            yield Piece(taken, counts, items)


def own_entry(own_id: str, event: Event) -> Sourced:
    """An event that the journal itself made, as the spool keeps it."""
    return "", Entry(own_id, framed((_encode(event),)))
