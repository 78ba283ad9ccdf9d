"""Mail over HTTP: each accepted recipient gets it once, as it was composed, and tags, rules and cancels hold for it."""

import email
import email.policy
import http.client
import itertools
import json
import signal
import threading
import time
from typing import Any

import pytest

from tests.support.node import TOKEN, signal_to, until
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
    assert taken.mail_at >= began + 1.45
    listed = "/v1/messages?tag=http4&status=DELAYED"
    until(lambda: len(place.call("GET", listed)["messages"]) == 2, what="scheduled mail is not listed")
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


@pytest.mark.usefixtures("one_hour")
def test_the_rest_of_a_call_beyond_the_quota_is_throttled_and_then_calls_are_refused(place: NodeAndSink) -> None:
    place.call("PUT", "/v1/tenants/capped?wait=50s", {"quota": {"per_day": 3}})
    to = [f"{number}@http6.test" for number in range(5)]
    body = body_of(to, tags=["http6"], tenant="capped", separate=True)
    found = place.call("POST", "/v1/messages", body, (202,))["recipients"]
    assert [one.get("status") for one in found] == [None, None, None, "THROTTLED", "THROTTLED"]
    refused = ask(place.api, "POST", "/v1/messages", json.dumps(body).encode(), token=TOKEN)
    midnight = 86400 - time.time() % 86400
    assert refused.status == 429, refused
    assert abs(int(refused.headers["Retry-After"]) - midnight) < 60 or midnight < 60
    assert "3 deliveries a day is used up until" in refused.body["error"]["message"]
    place.rests("http6", accepted=5, delivered=3, throttled=2)
    assert place.call("GET", f"/v1/messages/{found[4]['id']}")["status"] == "THROTTLED"
    assert place.call("GET", "/v1/tenants/capped")["quota_left"]["day"] == 0
    (event, _) = place.logged("http6", "Throttled", 2)
    assert "3 deliveries a day" in event["reason"]
    place.call("DELETE", "/v1/tenants/capped?wait=50s")


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


def test_those_who_were_spared_are_written_to_with_the_export_as_it_is(place: Any) -> None:
    rule = place.order("swept", tag="lines2")
    to = [f"u{number}@lines2.test" for number in range(3)]
    place.call("POST", "/v1/messages", body_of(to, tags=["lines2"]), (202,))
    place.complete(rule)
    rows = place.spared(rule["id"], 3)
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


class OpenStream:
    """A stream of recipients whose end has not come."""

    def __init__(self, place: NodeAndSink, **head: Any) -> None:
        host, _, port = place.api.removeprefix("http://").partition(":")
        self.connection = http.client.HTTPConnection(host, int(port), timeout=90)
        self.connection.putrequest("POST", "/v1/messages")
        for name, value in (
            ("Authorization", f"Bearer {TOKEN}"),
            ("Content-Type", "application/x-ndjson"),
            ("Transfer-Encoding", "chunked"),
        ):
            self.connection.putheader(name, value)
        self.connection.endheaders()
        self.write({name: value for name, value in body_of(None, **head).items() if name != "to"})

    def write(self, *lines: Any) -> None:
        raw = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        self.connection.send(b"%x\r\n%s\r\n" % (len(raw), raw))

    def end(self) -> list[dict[str, Any]]:
        self.connection.send(b"0\r\n\r\n")
        answer = self.connection.getresponse()
        assert answer.status == 202, answer.read()
        found = [json.loads(line) for line in answer.read().splitlines()]
        self.connection.close()
        return found


def test_a_rule_that_comes_in_the_middle_of_a_stream_meets_the_rest(place: NodeAndSink) -> None:
    stream = OpenStream(place, tags=["middle"])
    stream.write(*[f"u{number}@middle.test" for number in range(50)])
    place.rests("middle", accepted=50, delivered=50)
    rule = place.order(tag="middle")
    stream.write(*[f"v{number}@middle.test" for number in range(50)])
    answers = stream.end()
    assert [one.get("status") for one in answers] == [None] * 50 + ["UNDELIVERABLE"] * 50
    found = place.rests("middle", accepted=100, delivered=50)
    assert found["intercepted"]["door"] == 50
    assert all(address.startswith("u") for address in place.arrived("middle.test"))
    place.lift(rule)
    refusing = place.order(tag="middle", at_the_door="reject", extended="5.7.1", description="withdrawn")
    answer = ask(place.api, "POST", "/v1/messages", json.dumps(body_of("w@middle.test", tags=["middle"])).encode())
    assert (answer.status, answer.body["error"]["message"]) == (422, "withdrawn")
    place.lift(refusing)


