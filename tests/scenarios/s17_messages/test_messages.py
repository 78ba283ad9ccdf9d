"""One message is canceled over REST wherever it is, and the answer is what became of it."""

import datetime
import json
import os
import signal
import time
from typing import Any

from tests.scenarios.s17_messages.conftest import STALENESS
from tests.support.command_forks import Said, floodgate
from tests.support.node import TOKEN, until
from tests.support.orders import seconds
from tests.support.rest import ask
from tests.support.sink import HOLD


def _received(place: Any, domain: str) -> int:
    return len(place.sink.to(domain))


def test_what_is_scheduled_is_canceled_at_once_and_stays_so(place: Any):
    (id_,) = place.node.send("a@later.test", ("later",), X_MQ_Delayed="+1h")
    waiting = place.show(id_)
    assert (waiting["status"], waiting["tags"], waiting["sender"]) == ("DELAYED", ["later"], "from@example.org")
    assert seconds(waiting["recipients"][0]["next_attempt"]) > time.time() + 3000
    asked = time.time()
    answer = place.cancel(id_)
    assert (answer.status, answer.body["status"], answer.body["id"]) == (200, "CANCELED", id_)
    assert asked - 0.25 <= seconds(answer.body["canceled_at"]) <= time.time() + 0.25
    (recipient,) = answer.body["recipients"]
    assert (recipient["recipient"], recipient["status"], recipient["uncertain"]) == ("a@later.test", "CANCELED", False)
    assert place.cancel(id_)[::2] == (200, answer.body)
    assert place.show(id_) == answer.body
    line = place.line(id_, "Cancellation")
    assert (line["id"], line["pool"], line["origin"]) == (f"{id_}.1", "default", "local")
    assert "attempt" not in line
    statement = place.node.statement("later")
    assert (statement["canceled"], statement["queued"], statement["balanced"]) == (1, 0, True)
    assert not _received(place, "later.test")


def test_scheduled_mail_is_never_early_and_listed_canceled_and_ended_like_any_other(place: Any):
    asked: dict[str, float] = {}
    with place.node.sender() as client:
        for number in range(40):
            due, address = round(time.time() + 1.0 + number % 8 / 4, 3), f"{number}@timed.test"
            moment = datetime.datetime.fromtimestamp(due, datetime.UTC).isoformat("T", "milliseconds")
            asked[address] = due
            place.node.send_on(client, address, ("timed",), X_MQ_Delayed=moment)
        never = place.node.send_on(client, "never@timed.test", ("timed",), X_MQ_Delayed="+1h")
        swept = place.node.send_on(client, "swept@timed.test", ("timed", "wrong"), X_MQ_Delayed="+1h")
    (listed,) = place.call("GET", f"/v1/messages/{never}")["recipients"]
    assert listed["status"] == "DELAYED"
    assert place.cancel(never).status == 200
    rule = place.order(tag="wrong", goal="swept")
    assert place.show(swept)["recipients"][0]["reason"] == "INTERCEPTED"
    place.lift(rule)
    until(lambda: len(place.arrived("timed.test")) == 40, what="scheduled mail does not arrive")
    late = {one.recipients[0]: one.mail_at - asked[one.recipients[0]] for one in place.taken("timed.test")}
    assert min(late.values()) >= -0.05, late  # the node goes by the clock of its store
    assert max(late.values()) < 20, late
    place.rests("timed", delivered=40, canceled=1, queued=0)


def test_what_was_deferred_is_canceled_with_its_last_reply(place: Any):
    place.sink.script("RCPT", "450 4.2.1 later")
    (id_,) = place.node.send("a@deferred.test", ("deferred",))
    until(lambda: place.lines(id_, "TransientFailure"))
    waiting = place.show(id_)
    assert (waiting["status"], waiting["error"]) == ("ENQUEUED", {"code": 450, "enhanced": "4.2.1", "text": "later"})
    assert waiting["recipients"][0]["attempts"] == 1
    answer = place.cancel(id_)
    assert (answer.status, answer.body["status"], answer.body["error"]["code"]) == (200, "CANCELED", 450)
    assert place.line(id_, "Cancellation")["attempt"] == 1


