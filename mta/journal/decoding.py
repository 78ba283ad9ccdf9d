"""The events of spooled entries, decoded, each with its event id."""

from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec

from mta.model.entries import Entry, framed, order_of
from mta.model.events import Event, EventType
from mta.model.rule_events import RuleEvent
from mta.ports.event_sinks import Item
from mta.ports.journal import RULES_LANE, name_of
from mta.ports.spool import Sourced

# Events that are decoded at once: what more of them are made from would ask the kernel for pages each time.
PIECE = 100
_RULES = name_of(RULES_LANE)

_decode = msgspec.msgpack.Decoder(Event).decode
_decode_of_rule = msgspec.msgpack.Decoder(RuleEvent).decode
_encode = msgspec.msgpack.Encoder().encode


class Decoder:
    """Counts the events that it cannot read."""

    def __init__(self) -> None:
        self.undecodable = 0

    def pieces(self, entries: Iterable[Sourced]) -> Iterator[list[Item]]:
        """All events of the entries in order, at most `PIECE` at a time."""
        items = self._items(entries)
        while piece := list(islice(items, PIECE)):
            yield piece

    def _items(self, entries: Iterable[Sourced]) -> Iterator[Item]:
        for source, entry in entries:
            step = f"{source}.{entry.id}."
            decode = _decode_of_rule if source.startswith(_RULES) else _decode
            for index, raw in enumerate(entry.events):
                try:
                    event = decode(raw)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    self.undecodable += 1
                    event = _unreadable(entry.id, raw, str(error))
                yield (f"{step}{index}" if source else entry.id), event


def own_entry(event_id: str, event: Event) -> Sourced:
    """An event that the journal itself made, as the spool keeps it."""
    return "", Entry(event_id, framed((_encode(event),)))


def _unreadable(entry_id: str, raw: bytes, why: str) -> Event:
    """Nothing is dropped silently: the line shows that there was an event, and its bytes."""
    return Event(
        EventType.GAP,
        order_of(entry_id)[0],
        reason=f"an event of {len(raw)} bytes cannot be decoded: {why}",
        properties={"raw": raw[:512].hex()},
    )
