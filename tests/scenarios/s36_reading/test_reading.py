"""Lists, exports, histories, content and resends of a real node (A4, O12)."""

import json
from typing import Any

import pytest

from tests.support.node import until
from tests.support.rest import ask


@pytest.fixture
def answering(place: Any):
    """The destination answers recipients by their name; the usual again afterwards."""

    def rcpt(number: int, argument: str) -> str | None:
        if "refused" in argument:
            return "550 5.1.1 no such user"
        return "451 4.3.0 come back" if "later" in argument else None

    place.sink.script("RCPT", rcpt)
    yield
    place.sink.script("RCPT", None)


def test_a_list_is_what_the_destination_took_by_recipient(place: Any, answering: None):
    place.node.send([f"r{number}@list.test" for number in range(40)], ("list",))
    place.node.send([f"refused{number}@list.test" for number in range(3)], ("list",))
    found = place.listed("tag=list", 43)
    until(lambda: len(place.arrived("list.test")) == 40)
    until(lambda: len(place.exported("/v1/tags/list/deliveries?class=delivered&format=csv")) == 40)
    taken = place.exported("/v1/tags/list/deliveries?class=delivered&format=csv")
    assert sorted(row["recipient"] for row in taken) == sorted(place.arrived("list.test"))
    until(lambda: len(place.in_lines("/v1/tags/list/deliveries?class=bounced&format=ndjson")) == 3)
    bounced = place.in_lines("/v1/tags/list/deliveries?class=bounced&format=ndjson")
    assert {(one["recipient"][:7], one["error"]["code"], one["reason"]) for one in bounced} == {
        ("refused", 550, "BOUNCED")
    }
    everything = ask(place.api, "GET", "/v1/tags/list/deliveries").body
    assert len({one["id"] for one in everything}) == 43 == len(found)
    pages, cursor = [], ""
    while cursor is not None:
        page = place.call("GET", f"/v1/messages?tag=list&limit=10&cursor={cursor}" if cursor else
                          "/v1/messages?tag=list&limit=10")  # fmt: skip
        pages += [one["id"] for one in page["messages"]]
        cursor = page["cursor"]
    assert pages == [one["id"] for one in everything]  # the newest first
    (one,) = place.listed("recipient=REFUSED1@list.test", 1)
    assert one["status"] == "UNDELIVERABLE"
    assert len(place.listed("domain=list.test&status=UNDELIVERABLE", 3)) == 3


def test_a_history_has_every_attempt_and_the_session_of_the_last_failure(place: Any, answering: None):
    (message,) = place.node.send("later@history.test", ("history",), text="secret words")
    until(lambda: ask(place.api, "GET", f"/v1/messages/{message}").body["recipients"][0]["attempts"] >= 2)
    place.sink.script("RCPT", None)
    events = place.history_of(message, "Delivery")
    kinds = [event["type"] for event in events]
    assert (kinds[0], kinds[-1], set(kinds[1:-1])) == ("Reception", "Delivery", {"TransientFailure"})
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    *others, last = [event for event in events if event["type"] == "TransientFailure"]
    assert all("dialogue" not in event for event in others)
    said = last["dialogue"]
    assert said[0].startswith("S: 220 ")
    assert said.index("C: RCPT TO:<later@history.test>") == said.index("S: 451 4.3.0 come back") - 1
    assert "secret" not in json.dumps(events)
    one = place.call("GET", f"/v1/messages/{message}.1/history")
    assert one["events"] == events
    assert (last["remote_ip"], last["mx"]) == ("127.0.0.1", "127.0.0.1")


def test_the_record_of_history_is_that_of_the_store(place: Any, answering: None):
    (taken,) = place.node.send("taken@seam.test", ("seam",), X_MQ_Tenant="acme", X_MQ_Job="7")
    (refused,) = place.node.send("refused@seam.test", ("seam",), X_MQ_Tenant="acme", X_MQ_Job="7")
    until(lambda: {one["status"] for one in place.listed("tag=seam", 2)} == {"SENT", "UNDELIVERABLE"})
    from_history = {one["message_id"]: one for one in place.listed("tag=seam", 2)}
    for message in (taken, refused):
        (from_store,) = place.call("GET", f"/v1/messages/{message}")["recipients"]
        assert from_history[message] == from_store | {"updated_at": from_store["ended_at"]}


def test_content_lives_as_long_as_a_delivery_waits_and_a_stopped_one_can_be_sent_again(place: Any):
    (message,) = place.node.send("stopped@again.test", ("again",), text="the whole text", X_MQ_Delayed="+1h")
    content = ask(place.api, "GET", f"/v1/messages/{message}/content")
    assert (content.status, content.headers.get_content_type()) == (200, "message/rfc822")
    assert b"the whole text" in content.body
    assert b"X-MQ-" not in content.body
    waits = ask(place.api, "POST", f"/v1/messages/{message}/resend")
    assert (waits.status, "still delivered" in waits.body["error"]["message"]) == (409, True)
    rule = place.order("swept", tag="again")
    place.lift(rule)
    made = ask(place.api, "POST", f"/v1/messages/{message}/resend")
    assert made.status == 202, made.body
    assert made.body["id"] != message
    assert [one["recipient"] for one in made.body["recipients"]] == ["stopped@again.test"]
    until(lambda: place.arrived("again.test") == ["stopped@again.test"])
    (received,) = place.taken("again.test")
    assert received.body.replace(b"\r\n", b"\n") == content.body.replace(b"\r\n", b"\n")
    place.rests("again", accepted=2, delivered=1)
    (sent,) = place.node.send("gone@again.test", ("again2",))
    place.rests("again2", delivered=1)
    assert ask(place.api, "GET", f"/v1/messages/{sent}/content").status == 404
    assert ask(place.api, "POST", f"/v1/messages/{sent}/resend").status == 409
