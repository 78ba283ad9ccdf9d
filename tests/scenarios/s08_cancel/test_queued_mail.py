"""Mail that waits is met by a forced error now: scheduled or deferred; a 4xx defers it, a 2xx discards it."""

from collections.abc import Callable
from typing import Any


def test_scheduled_and_deferred_mail_is_ended_now_and_both_statements_account_for_it(
    house: Any, deferring: Callable[[str], None]
):
    deferring("wait.test")
    later = house.node.send([f"l{n}@later.test" for n in range(20)], ("camp", "april"), X_MQ_Delayed="+1h")
    again = house.node.send([f"d{n}@wait.test" for n in range(20)], ("camp",))
    sent = house.node.send([f"s{n}@sent.test" for n in range(5)], ("camp",))
    house.node.send([f"o{n}@later.test" for n in range(3)], ("other",), X_MQ_Delayed="+1h")
    house.logged("camp", "TransientFailure", 20)
    before = house.waits("camp", 40, delivered=5)
    assert (before["accepted"], before["balanced"], before["rules"]) == (45, True, [])

    rule = house.order(goal="swept", tag="camp", wait="10s")
    assert (rule["past_dot"], rule["quiet_at"]) == ([], rule["effective_at"])
    account = house.complete(rule)
    assert account["intercepted"] == {"queued": 40, "attempt": 0, "before_dot": 0, "door": 0}
    assert (account["matched"], account["accepted"], account["delivered"]) == (40, 45, {"before": 5, "after": 0})
    assert (account["deferred"], account["queued"], account["held"], account["other"]) == (0, 0, 0, 0)
    assert account["complete"] is account["balanced"] is True
    assert account["sweep"]["state"] == "done"
    assert account["sweep"]["matched"] == 40
    assert account["sweep"]["seen"] >= 40
    after = house.node.statement("camp")
    assert after["intercepted"] == account["intercepted"]
    assert (after["queued"], after["delivered"], after["rules"], after["balanced"]) == (0, 5, [rule["id"]], True)
    assert house.node.statement("other")["queued"] == 3
    assert house.node.statement("april")["intercepted"]["queued"] == 20

    lines = house.logged("camp", "Intercepted", 40)
    assert {line["id"] for line in lines} == {f"{id_}.1" for id_ in later + again}
    assert {r.recipients[0] for r in house.sink.to("sent.test")} == {f"s{n}@sent.test" for n in range(len(sent))}
    assert not house.sink.to("later.test")
    assert not house.sink.to("wait.test")

    met_later = house.node.send("late@later.test", ("camp",))  # accepted under the rule
    (line,) = [e for e in house.logged("camp", "Intercepted", 41) if e["message_id"] == met_later[0]]
    assert line["forced"]["stage"] == "door"
    assert house.complete(rule)["matched"] == 41
    house.lift(rule)
    status, gone = house.node.call("GET", f"/v1/errors/{rule['id']}/statement")
    assert (status, gone["matched"], "removed_at" in gone) == (200, 41, True)


def test_a_4xx_rule_defers_and_the_mail_goes_out_once_it_is_lifted(house: Any):
    rule = house.order(code=451, extended="4.7.1", description="not today", tag="slow")
    house.node.send(["a@slow.test", "b@slow.test"], ("slow",), X_MQ_Retries="2s")
    for line in house.logged("slow", "TransientFailure", 2):
        assert (line["code"], line["enhanced"], line["text"], line["origin"]) == (451, "4.7.1", "not today", "forced")
        assert line["forced"]["rule"] == rule["id"]
        assert line["next_attempt"] > line["time"]
    account = house.complete(rule)
    assert (account["matched"], account["deferred"], account["balanced"]) == (2, 2, True)
    assert not house.sink.to("slow.test")
    statement = house.node.statement("slow")
    assert (statement["queued"], statement["deferred_by_rule"], statement["balanced"]) == (2, 2, True)
    house.lift(rule)
    house.waits("slow", 0, delivered=2)
    assert sorted(r.recipients[0] for r in house.sink.to("slow.test")) == ["a@slow.test", "b@slow.test"]
    assert min(line["attempt"] for line in house.logged("slow", "Delivery", 2)) >= 2


def test_what_a_4xx_rule_deferred_and_another_rule_ended_counts_as_other(house: Any):
    defers = house.order(code=421, tag="both")
    house.node.send(["a@both.test", "b@both.test"], ("both",))
    house.logged("both", "TransientFailure", 2)
    assert house.complete(defers)["deferred"] == 2
    ends = house.order(goal="swept", code=550, tag="both", domain="both.test")
    account = house.complete(defers)
    assert (account["matched"], account["deferred"], account["other"]) == (2, 0, 2)
    account = house.complete(ends)
    assert (account["matched"], account["intercepted"]["queued"]) == (2, 2)
    assert house.node.statement("both")["rules"] == sorted([defers["id"], ends["id"]])
    house.lift(ends)
    house.lift(defers)


def test_a_2xx_rule_discards_as_intercepted_and_never_as_delivered(house: Any):
    house.node.send("l@drop.test", ("drop",), X_MQ_Delayed="+1h")
    rule = house.order(code=250, extended="2.6.0", goal="swept", tag="drop")
    house.node.send("n@drop.test", ("drop",))
    lines = house.logged("drop", "Intercepted", 2)
    assert {line["code"] for line in lines} == {250}
    statement = house.waits("drop", 0)
    assert (statement["delivered"], sum(statement["intercepted"].values())) == (0, 2)
    assert not house.sink.to("drop.test")
    house.lift(rule)
