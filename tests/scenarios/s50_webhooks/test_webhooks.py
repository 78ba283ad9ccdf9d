"""Webhooks: an endpoint is told what became of mail, as the destination has it."""

import json
import signal
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.scenarios.s50_webhooks.conftest import Told, told
from tests.support.node import signal_to, until
from tests.support.node_and_sink import NodeAndSink
from tests.support.webhook_receiver import Hook, Reply


def serving(place: NodeAndSink) -> int:
    """The process that serves the node's webhooks."""
    return place.node.child("mta.runtime.webhooks")


def test_a_delivery_is_told_with_a_signature_that_a_strangers_library_verifies(place: NodeAndSink) -> None:
    with told(place, tags=["w1"]) as receiver:
        sent = place.node.send(["a@w1.test", "b@w1.test"], ("w1",))
        place.node.send("c@other.test", ("other",))
        receiver.wait("w1", 2)
        for hook in receiver.hooks:
            event = hook.verified(receiver.secret)
            assert event["type"] == "message:updated"
            assert event["data"]["status"] == "SENT"  # delivery.route is a relay
            assert hook.headers["content-type"] == "application/json"
        assert {record["message_id"] for record in receiver.told("w1")} == set(sent)
        assert sorted(record["recipient"] for record in receiver.told("w1")) == sorted(place.arrived("w1.test"))
        record = receiver.told("w1")[0]
        known = place.call("GET", f"/v1/messages/{record['id']}")
        assert {name: known[name] for name in ("seq", "status", "tags", "sender", "accepted_at", "sent_at")} == {
            name: record[name] for name in ("seq", "status", "tags", "sender", "accepted_at", "sent_at")
        }


def test_every_change_is_told_where_that_is_asked_for_and_in_order(place: NodeAndSink) -> None:
    place.sink.script("RCPT", lambda connection, argument: "451 4.7.1 later" if "later@" in argument else None)
    try:
        with told(place, tags=["w2"], when="every") as every, told(place, tags=["w2"]) as final:
            place.node.send("later@w2.test", ("w2",))
            every.wait("w2", 2)
            place.order(tag="w2", goal="swept", code=554)
            final.wait("w2", 1)
            every.wait("w2", 3)
            assert [record["status"] for record in every.told("w2")] == ["ENQUEUED", "ENQUEUED", "UNDELIVERABLE"]
            seqs = [record["seq"] for record in every.told("w2")]
            assert seqs == sorted(seqs)
            assert "later" in every.told("w2")[1]["error"]["text"]
            (end,) = final.told("w2")
            assert (end["status"], end["reason"]) == ("UNDELIVERABLE", "INTERCEPTED")
            assert end["forced"]["rule"]
    finally:
        place.sink.script("RCPT", None)


def test_a_batch_has_one_signature_and_each_event_once(place: NodeAndSink) -> None:
    with told(place, tags=["w3"], batch=100) as receiver:
        with place.node.sender() as client:  # one message: its events come together
            to = [f"u{number}@w3.test" for number in range(40)]
            assert client.sendmail("from@example.org", to, "X-MQ-Tag: w3\r\nSubject: x\r\n\r\nhello\r\n") == {}
        receiver.wait("w3", 40)
        found = [hook.verified(receiver.secret) for hook in receiver.hooks]
        assert {event["type"] for event in found} == {"batch"}
        assert max(len(event["data"]) for event in found) > 1
        assert sorted(record["recipient"] for record in receiver.told("w3")) == sorted(place.arrived("w3.test"))


def test_rules_and_their_statements_are_told(place: NodeAndSink) -> None:
    with told(place, events=["rule:effective", "rule:completed"], tags=["w4"]) as receiver:
        rule = place.order(tag="w4", goal="swept", code=554, description="stopped")
        until(lambda: {event["type"] for hook in receiver.hooks for event in hook.events()} ==
              {"rule:effective", "rule:completed"}, what=lambda: f"{receiver.hooks}")  # fmt: skip
        effective = receiver.events(kind="rule:effective")[0]["data"]
        assert (effective["rule"], effective["tags"], effective["code"]) == (rule["id"], ["w4"], 554)
        assert effective["effective_at"] == rule["effective_at"]
        completed = receiver.events(kind="rule:completed")[0]["data"]
        assert completed["statement"]["balanced"] is True
        place.lift(rule)


