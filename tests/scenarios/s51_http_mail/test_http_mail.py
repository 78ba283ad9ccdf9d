"""Mail over HTTP: each accepted recipient gets it once, as it was composed, and tags, rules and cancels hold for it."""

import email
import email.policy
import json
import time

from tests.support.node import TOKEN, until
from tests.support.node_and_sink import NodeAndSink
from tests.support.rest import ask


def body_of(to, **fields):
    return {"from": "shop@example.com", "to": to, "subject": "Your order", "text": "It is on its way.\n"} | fields


def test_a_message_reaches_each_recipient_and_the_statement_counts_them(place: NodeAndSink) -> None:
    answer = place.call("POST", "/v1/messages", body_of(["ann@http1.test", "bob@http1.test"], tags=["http1"]), (202,))
    first, second = answer["recipients"]
    assert answer["id"] == first["message_id"] == second["message_id"]
    assert (first["id"], first["recipient"]) == (f"{answer['id']}.1", "ann@http1.test")
    assert (second["id"], second["recipient"]) == (f"{answer['id']}.2", "bob@http1.test")
    place.rests("http1", accepted=2, delivered=2)
    (received,) = place.taken("http1.test")
    assert received.sender == "shop@example.com"
    read = email.message_from_bytes(received.body, policy=email.policy.default)
    assert [str(one) for one in read["To"].addresses] == ["ann@http1.test", "bob@http1.test"]
    assert (read["Subject"], read["From"]) == ("Your order", "shop@example.com")
    assert read.get_content() == "It is on its way.\r\n"
    assert f"id {answer['id']}" in read["Received"]
    record = place.call("GET", f"/v1/messages/{answer['id']}")
    assert record["status"] == "SENT"


def test_the_listener_for_mail_takes_it_with_a_token_only(place: NodeAndSink) -> None:
    raw = json.dumps(body_of("ann@http2.test", tags=["http2"])).encode()
    api = place.node.ready["inject"][0]
    assert ask(api, "POST", "/v1/messages", raw, token="no").status == 401
    answer = ask(api, "POST", "/v1/messages", raw, token=TOKEN)
    assert answer.status == 202, answer
    assert answer.headers["Location"] == f"/v1/messages/{answer.body['id']}"
    assert ask(api, "GET", "/v1/errors").status == 404
    place.rests("http2", accepted=1, delivered=1)


def test_scheduled_mail_waits_for_its_time_and_its_window(place: NodeAndSink) -> None:
    began = time.time()
    later = place.call("POST", "/v1/messages", body_of("later@http4.test", tags=["http4"], delay="1500ms"), (202,))
    far = place.call("POST", "/v1/messages", body_of("far@http4.test", tags=["http4"], send_at="+1h"), (202,))
    soon = time.gmtime(began + 3 * 3600)
    shut = f"{soon.tm_hour:02}:00-{soon.tm_hour:02}:30"
    closed = place.call("POST", "/v1/messages", body_of("shut@http4.test", tags=["http4"], window=shut), (202,))
    always = body_of("open@http4.test", tags=["http4"], window="00:00-24:00", timezone="Europe/Berlin")
    place.call("POST", "/v1/messages", always, (202,))
    records = [place.call("GET", f"/v1/messages/{one['id']}")["recipients"][0] for one in (far, closed)]
    assert [one["status"] for one in records] == ["DELAYED", "DELAYED"]
    assert records[1]["next_attempt"][11:19] == f"{soon.tm_hour:02}:00:00"
    place.rests("http4", delivered=2, queued=2)
    (taken,) = [one for one in place.taken("http4.test") if one.recipients == ["later@http4.test"]]
    assert taken.mail_at >= began + 1.5
    moved = place.call("POST", "/v1/queues/retry", {"domain": "http4.test"})
    assert moved["moved"] == 0, "neither the time nor the window is an operator's"
    (why,) = place.call("GET", "/v1/queues?domain=http4.test")["queues"][0]["why"]
    assert (why["reason"], why["count"]) == ("scheduled", 2)
    for one in (far, closed):
        assert place.call("POST", f"/v1/messages/{one['id']}/cancel")["status"] == "CANCELED"
    assert place.call("GET", f"/v1/messages/{later['id']}")["status"] == "SENT"


def test_a_rehearsal_reaches_nobody(place: NodeAndSink) -> None:
    made = place.call("POST", "/v1/tokens", {"name": "dry", "scopes": ["messages:send"], "simulate": True}, (201,))
    assert made["simulate"] is True
    by_field = place.call("POST", "/v1/messages", body_of("a@http5.test", tags=["http5"], simulate=True), (202,))
    to = ["b@http5.test", "bounce@simulate.invalid"]
    raw = json.dumps(body_of(to, tags=["http5"], separate=True)).encode()
    by_token = ask(place.api, "POST", "/v1/messages", raw, token=made["token"])
    assert by_token.status == 202, by_token
    place.rests("http5", accepted=3, simulated=3, delivered=0)
    assert place.call("GET", f"/v1/messages/{by_field['id']}")["status"] == "SIMULATED"
    (_, bounced) = by_token.body["recipients"]
    record = place.call("GET", f"/v1/messages/{bounced['id']}")
    assert (record["status"], record["error"]["code"]) == ("SIMULATED", 550)
    assert place.sink.begun_to("http5.test") == []
    place.call("DELETE", f"/v1/tokens/{made['id']}")


