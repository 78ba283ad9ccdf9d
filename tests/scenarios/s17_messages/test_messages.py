"""One message is canceled over REST wherever it is, and the answer is what became of it."""

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

from tests.support.node import TOKEN, until
from tests.support.orders import seconds
from tests.support.rest import ask
from tests.support.sink import HOLD


def _received(desk: Any, domain: str) -> int:
    return len(desk.sink.to(domain))


def test_what_is_scheduled_is_canceled_at_once_and_stays_so(desk: Any):
    (id_,) = desk.node.send("a@later.test", ("later",), X_MQ_Delayed="+1h")
    waiting = desk.show(id_)
    assert (waiting["status"], waiting["tags"], waiting["sender"]) == ("DELAYED", ["later"], "from@example.org")
    assert seconds(waiting["recipients"][0]["next_attempt"]) > time.time() + 3000
    asked = time.time()
    answer = desk.cancel(id_)
    assert (answer.status, answer.body["status"], answer.body["id"]) == (200, "CANCELED", id_)
    assert asked - 0.01 <= seconds(answer.body["canceled_at"]) <= time.time()
    (recipient,) = answer.body["recipients"]
    assert (recipient["recipient"], recipient["status"], recipient["uncertain"]) == ("a@later.test", "CANCELED", False)
    assert desk.cancel(id_)[::2] == (200, answer.body)
    assert desk.show(id_) == answer.body
    line = desk.logged(id_, "Cancellation")
    assert (line["id"], line["pool"], line["origin"]) == (f"{id_}.1", "default", "local")
    assert "attempt" not in line
    statement = desk.node.statement("later")
    assert (statement["canceled"], statement["queued"], statement["balanced"]) == (1, 0, True)
    assert not _received(desk, "later.test")


def test_what_was_deferred_is_canceled_with_its_last_reply(desk: Any):
    desk.sink.script("RCPT", "450 4.2.1 later")
    (id_,) = desk.node.send("a@deferred.test", ("deferred",))
    until(lambda: desk.log_of(id_, "TransientFailure"))
    waiting = desk.show(id_)
    assert (waiting["status"], waiting["error"]) == ("ENQUEUED", {"code": 450, "enhanced": "4.2.1", "text": "later"})
    assert waiting["recipients"][0]["attempts"] == 1
    answer = desk.cancel(id_)
    assert (answer.status, answer.body["status"], answer.body["error"]["code"]) == (200, "CANCELED", 450)
    assert desk.logged(id_, "Cancellation")["attempt"] == 1


def test_what_a_worker_holds_before_its_dot_is_aborted_and_never_received(desk: Any):
    desk.sink.script("DATA", HOLD)
    (id_,) = desk.node.send("a@stalled.test", ("stalled",))
    until(lambda: desk.sink.begun_to("stalled.test"))
    began = time.time()
    answer = desk.cancel(id_)
    assert (answer.status, answer.body["status"]) == (200, "CANCELED"), answer
    assert answer.body["recipients"][0]["uncertain"] is False
    assert time.time() - began < 5.0
    desk.sink.script("DATA", None)
    desk.sink.release("354 go on")
    desk.node.send("b@stalled.test", ("stalled",))
    until(lambda: desk.node.statement("stalled")["delivered"] == 1)
    assert [r.recipients for r in desk.sink.to("stalled.test")] == [["b@stalled.test"]]
    assert desk.logged(id_, "Cancellation")["remote_ip"] == "127.0.0.1"


def test_what_is_past_its_dot_and_taken_is_told_so(desk: Any):
    desk.sink.script(".", HOLD)
    (id_,) = desk.node.send("a@past.test", ("past",))
    until(lambda: _received(desk, "past.test"))
    asked = time.time()
    pending = desk.cancel(id_, "300ms")
    assert (pending.status, pending.body["status"]) == (202, "ENQUEUED")
    assert asked + 1.4 < seconds(pending.body["effective_by"]) < time.time() + 1.6
    again = desk.cancel(id_, "0")
    assert (again.status, again.body["effective_by"]) == (202, pending.body["effective_by"])
    desk.sink.script(".", None)
    desk.sink.release("250 2.0.0 taken")
    sent = desk.cancel(id_)
    assert (sent.status, sent.body["status"], sent.headers["x-should-retry"]) == (409, "SENT", "false")
    statement = desk.node.statement("past")
    assert (statement["delivered"], statement["canceled"]) == (1, 0)


def test_what_is_past_its_dot_and_lost_is_canceled_and_may_have_arrived(desk: Any):
    desk.sink.script(".", HOLD)
    (id_,) = desk.node.send("a@lost.test", ("lost",))
    until(lambda: _received(desk, "lost.test"))
    assert desk.cancel(id_, "0").status == 202
    desk.sink.cut()
    answer = desk.cancel(id_)
    assert (answer.status, answer.body["status"]) == (200, "CANCELED")
    assert answer.body["recipients"][0]["uncertain"] is True
    statement = desk.node.statement("lost")
    assert (statement["canceled"], statement["uncertain"], statement["balanced"]) == (1, 1, True)
    assert _received(desk, "lost.test") == 1