def test_a_cancel_by_tag_ends_mail_that_came_over_http(place: NodeAndSink) -> None:
    to = [{"email": f"u{number}@held.test", "metadata": {"n": str(number)}} for number in range(20)]
    place.call("POST", "/v1/messages", body_of(to, tags=["held"], separate=True, delay="1h"), (202,))
    rule = place.order("swept", tag="held")
    place.complete(rule)
    assert place.rests("held", accepted=20, queued=0)["intercepted"]["queued"] == 20
    events = place.logged("held", "Intercepted", 20)
    assert sorted(int(event["properties"]["n"]) for event in events) == list(range(20))
    place.lift(rule)


def test_each_answer_202_arrives_though_the_process_is_killed(place: NodeAndSink) -> None:
    """S-1: a killed process loses nothing that it has answered for."""
    accepted: list[str] = []
    stop = threading.Event()

    def send(name: str) -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            address = f"{name}{number}@killed.test"
            try:
                status, _ = place.node.call("POST", "/v1/messages", body_of(address, tags=["killed"]))
            except (OSError, http.client.HTTPException):  # nobody knows of this one
                stop.wait(0.02)
                continue
            if status == 202:
                accepted.append(address)

    threads = [threading.Thread(target=send, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for goal in (20, 40, 60):
        until(lambda goal=goal: len(accepted) >= goal, what=lambda: f"{len(accepted)} accepted")
        signal_to(place.node.child("control_api.injection"), signal.SIGKILL)
        goal_after = len(accepted) + 10
        until(lambda goal=goal_after: len(accepted) >= goal, what=lambda: f"{len(accepted)} accepted after a kill")
    stop.set()
    for thread in threads:
        thread.join()
    until(lambda: set(accepted) <= set(place.arrived("killed.test")), what="some 202 did not arrive")
    assert place.rests("killed", queued=0)["accepted"] >= len(accepted)


def test_calls_that_cannot_be_taken_name_the_field_and_keep_nothing(place: NodeAndSink) -> None:
    for fields, status, field in (
        ({"to": []}, 400, "to"),
        ({"to": ["x@bad.test", 7]}, 400, "to[1]"),
        ({"to": "no address"}, 400, "to"),
        ({"to": [{"email": "x@"}]}, 400, "to[0].email"),
        ({"subject": "a\r\nBcc: all@bad.test"}, 400, "subject"),
        ({"headers": {"X-A": "b\nc"}}, 400, "headers.X-A"),
        ({"headers": {"Bcc": "all@bad.test"}}, 400, "headers.Bcc"),
        ({"headers": {"X-MQ-Pool": "p"}}, 400, "headers.X-MQ-Pool"),
        ({"headers": {"DKIM-Signature": "v=1"}}, 400, "headers.DKIM-Signature"),
        ({"attachments": [{"content": "?"}]}, 400, "attachments[0].content"),
        ({"tags": ["t"] * 65}, 400, "tags"),
        ({"mime": "Subject: x\r\n\r\nx"}, 400, "subject"),
        ({"colour": "blue"}, 400, "colour"),
        ({"cc": "c@bad.test", "separate": True}, 400, "cc"),
        ({"tags": ["bad"], "to": [f"{n}@bad.test" for n in range(1001)]}, 400, "to"),
    ):
        answer = ask(place.api, "POST", "/v1/messages", json.dumps(body_of("x@bad.test") | fields).encode())
        assert (answer.status, answer.body["error"]["field"]) == (status, field), (fields, answer)
    assert place.sink.begun_to("bad.test") == []


def test_one_bad_address_among_others_has_its_error(place: NodeAndSink) -> None:
    to = ["ann@part.test", {"email": "bob(at)part.test"}, "ann@PART.test", "eve@m\u00fcnchen.part.test"]
    answer = place.call("POST", "/v1/messages", body_of(to, cc="cc@part.test", tags=["part"]), (202,))
    ann, bob, again, eve, cc = answer["recipients"]
    assert (bob["recipient"], bob["error"]["text"][:12]) == ("bob(at)part.test", "to[1].email:")
    assert ann["id"] == again["id"]
    assert eve["recipient"] == "eve@xn--mnchen-3ya.part.test"
    place.rests("part", accepted=3, delivered=3)
    (read, *_) = (email.message_from_bytes(one.body, policy=email.policy.default) for one in place.taken("part.test"))
    assert read["Cc"] == "cc@part.test"
    assert cc["id"].endswith(".3")
