"""Mail that waits is met by a forced error now: scheduled or deferred; a 4xx defers it, a 2xx discards it."""

from collections.abc import Callable
from typing import Any


def test_scheduled_and_deferred_mail_is_ended_now_and_both_statements_account_for_it(
    place: Any, deferring: Callable[[str], None]
):
    deferring("wait.test")
    later = place.node.send([f"l{n}@later.test" for n in range(20)], ("camp", "april"), X_MQ_Delayed="+1h")
    again = place.node.send([f"d{n}@wait.test" for n in range(20)], ("camp",))
    sent = place.node.send([f"s{n}@sent.test" for n in range(5)], ("camp",))
    place.node.send([f"o{n}@later.test" for n in range(3)], ("other",), X_MQ_Delayed="+1h")
    place.logged("camp", "TransientFailure", 20)
    before = place.rests("camp", queued=40, delivered=5)
    assert (before["accepted"], before["balanced"], before["rules"]) == (45, True, [])

    rule = place.order(goal="swept", tag="camp")
    assert (rule["past_dot"], rule["quiet_at"]) == ([], rule["effective_at"])
    account = place.complete(rule)
    assert account["intercepted"] == {"queued": 40, "attempt": 0, "before_dot": 0, "door": 0}
    assert (account["matched"], account["accepted"], account["delivered"]) == (40, 45, {"before": 5, "after": 0})
    assert (account["deferred"], account["queued"], account["held"], account["other"]) == (0, 0, 0, 0)
    assert account["complete"] is account["balanced"] is True
    assert account["sweep"]["state"] == "done"
    assert account["sweep"]["matched"] == 40
    assert account["sweep"]["seen"] >= 40
    after = place.node.statement("camp")
    assert after["intercepted"] == account["intercepted"]
    assert (after["queued"], after["delivered"], after["rules"], after["balanced"]) == (0, 5, [rule["id"]], True)
    assert place.node.statement("other")["queued"] == 3
    assert place.node.statement("april")["intercepted"]["queued"] == 20

    lines = place.logged("camp", "Intercepted", 40)
    assert {line["id"] for line in lines} == {f"{id_}.1" for id_ in later + again}
    assert {r.recipients[0] for r in place.sink.to("sent.test")} == {f"s{n}@sent.test" for n in range(len(sent))}
    assert not place.sink.to("later.test")
    assert not place.sink.to("wait.test")

    met_later = place.node.send("late@later.test", ("camp",))  # accepted under the rule
    (line,) = [e for e in place.logged("camp", "Intercepted", 41) if e["message_id"] == met_later[0]]
    assert line["forced"]["stage"] == "door"
    assert place.complete(rule)["matched"] == 41
    place.lift(rule)
    status, gone = place.node.call("GET", f"/v1/errors/{rule['id']}/statement")
    assert (status, gone["matched"], "removed_at" in gone) == (200, 41, True)


def test_a_4xx_rule_defers_and_the_mail_goes_out_once_it_is_lifted(place: Any):
    rule = place.order(code=451, extended="4.7.1", description="not today", tag="slow")
    place.node.send(["a@slow.test", "b@slow.test"], ("slow",), X_MQ_Retries="2s")
    for line in place.logged("slow", "TransientFailure", 2):
        assert (line["code"], line["enhanced"], line["text"], line["origin"]) == (451, "4.7.1", "not today", "forced")
        assert line["forced"]["rule"] == rule["id"]
        assert line["next_attempt"] > line["time"]
    account = place.complete(rule)
    assert (account["matched"], account["deferred"], account["balanced"]) == (2, 2, True)
    assert not place.sink.to("slow.test")
    statement = place.node.statement("slow")
    assert (statement["queued"], statement["deferred_by_rule"], statement["balanced"]) == (2, 2, True)
    place.lift(rule)
    place.rests("slow", queued=0, delivered=2)
    assert sorted(r.recipients[0] for r in place.sink.to("slow.test")) == ["a@slow.test", "b@slow.test"]
    assert min(line["attempt"] for line in place.logged("slow", "Delivery", 2)) >= 2


def test_what_a_4xx_rule_deferred_and_another_rule_ended_counts_as_other(place: Any):
    defers = place.order(code=421, tag="both")
    place.node.send(["a@both.test", "b@both.test"], ("both",))
    place.logged("both", "TransientFailure", 2)
    assert place.complete(defers)["deferred"] == 2
    ends = place.order(goal="swept", code=550, tag="both", domain="both.test")
    account = place.complete(defers)
    assert (account["matched"], account["deferred"], account["other"]) == (2, 0, 2)
    account = place.complete(ends)
    assert (account["matched"], account["intercepted"]["queued"]) == (2, 2)
    assert place.node.statement("both")["rules"] == sorted([defers["id"], ends["id"]])
    place.lift(ends)
    place.lift(defers)


def test_a_2xx_rule_discards_as_intercepted_and_never_as_delivered(place: Any):
    place.node.send("l@drop.test", ("drop",), X_MQ_Delayed="+1h")
    rule = place.order(code=250, extended="2.6.0", goal="swept", tag="drop")
    place.node.send("n@drop.test", ("drop",))
    lines = place.logged("drop", "Intercepted", 2)
    assert {line["code"] for line in lines} == {250}
    statement = place.rests("drop", queued=0)
    assert (statement["delivered"], sum(statement["intercepted"].values())) == (0, 2)
    assert not place.sink.to("drop.test")
    place.lift(rule)
