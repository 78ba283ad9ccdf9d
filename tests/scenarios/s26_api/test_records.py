"""The record of a recipient whose delivery has ended says as much as that of one that lives."""

import json
from typing import Any

import pytest

from tests.support.node import standing_still, until
from tests.support.rest import ask

ODD = "no\x9b31m \u202ereversed\u2028line\x7f"


@pytest.fixture
def answering(place: Any):
    """The destination answers recipients by their name; the usual again afterwards."""

    def rcpt(number: int, argument: str) -> str | None:
        if "refused" in argument:
            return "550 5.1.1 " + ODD + "y" * 3000
        return "451 4.3.0 come back" if "later" in argument else None

    place.sink.script("RCPT", rcpt)
    yield
    place.sink.script("RCPT", None)


def test_a17_mail_comes_and_goes_while_the_api_stands_still(place: Any) -> None:
    api = place.node.child("control_api")
    with standing_still(api):
        place.node.send("a@isolated.test", ("isolated",))
        until(lambda: place.arrived("isolated.test") == ["a@isolated.test"])
    place.rests("isolated", delivered=1)


def recipient_of(place: Any, message: str, *states: str) -> dict[str, Any]:
    def look() -> Any:
        answer = ask(place.api, "GET", f"/v1/messages/{message}")
        return answer.status == 200 and answer.body["status"] in states and answer.body["recipients"][0]

    found: dict[str, Any] = until(look)
    return found


COMMON = {"sender": "from@example.org", "tags": ["o13"], "pool": "default", "tenant": "acme"}
HEADERS = {"X_MQ_Tenant": "acme", "X_MQ_Job": "7"}


def test_o13_a_delivered_and_a_bounced_recipient_say_where_when_and_with_which_tags(place: Any, answering: None):
    for turn in range(3):  # the second and third share what they have in common with the first
        (sent,) = place.node.send(f"taken{turn}@o13.test", ("o13",), **HEADERS)
        found = recipient_of(place, sent, "SENT")
        assert {name: found[name] for name in COMMON} == COMMON
        assert (found["attempts"], found["mta"], found["mx"]) == (1, "127.0.0.1", place.sink.address.partition(":")[0])
        assert found["sent_at"] == found["ended_at"]
        assert found["metadata"] == {"job": "7"}
        assert "error" not in found
    (sent,) = place.node.send("refused@o13.test", ("o13",), **HEADERS)
    found = recipient_of(place, sent, "UNDELIVERABLE")
    assert {name: found[name] for name in COMMON} == COMMON
    assert (found["reason"], found["attempts"]) == ("BOUNCED", 1)
    assert (found["error"]["code"], found["error"]["enhanced"]) == (550, "5.1.1")


def test_k11_an_odd_reply_is_shown_escaped_and_short(place: Any, answering: None):
    (sent,) = place.node.send("refused@k11.test", ("k11",))
    recipient_of(place, sent, "UNDELIVERABLE")
    raw = ask(place.api, "GET", f"/v1/messages/{sent}")
    text = raw.body["recipients"][0]["error"]["text"]
    assert text.isprintable()
    assert len(text) <= 1024
    for escape in ("\\u009b", "\\u202e", "\\u2028", "\\u007f"):
        assert escape in text
    said = place.floodgate("messages", "show", sent, "--json")
    shown = json.loads(said.out)
    assert shown["recipients"][0]["error"]["text"] == text
    assert not set("\x9b\u202e\u2028\x7f") & set(json.dumps(shown, ensure_ascii=False))


def test_o13_what_a_rule_or_a_person_ended_names_the_rule_and_the_attempts(place: Any, answering: None):
    (deferred,) = place.node.send("later@o13.test", ("o13-rule",), X_MQ_Tenant="acme")
    until(lambda: ask(place.api, "GET", f"/v1/messages/{deferred}").body["recipients"][0]["attempts"] >= 1)
    live = ask(place.api, "GET", f"/v1/messages/{deferred}").body["recipients"][0]
    assert (live["pool"], live["error"]["text"]) == ("default", "come back")
    order = b'{"code": 554, "extended": "5.7.1", "description": "stopped", "tag": "o13-rule"}'
    made = ask(place.api, "POST", "/v1/errors?wait=50s", order).body
    found = recipient_of(place, deferred, "UNDELIVERABLE")
    assert found["reason"] == "INTERCEPTED"
    assert found["forced"]["rule"] == made["id"]
    assert found["forced"]["generation"] >= made["generation"]  # that of the table: a canary may have moved it on
    assert found["error"] == {"code": 554, "enhanced": "5.7.1", "text": "stopped"}
    assert (found["tags"], found["tenant"], found["pool"]) == (["o13-rule"], "acme", "default")
    assert found["attempts"] >= 1
    (door,) = place.node.send("door@o13.test", ("o13-rule",))
    found = recipient_of(place, door, "UNDELIVERABLE")
    assert (found["forced"]["rule"], found["forced"]["stage"]) == (made["id"], "door")
    assert (found["attempts"], found["tags"], found["error"]["text"]) == (0, ["o13-rule"], "stopped")
    assert ask(place.api, "DELETE", f"/v1/errors/{made['id']}").status == 200
    canceled = place.scheduled("o13-person", "o13.test", 1)
    assert ask(place.api, "POST", f"/v1/messages/{canceled}/cancel").status == 200
    found = recipient_of(place, canceled, "CANCELED")
    assert (found["tags"], found["pool"], found["attempts"]) == (["o13-person"], "default", 0)


def test_o13_many_swept_at_once_share_what_they_have_in_common(place: Any):
    message = place.scheduled("o13-swept", "o13.test", 150)
    made = ask(place.api, "POST", "/v1/errors?wait=50s&until=swept", b'{"code": 554, "tag": "o13-swept"}').body
    answer = ask(place.api, "GET", f"/v1/messages/{message}").body
    assert len(answer["recipients"]) == 150
    for found in answer["recipients"]:
        assert found["forced"] == {
            "rule": made["id"],
            "generation": max(made["generation"], found["forced"]["generation"]),
            "stage": "queued",
            "by": "admin",
        }
        assert (found["tags"], found["sender"], found["error"]["code"]) == (["o13-swept"], "from@example.org", 554)
    assert ask(place.api, "DELETE", f"/v1/errors/{made['id']}").status == 200
