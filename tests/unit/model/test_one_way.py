"""A delivery moves one way through its statuses, in whatever order its events become known."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.model.events import Event, EventType
from mta.model.outcomes import Origin
from mta.model.status import ENDED, RANKS, Status, moves_back, rank_of, standing_of
from tests.support.one_way import steps_back

WAITING = (
    EventType.TRANSIENT_FAILURE,
    EventType.HOLD,
    EventType.RELEASE,
    EventType.MOVED,
    EventType.PARKED,
)
ENDS = (
    EventType.DELIVERY,
    EventType.BOUNCE,
    EventType.EXPIRATION,
    EventType.INTERCEPTED,
    EventType.CANCELLATION,
    EventType.FILTERED,
    EventType.THROTTLED,
    EventType.SIMULATED,
)


@st.composite
def lives(draw: st.DrawFn) -> list[Event]:
    """The events of a delivery in the order in which they happened."""
    route = draw(st.sampled_from(("mx", "relay:hub")))
    events = [Event(EventType.RECEPTION, 0, next_attempt=draw(st.sampled_from((0, 9))), seq=1)]

    def add(kind: EventType, **more: object) -> None:
        events.append(Event(kind, len(events), seq=events[-1].seq + 1, **more))  # type: ignore[arg-type]

    while True:
        for kind in draw(st.lists(st.sampled_from(WAITING), max_size=3)):
            add(kind)
        end = draw(st.sampled_from((*ENDS, None)))
        if end is None:
            return events
        nowhere = {"enhanced": "5.4.4", "origin": Origin.LOCAL} if draw(st.booleans()) else {}
        add(end, route=route, **(nowhere if end is EventType.BOUNCE else {}))
        if end is EventType.INTERCEPTED and draw(st.booleans()):
            add(EventType.REINSTATED)
            continue
        if draw(st.booleans()):
            code, same = draw(st.sampled_from((250, 550))), draw(st.booleans())
            late = Event(EventType.LATE_OUTCOME, len(events), code=code, route=route, seq=events[-1].seq + (not same))
            events.append(late)
        if draw(st.booleans()):
            events.append(Event(EventType.ESCAPED, len(events), seq=events[-1].seq))
        return events


def newest(events: Sequence[Event]) -> Event:
    """The event that says how a delivery stands, as history finds it: the one of the greatest rank."""
    return max(events, key=rank_of)


def test_every_status_has_a_rank_and_ends_are_above_all_others() -> None:
    assert set(RANKS) == set(Status)
    waiting = {status for status, rank in RANKS.items() if not rank}
    assert set(Status) - waiting == ENDED


@given(lives())
def test_a_delivery_never_moves_to_a_lower_rank_but_by_an_undo_or_late_knowledge(life: list[Event]) -> None:
    counted = sorted((event for event in life if rank_of(event)), key=rank_of)
    for before, after in pairwise(counted):
        assert not moves_back(before, after)
        was, now = RANKS[standing_of(before).status], RANKS[standing_of(after).status]
        assert now >= was or after.type in (EventType.REINSTATED, EventType.LATE_OUTCOME)


@given(st.data())
def test_in_whatever_order_events_come_the_status_is_that_of_the_newest_change(data: st.DataObject) -> None:
    life = data.draw(lives())
    counted = [event for event in life if rank_of(event)]
    at_last = newest(counted)
    arrived = data.draw(st.permutations([*counted, *data.draw(st.lists(st.sampled_from(counted), max_size=3))]))
    shown = arrived[0]
    for number in range(1, len(arrived) + 1):
        known = newest(arrived[:number])
        assert rank_of(known) >= rank_of(shown)  # an older change that comes late moves nothing
        went_back = RANKS[standing_of(known).status] < RANKS[standing_of(shown).status]
        between = [event for event in counted if rank_of(shown) < rank_of(event) <= rank_of(known)]
        excuses = [event for event in between if event.type in (EventType.REINSTATED, EventType.LATE_OUTCOME)]
        assert not went_back or excuses
        shown = known
    assert standing_of(shown) == standing_of(at_last)


@pytest.mark.parametrize(
    ("first", "then", "back"),
    [
        (EventType.DELIVERY, EventType.TRANSIENT_FAILURE, True),
        (EventType.CANCELLATION, EventType.HOLD, True),
        (EventType.CANCELLATION, EventType.BOUNCE, True),  # a second end
        (EventType.DELIVERY, EventType.BOUNCE, False),  # a late report
        (EventType.INTERCEPTED, EventType.REINSTATED, False),
        (EventType.INTERCEPTED, EventType.LATE_OUTCOME, False),
        (EventType.HOLD, EventType.RELEASE, False),
    ],
)
def test_a_step_back_in_a_log_is_found(first: EventType, then: EventType, back: bool) -> None:
    lines = [
        {"id": "d.1", "event": str(seq), "type": kind.value, "seq": seq, "code": 250, "route": "mx"}
        for seq, kind in ((2, first), (3, then))
    ]
    assert bool(steps_back(reversed(lines))) is back
    assert bool(moves_back(Event(first, 0, seq=2), Event(then, 0, code=250, seq=3))) is back
