"""Forced errors in bulk on a live node: one effective time, one sweep, one statement; all of them or none."""

import json
from typing import Any

import pytest

from tests.support.node import until

MANY = 1000


def change(place: Any, want: tuple[int, ...] = (200,), **body: Any) -> dict[str, Any]:
    answer: dict[str, Any] = place.call("POST", "/v1/errors/bulk?wait=50s", body, want)
    return answer


def complete(place: Any, set_id: str) -> dict[str, Any]:
    """The set's statement once its sweep is done."""

    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = place.call("GET", f"/v1/errors/bulk/{set_id}/statement")
        return found if found["complete"] else None

    return until(look, what=f"the sweep of set {set_id} is not done")


def swept_for(place: Any, *ids: str) -> list[tuple[str, str]]:
    """The log's lines about ends of sweeps for these ids."""
    found = [event["properties"] for event in place.node.events() if event["type"] == "Rule"]
    return [(said["rule"], said["op"]) for said in found if said["op"] == "completed" and said["rule"] in ids]


def last_accounts(place: Any) -> dict[str, dict[str, Any]]:
    """The statements of removed rules, as the log has them."""
    found = [event["properties"] for event in place.node.events() if event["type"] == "Rule"]
    return {said["rule"]: json.loads(said["statement"]) for said in found if said["op"] == "account"}


def test_a_set_stops_its_mail_from_one_instant_on_and_accounts_for_it(place: Any) -> None:
    node = place.node
    node.send([f"u{n}@stop.test" for n in range(40)], ("customer_7",), X_MQ_Delayed="+1h")
    node.send([f"u{n}@stop.test" for n in range(10)], ("customer_1500",), X_MQ_Delayed="+1h")
    made = change(place, create=[{"code": 554, "tag": f"customer_{n}", "reason": "left"} for n in range(MANY)])
    assert (made["effective"], made["created"], len(made["rules"]), made["standing"]) == (True, MANY, MANY, MANY)
    assert made["rules"] == sorted(made["rules"]), "their ids are in the order of the request"
    account = complete(place, made["id"])
    assert (account["rules"], account["matched"], account["intercepted"]["queued"]) == (MANY, 40, 40)
    assert account["balanced"]
    assert account["sweep"]["state"] == "done"
    assert account["effective_at"] == made["effective_at"]
    rule = made["rules"][7]
    shown = place.call("GET", f"/v1/errors/{rule}")
    assert (shown["effective_at"], shown["hits"], shown["created_by"]) == (made["effective_at"], 40, "admin")
    one = place.call("GET", f"/v1/errors/{rule}/statement")
    assert (one["matched"], one["accepted"], one["complete"], one["balanced"]) == (40, 40, True, True)
    node.send("late@stop.test", ("customer_999",))
    place.logged("customer_999", "Intercepted", 1)
    assert place.rests("customer_1500", queued=10)["intercepted"]["queued"] == 0
    assert place.arrived("stop.test") == []
    until(lambda: swept_for(place, made["id"], *made["rules"]), what="no sweep is logged")
    assert swept_for(place, made["id"], *made["rules"]) == [(made["id"], "completed")], "one sweep for all of them"
    gone = change(place, remove=made["rules"])
    assert (gone["removed"], gone["rules"], gone["effective"]) == (made["rules"], [], True)
    node.send("free@stop.test", ("customer_7",))
    until(lambda: place.arrived("stop.test") == ["free@stop.test"])
    accounts = until(lambda: len(all_ := last_accounts(place)) == MANY and all_, what="not each rule has its account")
    assert (accounts[rule]["matched"], accounts[rule]["intercepted"]["queued"]) == (40, 40)
    left = place.call("GET", f"/v1/errors/bulk/{made['id']}")
    assert (left["standing"], left["effective_at"]) == (0, made["effective_at"])
    account = complete(place, made["id"])
    assert (account["matched"], account["standing"], account["balanced"]) == (41, 0, True)
    assert place.call("GET", f"/v1/errors/{rule}/statement")["matched"] == 40


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"create": [{"code": 554, "tag": "a"}, {"code": 354, "tag": "b"}]}, "create[1].code", "400 to 599"),
        ({"create": [{"code": 554, "tag": "a"}, {"code": 554}]}, "create[1].everything", "no selector"),
        ({"create": [{"code": 554, "tag": "a"}, 7]}, "create[1]", "not an object"),
        ({"create": [{"code": 554, "tag": "a"}, {"code": 450, "tag": "a"}]}, "create[1]", "create[0]"),
        ({"create": [{"code": 554, "tag": "a"}], "remove": ["nothing"]}, "remove[0]", "not the id of a forced error"),
        ({"create": [{"code": 554, "tag": "a"}], "remove": [7]}, "remove[0]", "not the id of a forced error"),
        ({"create": [{"code": 554, "tag": "a", "max_matches": 5}]}, "create[0].max_matches", "order it alone"),
        ({"create": {"code": 554}}, "create", "is not a list"),
        ({"create": [], "remove": []}, "create", "gives 0 changes"),
        ({"create": [{}] * 10_001}, "create", "10001 forced errors"),
        ({"create": [{"code": 554, "tag": str(n)} for n in range(3001)]}, "rules.max_rules", "room for 3000"),
        ({"add": []}, "add", "is not a field of a set of changes"),
    ],
)
def test_a15_a_set_with_a_bad_item_changes_nothing_and_names_the_item(
    place: Any, body: dict[str, Any], field: str, words: str
) -> None:
    before = place.call("GET", "/v1/errors?enabled=all")
    answer = change(place, (400,), **body)
    assert answer["error"]["field"] == field, answer
    assert words in answer["error"]["message"]
    assert place.call("GET", "/v1/errors?enabled=all") == before


def test_a_rule_that_is_made_and_removed_at_once_is_refused(place: Any) -> None:
    rule = place.order(tag="both")
    body = {"create": [{"code": 450, "tag": "x"}, {"code": 450, "tag": "both"}], "remove": [rule["id"]]}
    answer = change(place, (400,), **body)
    assert answer["error"]["field"] == "create[1]"
    pause = place.call("POST", "/v1/pauses?wait=50s", {"tag": "both"})
    assert change(place, (400,), remove=[pause["id"]])["error"]["field"] == "remove[0]"
    assert change(place, (400,), remove=[rule["id"]] * 2)["error"]["field"] == "remove[1]"
    place.call("DELETE", f"/v1/pauses/{pause['id']}?wait=50s")
    place.lift(rule)


def test_a_set_replaces_the_rules_with_its_selectors(place: Any) -> None:
    rule = place.order(code=450, tag="again")
    made = change(place, create=[{"code": 554, "tag": "again"}, {"code": 554, "tag": "more"}])
    assert (made["created"], made["rules"][0]) == (1, rule["id"])
    edited = place.edit({"id": made["rules"][1]}, code=450)
    assert edited["generation"] > made["generation"]
    assert place.call("GET", f"/v1/errors/bulk/{made['id']}")["standing"] == 1
    assert change(place, remove=made["rules"])["effective"]


def test_a_set_of_rules_for_attempts_is_complete_for_nobody_to_know(place: Any) -> None:
    made = change(place, create=[{"code": 554, "tag": "x", "mta": "127.0.0.9"}, {"code": 450, "tag": "y"}])
    account = place.call("GET", f"/v1/errors/bulk/{made['id']}/statement")
    assert (account["complete"], "sweep" in account) == (None, False)
    assert "at its next attempt" in account["why_incomplete"]
    change(place, remove=made["rules"])
    assert place.call("GET", "/v1/errors/bulk/nothing", want=(404,))["error"]["type"] == "not_found"
