"""The delivery log's lines: one Reception and one final line for each delivery, safe text, rules, and rotation."""

import json
import os
import signal
from collections import Counter
from typing import Any

import pytest

from tests.support.node import until
from tests.support.orders import seconds


class Story:
    """Four messages of one tag, one of each end, and one that waits; and the forced error that ended one of them."""

    def __init__(self, place: Any) -> None:
        node = place.node
        place.sink.sink.recipients["no@story.test"] = "550 5.1.1 no such user"
        place.sink.sink.recipients["wait@story.test"] = "450 4.2.1 later"
        (self.fine,) = node.send("fine@story.test", ("story", "own"), X_MQ_Campaign_Id="c-7", X_Floodgate_Lot="12")
        (no,) = node.send("no@story.test", ("story",))
        (wait,) = node.send("wait@story.test", ("story",), X_MQ_Retries="1s", X_MQ_MaxAttempts="2")
        node.send("later@story.test", ("story",), X_MQ_Delayed="+1h")
        self.rule = place.order(tag="gone", extended="5.7.1", reason="why")
        (gone,) = node.send("gone@story.test", ("story", "gone"))
        told = until(lambda: len(found := place.log_of("story")) == 10 and found)
        self.delivered, self.refused, self.expired, self.intercepted = (
            [line for line in told if line["message_id"] == name] for name in (self.fine, no, wait, gone)
        )


@pytest.fixture(scope="module")
def story(place: Any) -> Story:
    return Story(place)


def test_each_delivery_has_one_reception_and_one_final_line(story: Story):
    assert [line["type"] for line in story.delivered] == ["Reception", "Delivery"]
    assert [line["type"] for line in story.refused] == ["Reception", "Bounce"]
    assert [line["type"] for line in story.expired] == ["Reception", "TransientFailure", "Expiration"]
    assert [line["type"] for line in story.intercepted] == ["Reception", "Intercepted"]


def test_lines_say_which_delivery_they_are_about(story: Story):
    for line in story.delivered:
        assert (line["id"], line["node"], line["pool"]) == (f"{story.fine}.1", "n1", "default")
        assert line["tags"] == ["story", "own"]
        assert (line["sender"], line["recipient"]) == ("from@example.org", "fine@story.test")
        assert (line["domain"], line["client"]) == ("story.test", "127.0.0.1")
        assert line["properties"] == {"campaign-id": "c-7", "lot": "12"}


def test_a_delivery_is_told_as_the_destination_saw_it(story: Story, place: Any):
    reception, delivery = story.delivered
    receipt = place.sink.to("story.test")[0]
    assert reception["size"] == delivery["size"] == len(receipt.body)
    assert (delivery["code"], delivery["enhanced"], delivery["text"]) == (250, "2.0.0", "taken")
    assert (delivery["origin"], delivery["attempt"], delivery["remote_ip"]) == ("remote", 1, "127.0.0.1")
    apart = 0.5  # the node's time of day is the store's; the sink's is the host's
    assert seconds(reception["time"]) <= receipt.dot_at + apart
    assert receipt.dot_at <= seconds(delivery["time"]) + apart
    assert seconds(delivery["queued_at"]) <= receipt.mail_at + apart
    assert delivery["duration_ms"] < 20_000


def test_other_ends_have_the_reply_of_the_destination_or_of_the_rule(story: Story):
    bounce = story.refused[-1]
    assert (bounce["code"], bounce["enhanced"], bounce["origin"]) == (550, "5.1.1", "remote")
    assert bounce["text"] == "no such user"
    first, last = story.expired[1:]
    assert (first["attempt"], last["attempt"], last["code"]) == (1, 2, 450)
    assert 0.8 < seconds(first["next_attempt"]) - seconds(first["time"]) < 1.2
    ended = story.intercepted[-1]
    assert (ended["origin"], ended["forced"]["rule"], ended["forced"]["stage"]) == ("forced", story.rule["id"], "door")
    assert (ended["code"], ended["enhanced"], ended["reason"]) == (554, "5.7.1", "why")