def test_what_was_sent_is_409_and_what_nobody_knows_is_404(desk: Any):
    (id_,) = desk.node.send("a@sent.test", ("sent",))
    assert desk.becomes(id_, "SENT")["recipients"][0]["ended_at"]
    answer = desk.cancel(id_)
    assert (answer.status, answer.body) == (409, desk.show(id_))
    desk.sink.script("RCPT", "550 5.1.1 no such user")
    (id_,) = desk.node.send("a@refused.test", ("sent",))
    refused = desk.becomes(id_, "UNDELIVERABLE")
    assert (refused["reason"], refused["error"]["code"]) == ("BOUNCED", 550)
    assert desk.cancel(id_).status == 409
    assert desk.cancel("0" * 26).status == 404
    assert desk.cancel("zero").status == 400


def test_the_commands_say_the_same_as_the_api(desk: Any):
    def floodgate(*words: str) -> "subprocess.CompletedProcess[str]":
        environ = os.environ | {"FLOODGATE_URL": desk.node.ready["api"], "FLOODGATE_TOKEN": TOKEN}
        command = [sys.executable, "-m", "mta.cli.main", "messages", *words]
        return subprocess.run(command, capture_output=True, text=True, env=environ, timeout=30, check=False)

    waiting, sent = desk.node.send(["a@command.test"], ("command",), X_MQ_Delayed="+1h") + desk.node.send(
        "b@command.test"
    )
    desk.becomes(sent, "SENT")
    shown = floodgate("show", waiting, "--json")
    assert (shown.returncode, json.loads(shown.stdout)) == (0, desk.show(waiting))
    done = floodgate("cancel", waiting)
    assert (done.returncode, "CANCELED" in done.stdout, done.stderr) == (0, True, "")
    late = floodgate("cancel", sent, "--wait", "0")
    assert (late.returncode, late.stderr.startswith("floodgate: not canceled: the message is SENT since ")) == (1, True)
    assert desk.show(waiting)["status"] == "CANCELED"


def test_each_recipient_of_several_has_its_own_result(desk: Any):
    desk.sink.script("RCPT", lambda _, argument: "450 4.2.1 later" if "@slow" in argument else None)
    to = ["a@quick.test", "b@slow.test", "c@slow.test", "d@slower.test"]
    with desk.node.client() as client:
        assert client.mail("from@example.org")[0] == 250
        assert all(client.rcpt(address)[0] == 250 for address in to)
        code, reply = client.data(b"X-MQ-Tag: several\r\nSubject: several\r\n\r\nhello\r\n")
    assert code == 250
    id_ = reply.decode().rpartition(" ")[2]
    until(lambda: len(desk.log_of(id_, "TransientFailure")) == 3 and desk.log_of(id_, "Delivery"))
    assert desk.show(id_)["status"] == "ENQUEUED"
    answer = desk.cancel(id_)
    assert (answer.status, answer.body["status"]) == (200, "CANCELED")
    results = [(r["id"], r["recipient"], r["status"]) for r in answer.body["recipients"]]
    words = ("SENT", "CANCELED", "CANCELED", "CANCELED")
    assert results == [(f"{id_}.{n}", *pair) for n, pair in enumerate(zip(to, words, strict=True), 1)]
    statement = desk.node.statement("several")
    assert (statement["accepted"], statement["delivered"], statement["canceled"]) == (4, 1, 3)


def test_a_frozen_worker_sends_nothing_and_what_it_held_is_canceled(desk: Any):
    desk.sink.script("DATA", HOLD)
    (id_,) = desk.node.send("a@frozen.test", ("frozen",))
    until(lambda: desk.sink.begun_to("frozen.test"))
    _, pid = desk.holder()
    stopped = (desk.node.process.pid, pid)  # the supervisor, too, which would replace it
    for one in stopped:
        os.kill(one, signal.SIGSTOP)
    try:
        pending = desk.cancel(id_, "200ms")
        assert (pending.status, pending.body["status"]) == (202, "ENQUEUED")
        until(lambda: time.time() > seconds(pending.body["effective_by"]))
        desk.sink.script("DATA", None)
        desk.sink.release("354 go on")
        answer = until(lambda: (a := desk.cancel(id_, "5s")).status == 200 and a, 25.0)
        assert (answer.body["status"], answer.body["recipients"][0]["uncertain"]) == ("CANCELED", True)
    finally:
        for one in reversed(stopped):
            os.kill(one, signal.SIGCONT)
    until(lambda: len(desk.node.workers()) == 2)  # it goes on under another session
    (after,) = desk.node.send("b@frozen.test", ("frozen",))
    desk.becomes(after, "SENT")
    assert [r.recipients for r in desk.sink.to("frozen.test")] == [["b@frozen.test"]]
    assert desk.show(id_) == answer.body
    assert desk.node.statement("frozen")["uncertain"] == 1


def test_while_the_store_is_away_nothing_is_said_and_afterwards_it_is_canceled(desk: Any):
    (id_,) = desk.node.send("a@away.test", ("away",), X_MQ_Delayed="+1h")
    desk.valkey.stop(signal.SIGKILL)
    try:
        answer = desk.cancel(id_)
        assert (answer.status, answer.body["error"]["type"]) == (503, "unavailable")
        assert answer.headers["Retry-After"]
        assert ask(desk.node.ready["api"], "GET", f"/v1/messages/{id_}", token=TOKEN).status == 503
    finally:
        desk.valkey.start()
    until(lambda: desk.cancel(id_).status == 200)
    assert desk.show(id_)["status"] == "CANCELED"