def test_what_a_worker_holds_before_its_dot_is_aborted_and_never_received(place: Any):
    place.sink.script("DATA", HOLD)
    (id_,) = place.node.send("a@stalled.test", ("stalled",))
    until(lambda: place.sink.begun_to("stalled.test"))
    answer = place.cancel(id_)
    assert (answer.status, answer.body["status"]) == (200, "CANCELED"), answer
    assert answer.body["recipients"][0]["uncertain"] is False
    place.sink.script("DATA", None)
    place.sink.release("354 go on")
    place.node.send("b@stalled.test", ("stalled",))
    until(lambda: place.node.statement("stalled")["delivered"] == 1)
    assert [r.recipients for r in place.sink.to("stalled.test")] == [["b@stalled.test"]]
    assert place.line(id_, "Cancellation")["remote_ip"] == "127.0.0.1"


def test_what_is_past_its_dot_and_taken_is_told_so(place: Any):
    place.sink.script(".", HOLD)
    (id_,) = place.node.send("a@past.test", ("past",))
    until(lambda: _received(place, "past.test"))
    asked = time.time()
    pending = place.cancel(id_, "300ms")
    assert (pending.status, pending.body["status"]) == (202, "ENQUEUED")
    assert asked + STALENESS + 0.4 < seconds(pending.body["effective_by"]) < time.time() + STALENESS + 0.6
    again = place.cancel(id_, "0")
    assert (again.status, again.body["effective_by"]) == (202, pending.body["effective_by"])
    place.sink.script(".", None)
    place.sink.release("250 2.0.0 taken")
    sent = place.cancel(id_)
    assert (sent.status, sent.body["status"], sent.headers["x-should-retry"]) == (409, "SENT", "false")
    statement = place.node.statement("past")
    assert (statement["delivered"], statement["canceled"]) == (1, 0)


def test_what_is_past_its_dot_and_lost_is_canceled_and_may_have_arrived(place: Any):
    place.sink.script(".", HOLD)
    (id_,) = place.node.send("a@lost.test", ("lost",))
    until(lambda: _received(place, "lost.test"))
    assert place.cancel(id_, "0").status == 202
    place.sink.cut()
    answer = place.cancel(id_)
    assert (answer.status, answer.body["status"]) == (200, "CANCELED")
    assert answer.body["recipients"][0]["uncertain"] is True
    statement = place.node.statement("lost")
    assert (statement["canceled"], statement["uncertain"], statement["balanced"]) == (1, 1, True)
    assert _received(place, "lost.test") == 1


def test_what_was_sent_is_409_and_what_nobody_knows_is_404(place: Any):
    (id_,) = place.node.send("a@sent.test", ("sent",))
    assert place.becomes(id_, "SENT")["recipients"][0]["ended_at"]
    answer = place.cancel(id_)
    assert (answer.status, answer.body) == (409, place.show(id_))
    place.sink.script("RCPT", "550 5.1.1 no such user")
    (id_,) = place.node.send("a@refused.test", ("sent",))
    refused = place.becomes(id_, "UNDELIVERABLE")
    assert (refused["reason"], refused["error"]["code"]) == ("BOUNCED", 550)
    assert place.cancel(id_).status == 409
    assert place.cancel("0" * 26).status == 404
    assert place.cancel("zero").status == 400


def test_the_commands_say_the_same_as_the_api(place: Any):
    def messages(*words: str) -> Said:
        return floodgate(
            "messages", *words, environ=os.environ | {"FLOODGATE_URL": place.api, "FLOODGATE_TOKEN": TOKEN}
        )

    waiting, sent = place.node.send(["a@command.test"], ("command",), X_MQ_Delayed="+1h") + place.node.send(
        "b@command.test"
    )
    place.becomes(sent, "SENT")
    shown = messages("show", waiting, "--json")
    assert (shown.status, json.loads(shown.out)) == (0, place.show(waiting))
    done = messages("cancel", waiting)
    assert (done.status, "CANCELED" in done.out, done.err) == (0, True, "")
    one = messages("show", f"{waiting}.1")
    assert (one.status, f"{waiting}.1" in one.out, "CANCELED" in one.out) == (0, True, True), one
    of_one = messages("cancel", f"{sent}.1")
    assert of_one.err.startswith("floodgate: not canceled: the delivery is SENT since "), of_one
    late = messages("cancel", sent, "--wait", "0")
    assert (late.status, late.err.startswith("floodgate: not canceled: the message is SENT since ")) == (1, True)
    assert place.show(waiting)["status"] == "CANCELED"


