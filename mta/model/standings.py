"""Standings as history keeps them: small numbers, of which those above PLAIN are indexed."""

from typing import Final

from mta.model.events import Event, EventType
from mta.model.status import Reason, Standing, Status, standing_of

UNTRIED: Final = 0  # queued, and never attempted
DELIVERED: Final = 1
SENT: Final = 2
PLAIN: Final = 2  # the greatest number of what most deliveries are
DEFERRED: Final = 3  # queued again
UNKNOWN: Final = 9  # history has only events that change nothing

_DELIVERY: Final = EventType.DELIVERY  # to look a member up at its class takes ten times as long
_NUMBERS: Final = {
    Standing(Status.ENQUEUED): UNTRIED,
    Standing(Status.DELIVERED): DELIVERED,
    Standing(Status.SENT): SENT,
    Standing(Status.DELAYED): 4,
    Standing(Status.HELD): 5,
    Standing(Status.HELD, Reason.PARKED): 6,
    Standing(Status.CANCELED): 10,
    Standing(Status.UNDELIVERABLE, Reason.BOUNCED): 11,
    Standing(Status.UNDELIVERABLE, Reason.UNROUTABLE): 12,
    Standing(Status.UNDELIVERABLE, Reason.EXPIRED): 13,
    Standing(Status.UNDELIVERABLE, Reason.INTERCEPTED): 14,
    Standing(Status.FILTERED, Reason.UNSUBSCRIBE): 15,
    Standing(Status.FILTERED, Reason.COMPLAINT): 16,
    Standing(Status.FILTERED, Reason.HARD_BOUNCE): 17,
    Standing(Status.FILTERED, Reason.MANUAL): 18,
    Standing(Status.THROTTLED): 19,
    Standing(Status.SIMULATED): 20,
}
EVERY: Final = frozenset((*_NUMBERS.values(), DEFERRED, UNKNOWN))
LIVE: Final = (UNTRIED, DEFERRED, 4, 5, 6, UNKNOWN)


# A sweep has very many of them. No other field of such an event says anything about the standing.
_INTERCEPTED: Final = EventType.INTERCEPTED
_OF_INTERCEPTED: Final = _NUMBERS[Standing(Status.UNDELIVERABLE, Reason.INTERCEPTED)]


def standing_number(event: Event) -> int:
    """Of the standing after an event with a rank."""
    kind = event.type
    if kind is _DELIVERY:
        return SENT if event.relayed else DELIVERED
    if kind is _INTERCEPTED:
        return _OF_INTERCEPTED
    number = _NUMBERS[standing_of(event)]
    return DEFERRED if number == UNTRIED and kind is not EventType.RECEPTION else number


def numbers_of(statuses: frozenset[Status]) -> frozenset[int]:
    """The numbers of all standings with one of these statuses."""
    found = {number for standing, number in _NUMBERS.items() if standing.status in statuses}
    if UNTRIED in found:
        found |= {DEFERRED, UNKNOWN}
    return frozenset(found)