def test_a_receiver_that_says_no_gets_the_same_request_again(place: NodeAndSink) -> None:
    answers = iter((Reply(500), Reply(302, {"Location": "http://127.0.0.1:1/"}), Reply(raw=b"garbage\r\n\r\n")))
    with told(place, lambda hook: next(answers, Reply()), tags=["w5"]) as receiver:
        place.node.send("a@w5.test", ("w5",))
        until(lambda: receiver.hooks, what="the first try")
        shown = until(lambda: (w := place.call("GET", receiver.path)).get("last_failure") and w, what="it is shown")
        assert shown["last_failure_reason"] == "HTTP 500" or len(receiver.hooks) > 1
        until(lambda: len(receiver.hooks) >= 2, what="the second try, after 5 s")
        first, second = receiver.hooks[:2]
        assert (first.id, first.body) == (second.id, second.body)
        assert second.at - first.at >= 4.5
        assert int(second.headers["webhook-timestamp"]) > int(first.headers["webhook-timestamp"])
        second.verified(receiver.secret)


def test_a_receiver_says_when_it_wants_to_be_asked_again(place: NodeAndSink) -> None:
    def busy_once(hook: Hook) -> Reply:
        return Reply(429, {"Retry-After": "8"}) if hook.number == 0 else Reply()

    with told(place, busy_once, tags=["w6"]) as receiver:
        place.node.send("a@w6.test", ("w6",))
        until(lambda: "last_failure" in place.call("GET", receiver.path), what="the node has the answer")
        place.node.send("b@w6.test", ("w6",))
        receiver.wait("w6", 3)
        assert all(hook.at - receiver.hooks[0].at >= 7.9 for hook in receiver.hooks[1:])


def test_a_receiver_that_is_gone_is_disabled_until_it_is_enabled(place: NodeAndSink) -> None:
    gone = threading.Event()
    gone.set()
    with told(place, lambda hook: Reply(410 if gone.is_set() else 200), tags=["w7"]) as receiver:
        place.node.send("a@w7.test", ("w7",))
        until(lambda: place.call("GET", receiver.path)["state"] == "disabled", what="410 disables")
        assert "410" in place.call("GET", receiver.path)["reason"]
        place.node.send("b@w7.test", ("w7",))
        place.rests("w7", delivered=2)
        gone.clear()
        place.call("POST", receiver.path + "/enable")
        until(lambda: len(receiver.answered) >= 2, what="it goes on where it stopped")
        assert sorted(event["data"]["recipient"] for hook in receiver.answered for event in hook.events()) == [
            "a@w7.test", "b@w7.test",
        ]  # fmt: skip
        until(lambda: place.call("GET", receiver.path)["state"] == "active", what="its figures are told")


def test_an_old_secret_signs_along(place: NodeAndSink) -> None:
    with told(place, tags=["w8"]) as receiver:
        rotated = place.call("POST", receiver.path + "/rotate")
        assert rotated["secret"] != receiver.secret
        assert rotated["old_secret_until"]
        assert "secret" not in place.call("GET", receiver.path)

        def both() -> bool:
            place.node.send("a@w8.test", ("w8",))
            return any(len(hook.headers["webhook-signature"].split()) == 2 for hook in receiver.hooks)

        until(both, what="two signatures")
        hook = next(hook for hook in receiver.hooks if len(hook.headers["webhook-signature"].split()) == 2)
        assert hook.verified(receiver.secret) == hook.verified(rotated["secret"])


def test_a_test_says_what_the_endpoint_answers(place: NodeAndSink) -> None:
    with told(place, lambda hook: Reply(200 if hook.number == 0 else 503), tags=["w9"]) as receiver:
        assert place.call("POST", receiver.path + "/test") == {"delivered": True, "status": 200}
        event = receiver.hooks[0].verified(receiver.secret)
        assert event["type"] == "webhook:test"
        assert place.call("POST", receiver.path + "/test") == {
            "delivered": False, "status": 503, "reason": "HTTP 503",
        }  # fmt: skip


