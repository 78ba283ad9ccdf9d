"""The delivery log's lines: one Reception and one final line for each delivery, safe text, rules, and rotation."""

import os
import signal
from collections import Counter
from typing import Any

from tests.support.node import until
from tests.support.orders import seconds


def test_each_delivery_has_one_reception_and_one_final_line_that_tell_its_story(place: Any):
    node, sink = place.node, place.sink
    sink.sink.recipients["no@story.test"] = "550 5.1.1 no such user"
    sink.sink.recipients["wait@story.test"] = "450 4.2.1 later"
    (fine,) = node.send("fine@story.test", ("story", "own"), X_MQ_Campaign_Id="c-7", X_Floodgate_Lot="12")
    (no,) = node.send("no@story.test", ("story",))
    (wait,) = node.send("wait@story.test", ("story",), X_MQ_Retries="1s", X_MQ_MaxAttempts="2")
    node.send("later@story.test", ("story",), X_MQ_Delayed="+1h")
    order = {"code": 554, "extended": "5.7.1", "tag": "gone", "reason": "why"}
    status, rule = node.call("POST", "/v1/errors?wait=5s", order)
    assert status == 201
    (gone,) = node.send("gone@story.test", ("story", "gone"))
    until(lambda: len(place.log_of("story")) == 10)
    story = {name: [e for e in place.log_of("story") if e["message_id"] == name] for name in (fine, no, wait, gone)}
    assert [e["type"] for e in story[fine]] == ["Reception", "Delivery"]
    assert [e["type"] for e in story[no]] == ["Reception", "Bounce"]
    assert [e["type"] for e in story[wait]] == ["Reception", "TransientFailure", "Expiration"]
    assert [e["type"] for e in story[gone]] == ["Reception", "Intercepted"]

    reception, delivery = story[fine]
    for line in story[fine]:
        assert (line["id"], line["node"], line["tags"], line["pool"]) == (
            f"{fine}.1",
            "n1",
            ["story", "own"],
            "default",
        )
        assert (line["sender"], line["recipient"], line["domain"]) == (
            "from@example.org",
            "fine@story.test",
            "story.test",
        )
        assert line["properties"] == {"campaign-id": "c-7", "lot": "12"}, line["properties"]
        assert line["client"] == "127.0.0.1"
    receipt = sink.to("story.test")[0]
    assert reception["size"] == delivery["size"] == len(receipt.body)
    assert (delivery["code"], delivery["enhanced"], delivery["text"]) == (250, "2.0.0", "taken")
    assert (delivery["origin"], delivery["attempt"], delivery["remote_ip"]) == ("remote", 1, "127.0.0.1")
    assert seconds(reception["time"]) <= receipt.dot_at <= seconds(delivery["time"]) + 0.002
    assert seconds(delivery["queued_at"]) <= receipt.mail_at + 0.002
    assert delivery["duration_ms"] < 5000
    bounce = story[no][-1]
    assert (bounce["code"], bounce["enhanced"], bounce["text"], bounce["origin"]) == (
        550,
        "5.1.1",
        "no such user",
        "remote",
    )
    first, last = story[wait][1:]
    assert (first["attempt"], last["attempt"], last["code"]) == (1, 2, 450)
    assert 0.8 < seconds(first["next_attempt"]) - seconds(first["time"]) < 1.2
    ended = story[gone][-1]
    assert (ended["origin"], ended["forced"]["rule"], ended["forced"]["stage"]) == ("forced", rule["id"], "door")
    assert (ended["code"], ended["enhanced"], ended["reason"]) == (554, "5.7.1", "why")
    assert node.call("DELETE", f"/v1/errors/{rule['id']}")[0] == 200
    put, removed = until(lambda: len(found := [e for e in place.lines() if e["type"] == "Rule"]) == 2 and found)
    for line, op in ((put, "put"), (removed, "remove")):
        assert (line["tags"], line["code"], line["properties"]["rule"]) == (["gone"], 554, rule["id"])
        assert (line["properties"]["op"], line["reason"].startswith(op)) == (op, True)
    assert int(removed["properties"]["generation"]) == int(put["properties"]["generation"]) + 1
    assert put["event"] != removed["event"]


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