def test_each_recipient_of_several_has_its_own_result(place: Any):
    place.sink.script("RCPT", lambda _, argument: "450 4.2.1 later" if "@slow" in argument else None)
    to = ["a@quick.test", "b@slow.test", "c@slow.test", "d@slower.test"]
    id_ = place.send_together("several", *to)
    until(lambda: len(place.lines(id_, "TransientFailure")) == 3 and place.lines(id_, "Delivery"))
    assert place.show(id_)["status"] == "ENQUEUED"
    answer = place.cancel(id_)
    assert (answer.status, answer.body["status"]) == (200, "CANCELED")
    results = [(r["id"], r["recipient"], r["status"]) for r in answer.body["recipients"]]
    words = ("SENT", "CANCELED", "CANCELED", "CANCELED")
    assert results == [(f"{id_}.{n}", *pair) for n, pair in enumerate(zip(to, words, strict=True), 1)]
    statement = place.node.statement("several")
    assert (statement["accepted"], statement["delivered"], statement["canceled"]) == (4, 1, 3)


def test_one_delivery_is_canceled_and_the_other_recipients_get_theirs(place: Any):
    place.sink.script("DATA", HOLD)
    id_ = place.send_together("both", "a@both.test", "b@both.test", "c@both.test")
    until(lambda: place.sink.begun_to("both.test"))
    answer = place.cancel(f"{id_}.2")
    assert (answer.status, answer.body["id"], answer.body["status"]) == (200, f"{id_}.2", "CANCELED"), answer
    place.sink.script("DATA", None)
    place.sink.release("354 go on")
    until(lambda: sorted(place.arrived("both.test")) == ["a@both.test", "c@both.test"])
    line = place.line(id_, "Cancellation")
    assert (line["id"], line["recipient"], line["actor"]) == (f"{id_}.2", "b@both.test", "admin")
    assert place.cancel(f"{id_}.2").status == 200
    (audit, *_) = place.call("GET", "/v1/audit?limit=1")["entries"]
    assert (audit["action"], audit["of"]) == ("message.cancel", f"{id_}.2")
    place.becomes(f"{id_}.1", "SENT")
    sent = place.cancel(f"{id_}.1")
    assert (sent.status, sent.headers["x-should-retry"], sent.body["status"]) == (409, "false", "SENT")
    assert [r["status"] for r in place.show(id_)["recipients"]] == ["SENT", "CANCELED", "SENT"]
    for unknown in (f"{id_}.4", f"{id_}.65535"):
        assert place.cancel(unknown).status == 404
    for malformed in (f"{id_}.0", f"{id_}.65536", f"{id_}.", f"{id_}.01", f"{id_}.-1", f"{id_}.x"):
        assert place.cancel(malformed).status == 400, malformed
    assert place.rests("both", delivered=2, canceled=1)["accepted"] == 3


def test_one_delivery_past_its_dot_is_told_as_that(place: Any):
    place.sink.script(".", HOLD)
    id_ = place.send_together("dot", "a@dot.test", "b@dot.test")
    until(lambda: _received(place, "dot.test"))
    pending = place.cancel(f"{id_}.1", "0")
    assert (pending.status, pending.body["id"], pending.body["status"]) == (202, f"{id_}.1", "ENQUEUED")
    assert seconds(pending.body["effective_by"]) > time.time()
    assert "cancel_asked_at" not in place.show(f"{id_}.2"), "nobody asked for it"
    place.sink.script(".", None)
    place.sink.release("451 4.3.0 not now")
    assert place.cancel(f"{id_}.1").status == 200
    until(lambda: place.lines(id_, "TransientFailure"))
    assert [r["status"] for r in place.show(id_)["recipients"]] == ["CANCELED", "ENQUEUED"]
    assert place.line(id_, "Cancellation")["actor"] == "admin", "the worker was told by the store"
    assert place.cancel(id_).status == 200


