"""The statuses of deliveries as a delivery log tells them: each delivery moves one way."""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, Final

from mta.model.events import Event, EventType
from mta.model.outcomes import Origin
from mta.model.status import moves_back, rank_of

_LATE: Final = EventType.LATE_OUTCOME
_PLAIN: Final = ("code", "enhanced", "reason", "route", "seq")


def event_of(line: Mapping[str, Any]) -> Event:
    """The part of the event by which a delivery stands."""
    given = {name: line[name] for name in _PLAIN if name in line}
    origin = Origin(line["origin"]) if "origin" in line else None
    later = 1 if "next_attempt" in line else 0
    return Event(EventType(line["type"]), 0, origin=origin, next_attempt=later, **given)


def steps_back(lines: Iterable[Mapping[str, Any]]) -> list[tuple[str, Event, Event]]:
    """(delivery, event, event behind it) wherever a delivery moved to a status that it cannot have any more."""
    by_delivery: dict[str, dict[str, Event]] = {}
    for line in lines:
        if "id" in line and rank_of(event := event_of(line)):
            by_delivery.setdefault(line["id"], {})[line["event"]] = event
    found = []
    for delivery, events in by_delivery.items():
        in_order = sorted(events.values(), key=rank_of)
        numbers = {event.seq for event in in_order if event.type is not _LATE}
        # The books follow another change of the same number.
        in_order = [event for event in in_order if event.type is not _LATE or event.seq not in numbers]
        found += [(delivery, before, after) for before, after in pairwise(in_order) if moves_back(before, after)]
    return found
