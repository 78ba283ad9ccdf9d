import pytest

from mta.model.events import Event, EventType
from mta.model.ids import delivery_id, new_message_id
from mta.model.outcomes import Origin
from mta.model.status import DeliveryRow, Reason, Standing, Status, rank_of, standing_of

ID = delivery_id(new_message_id(0, 1_000), 1)


@pytest.mark.parametrize(
    ("event", "standing"),
    [
        (Event(EventType.RECEPTION, 5, seq=1), Standing(Status.ENQUEUED)),
        (Event(EventType.RECEPTION, 5, next_attempt=9, seq=1), Standing(Status.DELAYED)),
        (Event(EventType.DELIVERY, 5, route="mx", seq=2), Standing(Status.DELIVERED)),
        (Event(EventType.DELIVERY, 5, route="10.0.0.1:25", seq=2), Standing(Status.SENT)),
        (Event(EventType.BOUNCE, 5, code=550, enhanced="5.1.1", origin=Origin.REMOTE, seq=2),
         Standing(Status.UNDELIVERABLE, Reason.BOUNCED)),
        (Event(EventType.BOUNCE, 5, enhanced="5.1.2", origin=Origin.LOCAL, seq=2),
         Standing(Status.UNDELIVERABLE, Reason.UNROUTABLE)),
        (Event(EventType.FILTERED, 5, reason="complaint", seq=2), Standing(Status.FILTERED, Reason.COMPLAINT)),
        (Event(EventType.THROTTLED, 5, seq=2), Standing(Status.THROTTLED)),
        (Event(EventType.SIMULATED, 5, seq=2), Standing(Status.SIMULATED)),
        (Event(EventType.PARKED, 5, seq=2), Standing(Status.HELD, Reason.PARKED)),
    ],
)  # fmt: skip
def test_the_newest_event_says_how_a_delivery_stands(event: Event, standing: Standing) -> None:
    assert standing_of(event) == standing


def test_events_that_change_nothing_have_no_rank_and_the_books_win_over_a_late_outcome_of_the_same_number() -> None:
    ranks = [
        rank_of(Event(EventType.ESCAPED, 1, seq=3)),
        rank_of(Event(EventType.REJECTION, 1)),
        rank_of(Event(EventType.LATE_OUTCOME, 1, code=450, seq=3)),
        rank_of(Event(EventType.TRANSIENT_FAILURE, 1, seq=2)),
        rank_of(Event(EventType.LATE_OUTCOME, 1, code=250, seq=3)),
        rank_of(Event(EventType.BOUNCE, 1, seq=3)),
    ]
    assert ranks[:3] == [0, 0, 0]
    assert ranks[2:] == sorted(set(ranks[2:]))


def test_a_row_has_the_times_of_its_newest_event() -> None:
    row = DeliveryRow(ID, Event(EventType.DELIVERY, 7_000, ID, queued_at=5_000, route="mx", seq=2))
    assert (row.accepted_at, row.delivered_at, row.sent_at, row.ended_at, row.canceled_at) == (5000, 7000, 0, 7000, 0)
    fresh = DeliveryRow(ID, Event(EventType.RECEPTION, 5_000, ID, seq=1))
    assert (fresh.accepted_at, fresh.ended_at, fresh.updated_at) == (5000, 0, 5000)
