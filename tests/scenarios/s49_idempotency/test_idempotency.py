"""Mail with an idempotency key, and a node of two workers: the destination gets it once, however often it comes."""

import http.client
import itertools
import json
import re
import signal
import smtplib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mta.redis_store import keys
from tests.support.canaries import figures
from tests.support.node import signal_to, until
from tests.support.node_and_sink import NodeAndSink, shared
from tests.support.rest import JSON, Answer, ask

TOMORROW = "X-MQ-Delayed: +24h"


class Repeating(NodeAndSink):
    """A client that hands mail in with a key, on a connection of its own each time."""

    def hand_in(self, to: str, key: str, *headers: str, body: str = "hello") -> tuple[int, str]:
        """The answer to the end of data, or to MAIL or RCPT where that is refused."""
        with self.node.sender() as client:
            code, reply = client.mail("from@example.org")
            if code != 250:
                return code, reply.decode()
            code, reply = client.rcpt(to)
            if code != 250:
                return code, reply.decode()
            lines = (f"X-MQ-Idempotency-Key: {key}", *headers, "Subject: test", "", body, "")
            code, reply = client.data("\r\n".join(lines).encode())
            return code, reply.decode()

    def hand_in_until_taken(self, to: str, key: str, *headers: str) -> str:
        """As a client does while the node is in trouble; the answer."""

        def attempt() -> str:
            try:
                code, reply = self.hand_in(to, key, *headers)
            except (OSError, smtplib.SMTPException):
                return ""
            assert code in (250, 421, 451, 452), reply
            return reply if code == 250 else ""

        return str(until(attempt, what=f"{key} is not taken"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repeating]:
    folder = tmp_path_factory.mktemp("s49")
    with shared(Repeating(folder, messages__idempotency_memory="1MiB", messages__idempotency_window="5m")) as made:
        yield made


def test_a_repeat_gets_the_first_answer_and_is_delivered_once(place: Any):
    answers = [place.hand_in("a@once.test", "order 7", "X-MQ-Tag: once") for _ in range(6)]
    assert len(set(answers)) == 1
    code, text = answers[0]
    assert (code, re.fullmatch(r"2\.0\.0 queued as [0-9A-Z]{26}", text) is not None) == (250, True)
    assert place.hand_in("a@once.test", "order 7", "X-MQ-Tag: once", body="other")[0] == 550
    assert place.hand_in("a@once.test", "order 8", "X-MQ-Tag: once")[1] != text
    place.rests("once", accepted=2, delivered=2)
    assert place.arrived("once.test") == ["a@once.test"] * 2
    assert not any(b"dempotency" in received.body for received in place.taken("once.test"))
    until(lambda: sum(n for name, n in figures(place.api).items() if "messages_replayed_total" in name) >= 5)


def test_a_message_that_a_rule_refused_may_come_again(place: Any):
    rule = place.order(tag="refused", at_the_door="reject")
    assert place.hand_in("a@refused.test", "refused", "X-MQ-Tag: refused")[0] == 554
    place.lift(rule)
    assert place.hand_in("a@refused.test", "refused", "X-MQ-Tag: refused")[0] == 250
    place.rests("refused", delivered=1)
    rule = place.order(tag="refused", at_the_door="reject")
    assert place.hand_in("a@refused.test", "refused", "X-MQ-Tag: refused")[0] == 250  # it had been accepted
    place.lift(rule)
    place.rests("refused", accepted=1, delivered=1)


def test_scheduled_mail_is_canceled_once_and_a_repeat_does_not_bring_it_back(place: Any):
    answer = place.hand_in("a@later.test", "later", "X-MQ-Tag: later", TOMORROW)
    message = answer[1].rpartition(" ")[2]
    place.call("POST", f"/v1/messages/{message}/cancel")
    assert place.hand_in("a@later.test", "later", "X-MQ-Tag: later", TOMORROW) == answer
    place.rests("later", accepted=1, canceled=1, queued=0)


def send(place: Any, key: str, body: dict[str, Any], path: str = "/v1/messages", kind: str = JSON) -> Answer:
    """The answer to a call with the key; the body is written as JSON."""
    return ask(place.api, "POST", path, json.dumps(body).encode(), kind, Idempotency_Key=key)


def test_a_call_that_is_repeated_gets_the_first_answer_and_sends_once(place: Any):
    to = [f"r{number}@http.test" for number in range(130)]
    body = {"from": "shop@example.com", "to": [*to, "nonsense"], "separate": True, "text": "x", "tags": ["http"]}
    answers = [send(place, "call 1", body | {"delay": "1s"}) for _ in range(3)]
    assert [answer.status for answer in answers] == [202] * 3
    assert [answer.headers["Idempotent-Replay"] for answer in answers] == [None, "true", "true"]
    assert answers[0].body == answers[1].body == answers[2].body
    assert answers[2].headers["Location"] == answers[0].headers["Location"]
    assert answers[0].body["recipients"][130]["error"]["code"] == 553
    place.rests("http", accepted=130, delivered=130)
    assert sorted(place.arrived("http.test")) == sorted(to)
    other = send(place, "call 1", body)
    assert (other.status, other.body["error"]["field"]) == (422, "Idempotency-Key")
    assert ask(place.api, "POST", "/v1/messages", json.dumps(body | {"tags": ["http-2"]}).encode()).status == 202
    place.rests("http-2", accepted=130, delivered=130)


def test_keys_of_two_ways_in_and_of_two_tokens_are_apart(place: Any):
    mime = "From: a@b.test\r\nSubject: x\r\n\r\nx\r\n"
    injected = {"envelope": "a@b.test", "recipient": "a@ways.test", "mime": mime, "tags": ["ways"]}
    first = send(place, "ways", injected, "/v1/inject")
    assert send(place, "ways", injected, "/v1/inject").body == first.body
    assert place.hand_in("a@ways.test", "ways", "X-MQ-Tag: ways")[0] == 250
    made = place.call("POST", "/v1/tokens", {"name": "other", "scopes": ["messages:send"]})
    raw = json.dumps(injected).encode()
    other = ask(place.api, "POST", "/v1/inject", raw, token=made["token"], Idempotency_Key="ways")
    assert (other.status, other.headers["Idempotent-Replay"]) == (202, None)
    place.rests("ways", accepted=3, delivered=3)


def test_a_key_that_cannot_be_used_is_refused_by_name(place: Any):
    body = {"from": "shop@example.com", "to": ["a@bad.test"], "text": "x", "tags": ["bad"]}
    for key in ("k" * 256, "\xe9"):
        answer = send(place, key, body)
        assert (answer.status, answer.body["error"]["field"]) == (400, "Idempotency-Key")
    stream = send(place, "stream", body, kind="application/x-ndjson")
    assert (stream.status, stream.body["error"]["field"]) == (400, "Idempotency-Key")
    place.rests("bad", accepted=0)


def test_a_key_outlives_workers_and_the_server(place: Any):
    """It may be repeated while both are away: mail comes once all the same."""
    first = place.hand_in_until_taken("a@killed.test", "killed", "X-MQ-Tag: killed")
    for pid in place.node.workers():
        signal_to(pid, signal.SIGKILL)
    assert place.hand_in_until_taken("a@killed.test", "killed", "X-MQ-Tag: killed") == first
    place.valkey.stop(signal.SIGKILL)
    place.valkey.start()
    assert place.hand_in_until_taken("a@killed.test", "killed", "X-MQ-Tag: killed") == first
    assert place.rests("killed", accepted=1, queued=0)["accepted"] == 1


def test_where_the_memory_for_keys_is_full_new_ones_are_refused_and_known_ones_answered(place: Any):
    first = place.hand_in_until_taken("a@full.test", "known", "X-MQ-Tag: full")
    use = keys.idem_use_key(keys.lane_prefix(0)).decode()
    place.valkey.ask("HSET", use, "99999999999", str(1 << 20))
    numbers = itertools.count()
    refused = until(lambda: (got := place.hand_in("b@full.test", f"new {next(numbers)}"))[0] == 452 and got)
    assert refused == (452, "4.3.1 too many idempotency keys are kept, try again later or without a key")
    assert place.hand_in("a@full.test", "known", "X-MQ-Tag: full") == (250, first)
    assert place.node.send("c@full.test")
    until(lambda: "idempotency keys take all of messages.idempotency_memory" in place.node.errors())
    until(lambda: figures(place.api)["floodgate_idempotency_bytes"] > 1 << 20)
    assert figures(place.api)["floodgate_idempotency_bytes_limit"] == 1 << 20
    place.valkey.ask("HDEL", use, "99999999999")
    place.hand_in_until_taken("d@full.test", "newer")


def test_an_order_with_a_key_is_carried_out_once_also_when_the_api_was_killed_between(place: Any):
    rule = json.dumps({"code": 554, "tag": "once-only"}).encode()
    token = json.dumps({"name": "once", "scopes": ["messages:send"]}).encode()

    def order(path: str, body: bytes, key: str) -> Answer:
        return ask(place.api, "POST", path, body, Idempotency_Key=key)

    first, made = order("/v1/errors?wait=50s", rule, "rule 1"), order("/v1/tokens", token, "token 1")
    assert (first.status, made.status) == (201, 201)
    place.lift(first.body)
    again = order("/v1/errors?wait=50s", rule, "rule 1")
    assert (again.status, again.body, again.headers["Idempotent-Replay"]) == (201, first.body, "true")
    assert place.call("GET", "/v1/errors?tag=once-only") == [], "the repeat has made no rule"
    assert order("/v1/errors", rule, "token 1").status == 422
    signal_to(place.node.child("control_api"), signal.SIGKILL)
    repeated = until(lambda: _answer(lambda: order("/v1/tokens", token, "token 1")), what="the API does not come back")
    assert (repeated.status, repeated.body) == (201, made.body)
    assert sum(one["name"] == "once" for one in place.call("GET", "/v1/tokens")["tokens"]) == 1


def _answer(ask_once: Callable[[], Answer]) -> Answer | None:
    """None: there is none, or the API has no store yet."""
    try:
        answer = ask_once()
    except (OSError, http.client.HTTPException):
        return None
    return None if answer.status == 503 else answer
