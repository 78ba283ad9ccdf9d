"""Mail over HTTP: each accepted recipient gets it once, as it was composed, and tags, rules and cancels hold for it."""

import email
import email.policy

from tests.support.node import TOKEN
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
    import json

    raw = json.dumps(body_of("ann@http2.test", tags=["http2"])).encode()
    api = place.node.ready["inject"][0]
    assert ask(api, "POST", "/v1/messages", raw, token="no").status == 401
    answer = ask(api, "POST", "/v1/messages", raw, token=TOKEN)
    assert answer.status == 202, answer
    assert answer.headers["Location"] == f"/v1/messages/{answer.body['id']}"
    assert ask(api, "GET", "/v1/errors").status == 404
    place.rests("http2", accepted=1, delivered=1)
