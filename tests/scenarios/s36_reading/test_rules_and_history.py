"""The account of a rule with several selectors, and its deliveries by class, from history (O5)."""

import json
import time
from datetime import UTC, datetime
from typing import Any

from tests.support.history import history_of
from tests.support.node import until
from tests.support.rest import ask


def test_o5_a_cancel_by_tag_and_domain_says_who_had_it_and_who_was_spared(place: Any):
    had = [f"had{number}@ok.o5.test" for number in range(20)]
    spared = [f"spared{number}@ok.o5.test" for number in range(5)]
    place.node.send(had, ("o5",))
    place.node.send("other@else.o5.test", ("o5",))
    place.node.send(spared, ("o5",), X_MQ_Delayed="+1h")
    place.rests("o5", delivered=21, queued=5)
    rule = place.order("swept", tag="o5", domain="ok.o5.test")

    def told() -> Any:
        said = place.complete(rule)
        return said if said["delivered"].get("before") == 20 else None

    said = until(told, what=lambda: f"{place.complete(rule)}")
    assert said["delivered"] == {"before": 20, "after": 0, "source": "history"}
    assert (said["accepted"], said["intercepted"]["queued"], said["balanced"]) == (25, 5, True)
    path = f"/v1/errors/{rule['id']}/deliveries"
    until(lambda: len(place.exported(f"{path}?class=intercepted&format=csv")) == 5)
    assert {row["recipient"] for row in place.exported(f"{path}?class=intercepted&format=csv")} == set(spared)
    assert {one["recipient"] for one in place.in_lines(f"{path}?class=before&format=ndjson")} == set(had)
    assert sorted(place.arrived("ok.o5.test")) == sorted(had)
    text = ask(place.api, "GET", f"/v1/errors/{rule['id']}/statement?format=text").body.decode()
    assert "25 accepted, 20 had it, 5 stopped, 0 undecided" in text
    page = ask(place.api, "GET", f"/v1/errors/{rule['id']}/statement?format=html").body.decode()
    assert "25 accepted, 20 had it, 5 stopped" in page
    place.lift(rule)
    place.node.send("late@ok.o5.test", ("o5",))
    until(lambda: "late@ok.o5.test" in place.arrived("ok.o5.test"))
    place.listed("recipient=late@ok.o5.test&status=SENT", 1)
    # Of the removed rule: mail that came later was not before it. History may not have counted in time at first.
    after = until(lambda: (s := place.account(rule))["delivered"].get("before") is not None and s)
    assert (after["delivered"], after["removed_at"] > said["as_of"]) == (said["delivered"], True)
    assert "before_counts" not in place.node.errors()


def test_o6_history_has_the_account_of_a_removed_rule(place: Any):
    place.node.send("waits@o6.test", ("o6",), X_MQ_Delayed="+1h")
    rule = place.order("swept", tag="o6", reason="wrong link")
    said = place.complete(rule)
    place.lift(rule)
    with history_of(place.node.folder) as history:

        def kept() -> Any:
            raw = history.ask(lambda reader: reader.rule_statement(rule["id"]))
            return json.loads(raw) if "removed_at" in raw else None

        found = until(kept, what="the account of the removal is not in history")
    assert (found["intercepted"], found["reason"], found["matched"]) == (said["intercepted"], "wrong link", 1)
    assert found["removed_at"] > found["effective_at"] == said["effective_at"], "when the rule acted, not its removal"
    until(lambda: {**place.account(rule), "as_of": ""} == {**found, "as_of": ""})


def test_o5_statements_of_rules_that_ask_for_the_message_count_what_arrived_before(place: Any):
    """By sender, recipient, time of acceptance and several domains; the destination's receipts are the judge."""
    for number in range(6):
        place.node.send(f"u{number}@{'one' if number % 2 else 'two'}.sel.test", ("sel",))
    place.rests("sel", delivered=6)
    between = time.time() + 0.1  # the node goes by the clock of its store
    until(lambda: time.time() > between + 0.1)
    place.node.send("late@one.sel.test", ("sel",))
    place.rests("sel", delivered=7)
    instant = datetime.fromtimestamp(between, UTC).isoformat(timespec="milliseconds")
    one, two = len(place.taken("one.sel.test")), len(place.taken("two.sel.test"))
    assert (one, two) == (4, 3)
    for expected, selectors in (
        (one + two, {"sender": "from@example.org", "tag": "sel"}),
        (one, {"sender": "*@example.org", "domain": "one.sel.test"}),
        (1, {"recipient": "U1@one.sel.test"}),
        (one + two, {"domain": ["one.sel.test", "two.sel.test"]}),
        (6, {"tag": "sel", "accepted_before": instant}),
        (1, {"tag": "sel", "accepted_after": instant}),
    ):
        rule = place.order(**selectors)
        found = until(lambda rule=rule: "before" in (s := place.account(rule))["delivered"] and s, what=f"{selectors}")
        assert found["delivered"] == {"before": expected, "after": 0, "source": "history"}, selectors
        place.lift(rule)
