"""Previews of rules: the deliveries that a rule would match are counted in the queues, and none is touched."""

import signal
from typing import Any

from tests.support.node import signal_to, standing_still, until
from tests.support.sink import HOLD


def test_a_preview_counts_what_waits_and_touches_nothing(place: Any) -> None:
    place.node.send([f"u{n}@a.p1.test" for n in range(12)], ("p1",), X_MQ_Delayed="+1h")
    place.node.send([f"u{n}@b.p1.test" for n in range(5)], ("p1", "paid"), X_MQ_Delayed="+1h", X_MQ_Pool="gold")
    place.node.send("u@b.p1.test", ("p1-other",), X_MQ_Delayed="+1h")
    found = place.preview(tag="p1", except_tags=["paid"], want=(202,))
    assert (found["matched"], found["by"]["domain"]) == (12, {"a.p1.test": 12})
    found = place.preview(domain="*.p1.test", want=(202,))
    assert found["matched"] == 18
    assert found["by"]["domain"] == {"a.p1.test": 12, "b.p1.test": 6}
    assert found["by"]["pool"] == {"default": 13, "gold": 5}
    assert found["by"]["state"] == {"queued": 18, "held": 0}
    assert found["by"]["age"] == {"<1m": 18}
    assert len(found["sample"]) == 18
    assert {one["status"] for one in found["sample"]} == {"ENQUEUED"}
    assert found["progress"] == {"seen": found["progress"]["seen"], "share": 1.0, "eta": 0.0}
    place.rests("p1", queued=17)
    assert not [rule for rule in place.call("GET", "/v1/errors?enabled=all") if rule.get("domain") == "*.p1.test"]


def test_one_tag_is_counted_at_once_and_its_domains_follow(place: Any) -> None:
    place.node.send([f"u{n}@p2.test" for n in range(7)], ("p2",), X_MQ_Delayed="+1h")
    asked = place.call("POST", "/v1/errors/preview", {"tag": "p2"}, want=(200,))
    assert (asked["matched"], asked["by"]["state"]) == (7, {"queued": 7, "held": 0})
    assert asked["preview_token"]
    assert place.preview(tag="p2")["by"]["domain"] == {"p2.test": 7}


def test_held_and_claimed_deliveries_count_too(place: Any) -> None:
    place.sink.sink.recipients["claimed@p3.test"] = HOLD
    place.node.send("claimed@p3.test", ("p3",))
    place.node.send([f"u{n}@held.p3.test" for n in range(4)], ("p3",), X_MQ_Delayed="+1h")
    pause = place.call("POST", "/v1/pauses?wait=50s&until=swept", {"domain": "held.p3.test"})
    asked = "RCPT TO:<claimed@p3.test>"
    until(lambda: any(asked in command for _, command in place.sink.sink.commands), what="it is under way")
    found = place.preview(tag="p3", pool="default")
    place.sink.release("250 2.1.5 ok")
    assert (found["matched"], found["by"]["state"]) == (5, {"queued": 1, "held": 4})
    place.call("DELETE", f"/v1/pauses/{pause['id']}?wait=50s")


def test_o3_a_tag_that_nobody_has_seen_is_answered_with_the_nearest_that_mail_carried(place: Any) -> None:
    place.node.send([f"u{n}@o3.test" for n in range(3)], ("spring-sale",), X_MQ_Delayed="+1h")
    place.node.send("gone@o3.test", ("autumn-sale",))
    place.rests("autumn-sale", delivered=1)
    until(lambda: place.call("GET", "/v1/tags?tag=spring-sael").get("nearest") == ["spring-sale"], what="nearest")
    until(lambda: place.call("GET", "/v1/tags?tag=autum-sale").get("nearest") == ["autumn-sale"], what="nearest")
    assert "nearest" not in place.call("GET", "/v1/tags?tag=spring-sale")
    made = place.order(tag="spring-sael")
    assert made["warnings"] == ["no mail carries tag spring-sael yet; check its spelling (seen lately: spring-sale)"]
    place.lift(made)


def test_another_process_counts_a_preview_when_the_first_dies(place: Any) -> None:
    place.node.send([f"u{n}@p4.test" for n in range(6)], ("p4",), X_MQ_Delayed="+1h")
    sweeper = place.node.child("mta.runtime.sweeper")
    with standing_still(sweeper):
        asked = place.call("POST", "/v1/errors/preview", {"tag": "p4", "domain": "p4.test"}, want=(202,))
        signal_to(sweeper, signal.SIGKILL)
    path = f"/v1/errors/preview/{asked['id']}"
    assert until(lambda: (found := place.call("GET", path))["state"] == "done" and found, what=path)["matched"] == 6
