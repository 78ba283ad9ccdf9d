"""Orders with a bound: hold first, count, then the forced error or a refusal that lets everything go on."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from tests.support.node import signal_to, standing_still, until


def test_a_bound_that_holds_ends_all_that_was_counted(place: Any) -> None:
    place.node.send([f"u{n}@b1.test" for n in range(20)], ("b1",), X_MQ_Delayed="+1h")
    made = place.call("POST", "/v1/errors?wait=50s", {"code": 554, "tag": "b1", "max_matches": 20}, (201,))
    assert made["effective"], made
    assert made["bound"] == {"state": "passed", "max_matches": 20, "matched": 20, "held_at": made["bound"]["held_at"]}
    assert made["bound"]["held_at"] <= made["effective_at"]
    account = place.complete(made)
    assert (account["matched"], account["intercepted"]["queued"], account["held"]) == (20, 20, 0)
    place.rests("b1", intercepted={"queued": 20, "attempt": 0, "before_dot": 0, "door": 0}, queued=0)
    assert place.arrived("b1.test") == []


def test_a_bound_that_is_passed_refuses_the_order_and_releases_everything(place: Any) -> None:
    place.sink.script("RCPT", "451 4.3.0 later")  # the next attempts are in an hour
    place.node.send([f"u{n}@b2.test" for n in range(9)], ("b2",))
    until(lambda: place.call("GET", "/v1/queues?domain=b2.test")["queues"][0]["scheduled"] == 9, what="they wait")
    place.sink.script("RCPT", None)
    status, said = place.node.call("POST", "/v1/errors?wait=50s", {"code": 554, "tag": "b2", "max_matches": 8})
    assert (status, said["matched"]) == (409, 9), said
    assert "matches 9 deliveries and allows 8" in said["error"]["message"]
    place.rests("b2", queued=9, held=0)
    assert place.call("POST", "/v1/queues/retry?wait=50s", {"tag": "b2"})["moved"] == 9
    place.rests("b2", delivered=9, held=0)
    assert sorted(place.arrived("b2.test")) == [f"u{n}@b2.test" for n in range(9)]
    for path in ("errors", "pauses"):
        assert not [rule for rule in place.call("GET", f"/v1/{path}?enabled=all") if rule.get("tag") == "b2"]


def test_a_token_stands_for_the_count_of_its_preview(place: Any) -> None:
    place.node.send([f"u{n}@b3.test" for n in range(5)], ("b3",), X_MQ_Delayed="+1h")
    token = place.preview(tag="b3", domain="b3.test")["preview_token"]
    body = {"code": 554, "tag": "b3", "preview_token": token}
    assert place.node.call("POST", "/v1/errors", body)[0] == 409, "other selectors"
    place.node.send("one@b3.test", ("b3",), X_MQ_Delayed="+1h")
    status, said = place.node.call("POST", "/v1/errors?wait=50s", body | {"domain": "b3.test"})
    assert (status, said["matched"]) == (409, 6), said
    place.rests("b3", queued=6, held=0)
    token = place.preview(tag="b3", domain="b3.test")["preview_token"]
    body = {"code": 554, "tag": "b3", "domain": "b3.test", "preview_token": token}
    made = place.call("POST", "/v1/errors?wait=50s&until=swept", body, (201,))
    assert made["bound"]["matched"] == 6
    place.rests("b3", queued=0)


def test_mail_that_a_pause_holds_is_counted_and_goes_back_to_the_pause(place: Any) -> None:
    place.node.send([f"u{n}@b4.test" for n in range(6)], ("b4",), X_MQ_Delayed="+1h")
    pause = place.call("POST", "/v1/pauses?wait=50s&until=swept", {"tag": "b4", "domain": "b4.test"}, (201,))
    order = {"code": 554, "tag": "b4", "max_matches": 5}
    status, said = place.node.call("POST", "/v1/errors?wait=50s", order)
    assert (status, said["matched"]) == (409, 6), said
    until(lambda: place.call("GET", f"/v1/pauses/{pause['id']}")["held"] == 6, what="back at the pause")
    place.call("POST", "/v1/errors?wait=50s&until=swept", order | {"max_matches": 6}, (201,))
    place.rests("b4", held=0, queued=0)
    place.call("DELETE", f"/v1/pauses/{pause['id']}?wait=50s")


def test_two_bounds_on_the_same_mail_are_decided_one_after_the_other(place: Any) -> None:
    place.node.send([f"u{n}@b5.test" for n in range(8)], ("b5",), X_MQ_Delayed="+1h")
    answers: list[tuple[int, Any]] = []

    def order(most: int, **more: Any) -> None:
        answers.append(place.node.call("POST", "/v1/errors?wait=50s", {"code": 554, "max_matches": most} | more))

    orders = [
        threading.Thread(target=order, args=(7,), kwargs={"tag": "b5"}),
        threading.Thread(target=order, args=(7,), kwargs={"tag": "b5", "domain": "b5.test"}),
        threading.Thread(target=order, args=(7,), kwargs={"tag": "b5"}),
    ]
    for one in orders:
        one.start()
    for one in orders:
        one.join()
    assert [(status, said.get("matched")) for status, said in answers] == [(409, 8)] * 3
    place.rests("b5", queued=8, held=0)
    answers.clear()
    orders = [threading.Thread(target=order, args=(8,), kwargs={"tag": "b5"}) for _ in range(3)]
    for one in orders:
        one.start()
    for one in orders:
        one.join()
    assert sorted(status for status, _ in answers) == [200, 200, 201], answers
    assert len({said["id"] for _, said in answers}) == 1
    place.rests("b5", queued=0, held=0)


def test_an_order_goes_on_when_the_api_dies_between_hold_and_decision(place: Any) -> None:
    place.node.send([f"u{n}@b6.test" for n in range(5)], ("b6",), X_MQ_Delayed="+1h")
    with no_sweeper(place):
        held = place.call("POST", "/v1/errors?wait=0", {"code": 554, "tag": "b6", "max_matches": 5}, (202,))
        assert (held["bound"]["state"], held["effective"], held["code"]) == ("counting", False, 554)
        signal_to(place.node.child("control_api"), signal.SIGKILL)
    made = decided(place, held["id"])
    assert (made["bound"]["state"], made["bound"]["matched"]) == ("passed", 5)
    place.logged("b6", "Hold", 5)
    place.rests("b6", held=0, queued=0, intercepted={"queued": 5, "attempt": 0, "before_dot": 0, "door": 0})
    assert place.arrived("b6.test") == []


def test_an_order_that_is_not_decided_is_shown_as_both_and_a_person_may_decide_it(place: Any) -> None:
    place.node.send([f"u{n}@b7.test" for n in range(3)], ("b7",), X_MQ_Delayed="+1h")
    with no_sweeper(place):
        order = {"code": 554, "tag": "b7", "max_matches": 2}
        by_hand, lifted = (place.call("POST", "/v1/errors?wait=0", order, (202,))["id"] for _ in range(2))
        assert place.call("GET", f"/v1/pauses/{by_hand}")["bound"] == {"state": "counting", "max_matches": 2}
        assert by_hand in [rule["id"] for rule in place.call("GET", "/v1/pauses")]
        assert by_hand not in [rule["id"] for rule in place.call("GET", "/v1/errors")]
        assert place.node.call("PATCH", f"/v1/errors/{by_hand}", {"code": 550})[0] == 404
        gone = place.call("DELETE", f"/v1/errors/{lifted}?wait=50s", want=(200,))
        assert (gone["code"], gone["bound"]["state"]) == (554, "counting")
        place.call("POST", f"/v1/pauses/{by_hand}/convert?wait=50s", {"code": 550})
    assert "bound" not in decided(place, by_hand)
    place.rests("b7", queued=0, held=0)


def test_mail_that_keeps_coming_is_let_through_neither_by_the_hold_nor_behind_it(place: Any) -> None:
    stop = threading.Event()
    sent: list[str] = []

    def send() -> None:
        with place.node.sender() as client:
            while not stop.is_set():
                address = f"u{len(sent)}@b8.test"
                place.node.send_on(client, address, ("b8",))
                sent.append(address)

    place.sink.watch_lag()
    sending = threading.Thread(target=send)
    sending.start()
    try:
        until(lambda: len(place.arrived("b8.test")) >= 5, what="mail flows")
        made = place.call("POST", "/v1/errors?wait=50s", {"code": 554, "tag": "b8", "max_matches": 10**6}, (201,))
        later = len(sent) + 20
        until(lambda: len(sent) >= later, what="mail keeps coming")
    finally:
        stop.set()
        sending.join()
    held_at = datetime.fromisoformat(made["bound"]["held_at"]).timestamp()
    place.rests("b8", queued=0, held=0)
    found = place.node.statement("b8")
    arrived = place.arrived("b8.test")
    assert found["delivered"] == len(arrived) == len(sent) - sum(found["intercepted"].values())
    assert found["intercepted"]["door"] >= 20
    begun = [message.mail_at for message in place.taken("b8.test")]
    assert max(begun) < held_at + 1.0 + place.sink.lag, (
        "it was begun before the hold, and read by the destination a little later"
    )


@contextlib.contextmanager
def no_sweeper(place: Any) -> Iterator[None]:
    """Nothing is swept or decided, until the end or until the supervisor replaces the process that stands still."""
    with standing_still(place.node.child("mta.runtime.sweeper")):
        yield


def decided(place: Any, rule_id: str) -> Any:
    """The forced error, once the order is decided."""

    def look() -> Any:
        with contextlib.suppress(OSError):  # the API starts again
            status, found = place.node.call("GET", f"/v1/errors/{rule_id}")
            return found if status == 200 and found["effective"] else None
        return None

    return until(look, what=f"{rule_id} is not decided")