def test_a_frozen_worker_sends_nothing_and_what_it_held_is_canceled(place: Any):
    place.sink.script("DATA", HOLD)
    (id_,) = place.node.send("a@frozen.test", ("frozen",))
    until(lambda: place.sink.begun_to("frozen.test"))
    _, pid = place.holder()
    stopped = (place.node.process.pid, pid)  # the supervisor, too, which would replace it
    for one in stopped:
        os.kill(one, signal.SIGSTOP)
    try:
        pending = place.cancel(id_, "200ms")
        assert (pending.status, pending.body["status"]) == (202, "ENQUEUED")
        until(lambda: time.time() > seconds(pending.body["effective_by"]))
        place.sink.script("DATA", None)
        place.sink.release("354 go on")
        answer = until(lambda: (a := place.cancel(id_, "5s")).status == 200 and a)
        assert (answer.body["status"], answer.body["recipients"][0]["uncertain"]) == ("CANCELED", True)
    finally:
        for one in reversed(stopped):
            os.kill(one, signal.SIGCONT)
    until(lambda: len(place.node.workers()) == 2)  # it goes on under another session
    (after,) = place.node.send("b@frozen.test", ("frozen",))
    place.becomes(after, "SENT")
    assert [r.recipients for r in place.sink.to("frozen.test")] == [["b@frozen.test"]]
    assert place.show(id_) == answer.body
    assert place.node.statement("frozen")["uncertain"] == 1


def test_simulated_mail_reaches_nobody_and_plays_what_its_address_says(place: Any):
    begun = len(place.sink.begun_to("simulate.invalid"))
    taken = place.send_together("sim", "anyone@simulate.invalid", "Bounce+7@SIMULATE.invalid", "real@sim.test")
    deferred = place.send_together("sim", "defer@simulate.invalid")
    (stalled,) = place.node.send("stall@simulate.invalid", ("sim",), X_MQ_MaxAttempts="1")
    (canceled,) = place.node.send("defer@simulate.invalid", ("sim",))
    until(lambda: place.lines(canceled, "TransientFailure"), what="it is not deferred")
    assert place.cancel(canceled).body["status"] == "CANCELED"
    until(lambda: place.show(taken)["recipients"][2]["status"] == "SENT", what="the real recipient gets nothing")
    first, second, _ = place.show(taken)["recipients"]
    assert (first["status"], second["status"]) == ("SIMULATED", "SIMULATED")
    assert "error" not in first
    assert second["error"] == {"code": 550, "enhanced": "5.1.1", "text": "no such mailbox (simulated)"}
    assert (second["category"], second["fault"]) == ("bad_mailbox", "recipient")
    until(lambda: place.lines(deferred, "TransientFailure"), what="it is not deferred")
    (waits,) = place.show(deferred)["recipients"]
    assert (waits["status"], waits["attempts"], waits["error"]["code"]) == ("ENQUEUED", 1, 451)
    assert place.becomes(stalled, "SIMULATED")["recipients"][0]["error"]["enhanced"] == "4.4.2"
    place.line(stalled, "Simulated")
    assert [line["type"] for line in place.node.events() if line.get("message_id") == stalled] == [
        "Reception",
        "Simulated",
    ]
    assert place.call("GET", f"/v1/messages/{deferred}/content", want=(404, 409, 410))
    rule = place.order(tag="sim", goal="swept")
    place.lift(rule)
    place.rests("sim", simulated=3, delivered=1, canceled=1, queued=0)
    assert len(place.sink.begun_to("simulate.invalid")) == begun == 0


def test_while_the_store_is_away_nothing_is_said_and_afterwards_it_is_canceled(place: Any):
    (id_,) = place.node.send("a@away.test", ("away",), X_MQ_Delayed="+1h")
    place.valkey.stop(signal.SIGKILL)
    try:
        answer = place.cancel(id_)
        assert (answer.status, answer.body["error"]["type"]) == (503, "unavailable")
        assert answer.headers["Retry-After"]
        assert ask(place.node.ready["api"], "GET", f"/v1/messages/{id_}", token=TOKEN).status == 503
    finally:
        place.valkey.start()
    until(lambda: place.cancel(id_).status == 200)
    assert place.show(id_)["status"] == "CANCELED"
