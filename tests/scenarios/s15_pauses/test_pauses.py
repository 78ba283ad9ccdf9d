"""A pause holds what it matches, lets it go in order, and becomes a forced error with nothing let through."""

from typing import Any

from tests.support.mail_stream import MailStream
from tests.support.node import until


def test_mail_frozen_under_load_is_held_and_all_arrives_when_the_pause_is_removed(place: Any):
    with MailStream(place.node.smtp, "load.test", clients=3) as stream:
        until(lambda: len(place.sink.to("load.test")) > 20)
        pause = place.pause(domain="load.test", reason="wrong link")
        count = len(stream.told)
        until(lambda: len(stream.told) > count + 100)
    quiet = until(lambda: (p := place.call("GET", f"/v1/pauses/{pause['id']}"))["quiet_at"] and p)
    accepted = {told.recipient for told in stream.told if told.accepted}
    assert len(accepted) == len(stream.told)
    before = place.arrived("load.test")
    place.held(pause, len(accepted) - len(before))
    assert place.arrived("load.test") == before, "nothing gets through a pause that is quiet"
    account = place.account_at(f"/v1/pauses/{pause['id']}")
    assert account["held"] == account["matched"] - account["delivered"]["after"] == len(accepted) - len(before)
    assert account["delivered"]["after"] == len(quiet["past_dot"])

    place.call("DELETE", f"/v1/pauses/{pause['id']}?wait=50s")
    until(lambda: len(place.arrived("load.test")) == len(accepted))
    assert set(place.arrived("load.test")) == accepted, "each arrives once"


def test_what_a_pause_holds_is_released_in_order(place: Any):
    pause = place.pause(tag="order")
    sent = [f"a{n}@order.test" for n in range(30)]
    place.node.send(sent, ("order",))
    place.held(pause, 30)
    statement = place.node.statement("order")
    assert (statement["held"], statement["queued"], statement["balanced"]) == (30, 0, True)
    until(lambda: len(place.log_of("order", "Hold")) == 30)
    place.call("DELETE", "/v1/pauses", {"tag": "order"})
    until(lambda: len(place.arrived("order.test")) == 30)
    assert sorted(place.arrived("order.test")) == sorted(sent)
    lines = until(lambda: (f := place.log_of("order", "Release")) and len(f) == 30 and f)
    for lane in {line["event"].partition(".")[0] for line in lines}:  # each lane is a queue of its own
        released = [sent.index(e["recipient"]) for e in lines if e["event"].startswith(f"{lane}.")]
        assert released == sorted(released)


def test_a_pause_that_expires_lets_its_mail_go(place: Any):
    pause = place.pause(tag="short", duration="1h")
    place.node.send([f"a{n}@short.test" for n in range(5)], ("short",))
    place.held(pause, 5)
    assert not place.arrived("short.test")
    place.call("PATCH", f"/v1/pauses/{pause['id']}?wait=0s", {"duration": "1s"}, want=(200, 202))
    until(lambda: len(place.arrived("short.test")) == 5)
    until(lambda: place.call("GET", "/v1/pauses?tag=short") == [])
    assert [p["id"] for p in place.call("GET", "/v1/pauses?tag=short&enabled=false")] == [pause["id"]]
    place.call("DELETE", f"/v1/pauses/{pause['id']}")


def test_a_pause_becomes_a_forced_error_with_nothing_let_through(place: Any):
    pause = place.pause(tag="decide")
    place.node.send([f"a{n}@decide.test" for n in range(10)], ("decide",))
    place.held(pause, 10)
    path = f"/v1/pauses/{pause['id']}/convert?wait=50s&until=swept"
    rule = place.call("POST", path, {"code": 554, "extended": "5.7.1"})
    assert (rule["id"], rule["code"], rule["effective"]) == (pause["id"], 554, True)
    place.node.send("late@decide.test", ("decide",))
    until(lambda: sum(place.node.statement("decide")["intercepted"].values()) == 11)
    account = place.account_at(f"/v1/errors/{rule['id']}")
    assert (account["matched"], account["held"], account["other"], account["undoable"]) == (11, 0, 0, 11)
    assert account["intercepted"]["queued"] == 10
    assert place.call("GET", f"/v1/pauses/{pause['id']}", want=(404,))["error"]["type"] == "not_found"
    assert not place.arrived("decide.test")
    place.call("DELETE", f"/v1/errors/{rule['id']}?wait=50s")
    assert not place.log_of("decide", "Release")
    # Deliveries that the rule ended can be undone although the rule was removed.
    undone = place.call("POST", f"/v1/errors/{rule['id']}/undo?wait=50s")
    assert (undone["reinstated"], undone["left"]) == (11, 0)
    until(lambda: len(place.arrived("decide.test")) == 11)


def test_an_undo_returns_each_delivery_once_and_all_arrive(place: Any):
    sent = [f"a{n}@undo.test" for n in range(250)]
    place.node.send(sent, ("undo",), X_MQ_Delayed="+1h")
    rule = place.call("POST", "/v1/errors?wait=50s&until=swept", {"code": 554, "domain": "undo.test"})
    now = [f"b{n}@undo.test" for n in range(20)]
    place.node.send(now, ("undo",))
    until(lambda: sum(place.node.statement("undo")["intercepted"].values()) == 270)
    assert place.account_at(f"/v1/errors/{rule['id']}")["undoable"] == 270
    undone = place.call("POST", f"/v1/errors/{rule['id']}/undo?wait=50s")
    assert (undone["id"], undone["reinstated"], undone["left"]) == (rule["id"], 270, 0)
    assert undone["effective"] is True
    again = place.call("POST", f"/v1/errors/{rule['id']}/undo?wait=50s")
    assert (again["reinstated"], again["left"]) == (0, 0)
    until(lambda: place.node.statement("undo")["delivered"] == 20)
    assert sorted(place.arrived("undo.test")) == sorted(now)
    statement = place.node.statement("undo")
    assert (statement["queued"], statement["balanced"]) == (250, True)
    lines = until(lambda: (f := place.log_of("undo", "Reinstated")) and len(f) == 270 and f)
    assert len({line["id"] for line in lines}) == 270
    account = place.account_at(f"/v1/errors/{rule['id']}")
    assert (account["matched"], account["undone"], sum(account["intercepted"].values())) == (270, 270, 0)
    assert place.call("GET", f"/v1/errors/{rule['id']}")["enabled"] is False
    place.call("DELETE", f"/v1/errors/{rule['id']}")
    place.call("POST", "/v1/errors?wait=50s&until=swept", {"code": 250, "tag": "undo", "undo": False})
