"""The events of an entry, decoded, each with its event id."""

from typing import Final

import msgspec

from mta.model.entries import Entry, order_of
from mta.model.events import Event, EventType, OrderedEvent

RULES_SOURCE: Final = "rules"  # begins the source of the rule table's events; the others begin with a lane's number

decode_event = msgspec.msgpack.Decoder(OrderedEvent).decode  # raises msgspec.DecodeError, UnicodeDecodeError


def add_events(items: list[tuple[str, Event]], source: str, entry: Entry) -> int:
    """Append (event id, event) of each; how many of them cannot be read, and show their bytes instead."""
    unreadable = 0
    step = f"{source}.{entry.id}."
    for index, raw in enumerate(entry.events):
        try:
            event: Event = decode_event(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            unreadable += 1
            event = _unreadable(entry.id, raw, str(error))
        items.append((f"{step}{index}" if source else entry.id, event))
    return unreadable


def event_id(source: str, entry_id: str, index: int) -> str:
    """The id of an event; one of the journal's own (no source) has that of its entry."""
    return f"{source}.{entry_id}.{index}" if source else entry_id


def decoded(source: str, entry_id: str, raw: bytes) -> Event:
    """One event of an entry; of one that cannot be read its bytes."""
    try:
        return decode_event(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _unreadable(entry_id, raw, str(error))


def _unreadable(entry_id: str, raw: bytes, why: str) -> Event:
    """Nothing is dropped silently: the line shows that there was an event, and its bytes."""
    return Event(
        EventType.GAP,
        order_of(entry_id)[0],
        reason=f"an event of {len(raw)} bytes cannot be decoded: {why}",
        properties={"raw": raw[:512].hex()},
    )
