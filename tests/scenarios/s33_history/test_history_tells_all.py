from mta.model.ids import parse_message_id
from mta.model.status import Reason, Standing, Status
from tests.scenarios.s33_history.conftest import Place
from tests.support.history import as_lines
from tests.support.node import until


def test_rows_are_the_receipts_and_events_are_the_lines_of_the_log(place: Place) -> None:
    place.sink.sink.recipients["no@story.test"] = "550 5.1.1 no such user"
    place.sink.sink.recipients["later@story.test"] = "451 4.7.1 later"
    wanted = [f"u{n}@story.test" for n in range(30)]
    ids = place.node.send([*wanted, "no@story.test", "later@story.test"], ("story", "both"))
    place.rests("story", delivered=30, bounced=1)
    place.logged("story", "Delivery", 30)
    place.logged("story", "Bounce", 1)
    until(lambda: place.log_of("story", "TransientFailure"), what="nothing is deferred")
    place.caught_up()
    rows = place.history.rows(page=7, tag="story")
    assert sorted(row.last.recipient for row in rows) == sorted([*wanted, "no@story.test", "later@story.test"])
    delivered = [row for row in rows if row.standing.status is Status.SENT]
    assert sorted(row.last.recipient for row in delivered) == sorted(
        one.recipients[0] for one in place.sink.sink.received if one.recipients[0].endswith("@story.test") and one.taken
    )
    assert [row.standing for row in place.history.rows(recipient="NO@story.test")] == [
        Standing(Status.UNDELIVERABLE, Reason.BOUNCED)
    ]
    (deferred,) = place.history.rows(tag="both", statuses=frozenset({Status.ENQUEUED}))
    assert (deferred.last.recipient, deferred.last.code) == ("later@story.test", 451)
    until(lambda: as_lines(place.history.events(most=11)) == place.lines())  # a rule may have come between
    lines = place.lines()
    message = parse_message_id(ids[3])
    kept = place.history.ask(lambda history: history.events_of(message))
    assert as_lines(kept) == [line for line in lines if line.get("message_id") == ids[3]]
    assert [line["type"] for line in as_lines(kept)] == ["Reception", "Delivery"]


def test_the_time_up_to_which_everything_is_there_advances_while_nothing_happens(place: Place) -> None:
    first = place.history.ask(lambda history: history.coverage()).as_of
    until(lambda: place.history.ask(lambda history: history.coverage()).as_of > first, what="it stands still")
    assert first > 0