def test_each_change_of_a_rule_has_a_line(story: Story, place: Any):
    place.lift(story.rule)
    ops = ("put", "effective", "completed", "remove", "effective", "account")

    def told() -> Any:
        found = [e for e in place.lines() if e["type"] == "Rule"]
        return found if sorted(e["properties"]["op"] for e in found) == sorted(ops) else None

    lines = until(told)
    put, removed = (next(e for e in lines if e["properties"]["op"] == op) for op in ("put", "remove"))
    for line, op in ((put, "put"), (removed, "remove")):
        assert (line["tags"], line["code"], line["properties"]["rule"]) == (["gone"], 554, story.rule["id"])
        assert (line["properties"]["op"], line["reason"].startswith(op)) == (op, True)
    assert int(removed["properties"]["generation"]) > int(put["properties"]["generation"])
    assert {line["forced"]["rule"] for line in lines} == {story.rule["id"]}
    assert {line["event"].partition(".")[0] for line in lines} == {"rules"}
    assert len({line["event"] for line in lines}) == len(ops)
    assert put["actor"] == put["properties"]["by"] == removed["actor"]
    (completed,) = (line for line in lines if line["reason"] == "completed")
    statement = json.loads(completed["properties"]["statement"])
    assert (statement["rule"], statement["sweep"]["state"]) == (story.rule["id"], "done")
    (account,) = (line for line in lines if line["reason"] == "account")
    at_removal = json.loads(account["properties"]["statement"])
    for name in ("rule", "effective_at"):
        assert at_removal[name] == statement[name], name
    met = [sum(account["intercepted"].values()) for account in (statement, at_removal)]
    assert met == sorted(met), "mail may meet the rule after its sweep"
    assert (at_removal["sweep"]["state"], at_removal["removed_at"]) == ("done", removed["time"])


def test_a11_what_a_remote_says_cannot_break_a_line_or_a_terminal(place: Any):
    hostile = "550 5.7.1 \x1b[31mred\x1b[0m \u202eesrever\u2066 \u2028line\u2029 \x85 \udc80\udcff \x7f \x07 "
    hostile += '"quote" \\ {"v":2} é'
    place.sink.sink.recipients["bad@hostile.test"] = hostile
    place.node.send("bad@hostile.test", ("hostile",))
    (line,) = until(lambda: place.log_of("hostile", "Bounce"))
    text = line["text"]
    for escaped in (
        "\\u001b[31mred",
        "\\u202eesrever\\u2066",
        "\\u2028line\\u2029",
        "\\u0085",
        "\\x80\\xff",
        "\\u007f",
        "\\u0007",
    ):
        assert escaped in text, (escaped, text)
    assert '"quote" \\ {"v":2} é' in text
    assert text.isprintable()
    raw = [raw for raw in place.node.log.read_bytes().split(b"\n") if b'"hostile"' in raw]
    assert len(raw) == 2
    assert all(byte >= 0x20 and byte != 0x7F for each in raw for byte in each)
    assert not any(mark.encode() in each for each in raw for mark in "\u202e\u2066\u2028\u2029\x85")


def test_a_moved_log_is_reopened_and_no_line_is_lost(place: Any):
    node = place.node
    node.send([f"a{n}@moved.test" for n in range(10)], ("moved",))
    moved = node.log.with_suffix(".1")
    until(lambda: len(place.log_of("moved")) == 20)
    node.log.rename(moved)
    node.send([f"b{n}@moved.test" for n in range(10)], ("moved",))
    until(lambda: node.log.exists() and len(place.log_of("moved")) == 20)
    second = node.log.with_suffix(".2")
    node.log.rename(second)
    os.kill(node.process.pid, signal.SIGHUP)
    until(node.log.exists)
    node.send("c@moved.test", ("moved",))
    until(lambda: len(place.log_of("moved")) == 2)
    every = place.lines(moved.read_bytes(), second.read_bytes())
    of_tag = [e for e in every if "moved" in e.get("tags", ())]
    assert Counter(e["type"] for e in of_tag) == {"Reception": 21, "Delivery": 21}
    assert len({e["event"] for e in every}) == len(every)