def test_the_past_is_told_once_more_by_order(place: NodeAndSink) -> None:
    begin = (datetime.now(UTC) - timedelta(seconds=5)).isoformat()
    place.node.send([f"u{number}@w10.test" for number in range(5)], ("w10",))
    place.rests("w10", delivered=5)
    until(lambda: len(place.call("GET", "/v1/messages?tag=w10&status=SENT")["messages"]) == 5, what="history has them")
    with told(place, tags=["w10"]) as receiver:
        place.call("POST", receiver.path + "/replay", {"from": begin}, want=(202,))
        receiver.wait("w10", 5)
        place.node.send("late@w10.test", ("w10",))
        receiver.wait("w10", 6)
        names = [record["recipient"] for record in receiver.told("w10")]
        assert sorted(names) == sorted(place.arrived("w10.test"))
        until(lambda: not place.call("GET", receiver.path)["replays"], what="the replay is over")
        ids = [hook.id for hook in receiver.hooks]
        place.call("POST", receiver.path + "/replay", {"from": begin}, want=(202,))
        receiver.wait("w10", 12)
        assert {hook.id for hook in receiver.hooks} == set(ids)  # an event keeps its id


def test_a_killed_process_loses_nothing_and_repeats_what_it_answered_last(place: NodeAndSink) -> None:
    slow = Reply(wait=0.02)
    with told(place, lambda hook: slow, tags=["w11"]) as receiver:
        sender = threading.Thread(
            target=lambda: place.node.send([f"u{number}@w11.test" for number in range(300)], ("w11",))
        )
        sender.start()
        receiver.wait("w11", 50)
        old = serving(place)
        signal_to(old, signal.SIGKILL)
        killed_at = time.monotonic()
        sender.join()
        until(lambda: len({record["id"] for record in receiver.told("w11")}) == 300, what="each of them is told")
        ids = [hook.id for hook in receiver.hooks]
        twice = {one for one in ids if ids.count(one) > 1}
        first_told = {hook.id: hook.at for hook in reversed(receiver.hooks)}
        assert all(first_told[one] > killed_at - 15.0 for one in twice)


def test_a_dead_endpoint_holds_nobody_up(place: NodeAndSink) -> None:
    def never(hook: Hook) -> Reply:
        return Reply(wait=8.0)  # longer than webhooks.timeout

    def redirecting(hook: Hook) -> Reply:
        return Reply(301, {"Location": "http://127.0.0.1:9/"})

    def garbage(hook: Hook) -> Reply:
        return Reply(raw=b"\0" * 1000)

    came: list[tuple[str, float]] = []
    sent: dict[str, float] = {}

    def note(hook: Hook) -> Reply:
        for event in hook.events():
            came.append((event["data"]["message_id"], time.time()))
        return Reply()

    stack: list[Any] = [told(place, decide, tags=["w12"]) for decide in (never, redirecting, garbage, note)]
    receivers: list[Told] = [one.__enter__() for one in stack]
    try:
        with place.node.sender() as client:
            for number in range(60):
                before = time.time()
                sent[place.node.send_on(client, f"u{number}@w12.test", ("w12",))] = before
        live = receivers[-1]
        live.wait("w12", 60)
        assert sorted(record["recipient"] for record in live.told("w12")) == sorted(place.arrived("w12.test"))
        assert max(at - sent[message] for message, at in came) < 30.0  # a busy machine; the measurement has the figure
        for receiver in receivers[:-1]:
            until(lambda path=receiver.path: place.call("GET", path).get("failures", 0) > 0, what="failures are shown")
    finally:
        for one in reversed(stack):
            one.__exit__(None, None, None)


def test_private_addresses_that_no_setting_allows_get_nothing(place: NodeAndSink) -> None:
    for url in ("http://10.255.255.1/hook", "https://10.255.255.1/hook", "https://[::1]/hook"):
        answer = place.call("POST", "/v1/webhooks", {"url": url, "tags": ["w13"]}, want=(400,))
        assert answer["error"]["field"] == "url"
    made = place.call("POST", "/v1/webhooks", {"url": "https://nowhere.invalid/hook", "tags": ["w13"]})
    answer = place.call("POST", f"/v1/webhooks/{made['id']}/test")
    assert answer == {"delivered": False, "reason": "the name has no public address"}
    place.call("DELETE", f"/v1/webhooks/{made['id']}")


def test_the_list_and_the_metrics_show_how_an_endpoint_stands(place: NodeAndSink) -> None:
    with told(place, tags=["w14"], description="crm") as receiver:

        def is_served() -> bool:
            shown = place.call("GET", receiver.path)
            return shown["state"] == "active" and not shown["backlog"]  # of events of other tests

        until(is_served, what="it is served and has read what is in history")
        listed = place.call("GET", "/v1/webhooks")["webhooks"]
        (mine,) = [one for one in listed if one["id"] == receiver.webhook["id"]]
        assert (mine["description"], mine["node"]) == ("crm", "n1")
        assert "secret" not in json.dumps(listed).replace("old_secret_until", "")