def test_the_rest_of_a_call_beyond_the_quota_is_throttled_and_then_calls_are_refused(place: NodeAndSink) -> None:
    place.call("PUT", "/v1/tenants/capped?wait=20s", {"quota": {"per_day": 3}})
    to = [f"{number}@http6.test" for number in range(5)]
    body = body_of(to, tags=["http6"], tenant="capped", separate=True)
    found = place.call("POST", "/v1/messages", body, (202,))["recipients"]
    assert [one.get("status") for one in found] == [None, None, None, "THROTTLED", "THROTTLED"]
    refused = ask(place.api, "POST", "/v1/messages", json.dumps(body).encode(), token=TOKEN)
    assert (refused.status, refused.headers["Retry-After"].isdigit()) == (429, True), refused
    assert "3 deliveries a day is used up until" in refused.body["error"]["message"]
    place.rests("http6", accepted=5, delivered=3, throttled=2)
    assert place.call("GET", f"/v1/messages/{found[4]['id']}")["status"] == "THROTTLED"
    assert place.call("GET", "/v1/tenants/capped")["quota_left"]["day"] == 0
    (event, _) = place.logged("http6", "Throttled", 2)
    assert "3 deliveries a day" in event["reason"]
    place.call("DELETE", "/v1/tenants/capped?wait=20s")


def stream(place, lines, want=202, **head):
    raw = b"".join(json.dumps(line).encode() + b"\n" for line in [body_of(None, **head) | {"to": None}, *lines])
    answer = ask(place.api, "POST", "/v1/messages", raw, "application/x-ndjson")
    assert answer.status == want, answer
    return [json.loads(line) for line in answer.body.splitlines()] if want == 202 else answer.body


def test_recipients_follow_a_message_line_by_line_and_each_has_its_answer(place: NodeAndSink) -> None:
    lines = [f"u{number}@lines1.test" for number in range(250)]
    lines[7] = "no address"
    answers = stream(place, lines, tags=["lines1"])
    assert [one["recipient"] for one in answers] == lines
    assert answers[7]["error"]["text"].startswith("line 9: ")
    ids = [one["message_id"] for one in answers if "error" not in one]
    assert len(set(ids)) == 249
    place.rests("lines1", accepted=249, delivered=249)
    assert sorted(place.arrived("lines1.test")) == sorted(lines[:7] + lines[8:])
    assert stream(place, [], want=400)["error"]["field"] == "body"
    assert stream(place, ["x", "y@"], want=400)["error"]["field"] == "line 2"


def test_those_who_were_spared_are_written_to_with_the_export_as_it_is(place: NodeAndSink) -> None:
    rule = place.order("swept", tag="lines2")
    to = [f"u{number}@lines2.test" for number in range(3)]
    place.call("POST", "/v1/messages", body_of(to, tags=["lines2"]), (202,))
    place.complete(rule)
    rows = []

    def exported():
        answer = ask(place.api, "GET", f"/v1/errors/{rule['id']}/deliveries?class=intercepted&format=ndjson")
        rows[:] = [json.loads(line) for line in answer.body.splitlines()]
        return len(rows) == 3

    until(exported, 20.0, lambda: f"{rows}")
    answers = stream(place, rows, tags=["lines2-again"])
    assert sorted(one["recipient"] for one in answers) == to
    place.rests("lines2-again", accepted=3, delivered=3)
    place.lift(rule)


MAILERQ = {
    "envelope": "bounces@example.com",
    "recipient": "ann@mq1.test",
    "mime": "From: shop@example.com\r\nTo: ann@mq1.test\r\nSubject: Your order\r\n\r\nIt is on its way.\r\n",
    "tags": ["mq1"],
    "maxattempts": 3,
    "retries": [600, 3600],
    "order": "4711",
}


def test_a_message_of_mailerq_is_taken_unchanged(place: NodeAndSink) -> None:
    answer = place.call("POST", "/v1/inject", MAILERQ, (202,))
    place.rests("mq1", accepted=1, delivered=1)
    (received,) = place.taken("mq1.test")
    assert received.sender == "bounces@example.com"
    assert received.body.endswith(MAILERQ["mime"].encode())
    (event,) = place.logged("mq1", "Reception", 1)
    assert event["properties"] == {"order": "4711"}
    assert event["message_id"] == answer["id"]
