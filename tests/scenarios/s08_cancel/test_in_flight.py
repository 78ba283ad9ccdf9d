"""Mail in flight: what has not handed over its dot is aborted, what has is named, and neighbours are unharmed."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.support.node import until
from tests.support.sink import HOLD


@pytest.fixture(autouse=True)
def _usual_answers_afterwards(place: Any) -> Iterator[None]:
    yield
    for verb in ("DATA", "."):
        place.sink.script(verb, None)
    place.sink.release("250 2.0.0 taken")


def _seconds(time_: str) -> float:
    """Unix seconds of an RFC 3339 time."""
    return datetime.fromisoformat(time_).timestamp()


def _hold_dots_of(place: Any, domain: str) -> None:
    place.sink.script(".", lambda _, recipient: HOLD if recipient.endswith("@" + domain) else None)


def test_what_is_past_its_dot_is_named_and_counted_after_when_it_is_delivered(place: Any):
    _hold_dots_of(place, "past.test")
    ids = place.node.send(["a@past.test", "b@past.test"], ("past",))
    until(lambda: len(place.sink.to("past.test")) == 2)
    status, rule = place.node.call("POST", "/v1/errors?wait=4s&until=quiet", {"code": 554, "tag": "past"})
    assert (status, rule["effective"], rule["quiet_at"]) == (202, True, None)
    listed = {entry["id"]: entry for entry in rule["past_dot"]}
    assert set(listed) == {f"{id_}.1" for id_ in ids}
    receipts = {r.recipients[0]: r for r in place.sink.to("past.test")}
    for entry in listed.values():
        assert _seconds(entry["dot_at"]) <= _seconds(rule["effective_at"])
        assert abs(_seconds(entry["dot_at"]) - receipts[entry["recipient"]].dot_at) < 5.0
    account = until(lambda: (a := place.account(rule))["sweep"]["state"] == "done" and a)
    assert (account["queued"], account["quiet_at"], account["delivered"]["after"]) == (2, None, 0)
    assert account["complete"] is False

    assert place.sink.release("250 2.0.0 taken") == 2
    quiet = until(lambda: (r := place.node.call("GET", f"/v1/errors/{rule['id']}")[1])["quiet_at"] and r)
    assert [entry["id"] for entry in quiet["past_dot"]] == [entry["id"] for entry in rule["past_dot"]]
    assert quiet["effective_at"] == rule["effective_at"]
    assert quiet["workers"] == rule["workers"]
    assert _seconds(quiet["quiet_at"]) >= _seconds(rule["effective_at"])
    account = place.complete(rule)
    assert (account["matched"], account["delivered"], account["accepted"]) == (2, {"before": 0, "after": 2}, 2)
    assert account["quiet_at"] == quiet["quiet_at"]
    assert {line["id"] for line in place.logged("past", "Delivery", 2)} == set(listed)
    assert len(place.sink.to("past.test")) == 2
    place.lift(rule)


def test_what_is_past_its_dot_and_refused_for_now_is_intercepted_and_not_sent_again(place: Any):
    _hold_dots_of(place, "deny.test")
    (id_,) = place.node.send("a@deny.test", ("deny",), X_MQ_Retries="1s")
    until(lambda: place.sink.to("deny.test"))
    rule = place.order(tag="deny")
    assert [entry["id"] for entry in rule["past_dot"]] == [f"{id_}.1"]
    assert place.sink.release("451 4.3.0 try later") == 1
    (line,) = place.logged("deny", "Intercepted", 1)
    assert (line["id"], line["forced"]["rule"]) == (f"{id_}.1", rule["id"])
    statement = place.rests("deny", queued=0)
    assert (sum(statement["intercepted"].values()), statement["delivered"]) == (1, 0)
    assert statement["uncertain"] <= 1
    until(lambda: place.node.call("GET", f"/v1/errors/{rule['id']}")[1]["quiet_at"])
    account = place.complete(rule)
    assert (account["matched"], sum(account["intercepted"].values()), account["delivered"]["after"]) == (1, 1, 0)
    assert len(place.sink.begun_to("deny.test")) == 1
    place.lift(rule)


def test_what_waits_for_354_is_aborted_and_its_neighbours_are_delivered_once(place: Any):
    """The peer stalls at DATA: nothing of the campaign may hand over its dot when it goes on."""
    tagged = {f"t{n}@flight.test" for n in range(3)}
    held = set()

    def stall(connection: int, _: str) -> str | None:
        begun = [r for r in list(place.sink.sink.begun) if r.connection == connection]
        if begun and begun[-1].recipients[0] in tagged:
            held.add(begun[-1].recipients[0])
            return HOLD
        return None

    place.sink.script("DATA", stall)
    first = [f"f{n}@flight.test" for n in range(6)]
    place.node.send(first, ("neighbour",))
    place.node.send(sorted(tagged), ("flight",))
    after = [f"g{n}@flight.test" for n in range(6)]
    place.node.send(after, ("neighbour",))
    until(lambda: held == tagged and len(place.log_of("neighbour", "Delivery")) >= 6)

    rule = place.order(tag="flight")
    assert rule["past_dot"] == []
    place.sink.script("DATA", None)
    place.sink.release("354 go on")
    statement = place.rests("flight", queued=0)
    assert statement["intercepted"] == {"queued": 0, "attempt": 0, "before_dot": 3, "door": 0}
    for line in place.logged("flight", "Intercepted", 3):
        assert line["forced"]["stage"] == "before_dot"
        assert line["remote_ip"] == "127.0.0.1"
    place.rests("neighbour", queued=0, delivered=12)
    arrived = [r.recipients[0] for r in place.sink.to("flight.test")]
    assert sorted(arrived) == sorted(first + after)
    account = place.complete(rule)
    assert (account["matched"], account["delivered"]) == (3, {"before": 0, "after": 0})
    place.lift(rule)


def test_no_mail_of_a_campaign_begins_and_no_dot_is_handed_over_once_the_order_is_effective(place: Any):
    place.sink.watch_lag()
    with place.node.sender() as client:
        for n in range(240):
            tag = "other" if n % 4 == 3 else "load"
            place.node.send_on(client, f"{tag}{n}@d{n % 5}.load.test", (tag + "-x",))
            if n == 120:
                until(lambda: len([r for r in list(place.sink.sink.taken) if "load.test" in r.recipients[0]]) > 20)
                rule = place.order(tag="load-x")
    statement = place.rests("load-x", queued=0, accepted=180)
    place.rests("other-x", queued=0, delivered=60)
    effective = _seconds(rule["effective_at"])
    mine = [r for r in list(place.sink.sink.begun) if r.recipients and r.recipients[0].startswith("load")]
    assert not [r for r in mine if r.mail_at > effective + 0.25 + place.sink.lag]
    taken = {r.recipients[0]: r for r in mine if r.taken}
    late = {address for address, r in taken.items() if r.dot_at > effective}
    assert late <= {entry["recipient"] for entry in rule["past_dot"]}
    assert statement["delivered"] == len(taken)
    assert sum(statement["intercepted"].values()) == 180 - len(taken)
    assert 0 < len(taken) < 180
    others = [r.recipients[0] for r in place.sink.sink.taken if r.recipients[0].startswith("other")]
    assert len(others) == len(set(others)) >= 60
    account = place.complete(rule)
    assert account["matched"] == sum(account["intercepted"].values()) + account["delivered"]["after"]
    assert account["delivered"]["before"] + account["delivered"]["after"] == len(taken)
    place.lift(rule)
    place.node.send("again@d0.load.test", ("load-x",))
    place.rests("load-x", queued=0, delivered=len(taken) + 1)
