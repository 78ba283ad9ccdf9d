"""One answer to whether a sweep is over, and the account of a rule after its removal."""

import json
from typing import Any

from tests.support.node import until
from tests.support.rest import ask


def test_o14_a_rule_that_expires_while_it_is_swept_gets_one_answer_everywhere(place: Any):
    for _ in range(2):
        place.scheduled("expiring", "expiring.test", 1000)
    order = {"code": 554, "tag": "expiring", "duration": "4s"}
    made = ask(place.api, "POST", "/v1/errors?wait=50s&until=swept", json.dumps(order).encode())
    statement = ask(place.api, "GET", f"/v1/errors/{made.body['id']}/statement").body
    assert statement["sweep"]["state"] == "stopped", "it expired in the middle"
    assert (made.status, statement["complete"], statement["balanced"]) == (201, True, True)
    assert 0 < statement["intercepted"]["queued"] < 2000
    place.scheduled("expiring_too", "expiring.test", 1000)
    words = ("errors", "add", "554", "--tag", "expiring_too", "--domain", "expiring.test", "--duration", "2s")
    said = place.floodgate(*words, "--wait", "50s", "--until", "swept", "--json", "--yes")
    assert said.status == 0, said.err
    statement = ask(place.api, "GET", f"/v1/errors/{json.loads(said.out)['id']}/statement").body
    assert (statement["sweep"]["state"], statement["complete"]) == ("stopped", True)


def test_o14_a_rule_that_expires_before_its_sweep_begins_is_over_too(place: Any):
    made = ask(
        place.api, "POST", "/v1/errors?wait=50s&until=swept", b'{"code": 554, "tag": "short", "duration": "1ms"}'
    )
    statement = ask(place.api, "GET", f"/v1/errors/{made.body['id']}/statement").body
    assert (made.status, statement["complete"]) == (201, True)


def test_o6_the_statement_of_a_removed_rule_can_still_be_read_and_remove_says_so(place: Any):
    place.scheduled("removed", "removed.test", 20)
    made = ask(
        place.api, "POST", "/v1/errors?wait=50s&until=swept", b'{"code": 554, "tag": "removed", "reason": "wrong"}'
    )
    assert made.status == 201
    path = f"/v1/errors/{made.body['id']}"
    before = ask(place.api, "GET", path + "/statement").body
    said = place.floodgate("errors", "remove", made.body["id"])
    assert said.status == 0, said.err
    assert f"floodgate errors statement {made.body['id']}" in said.out
    assert "can be read until 20" in said.out
    after = ask(place.api, "GET", path + "/statement")
    assert after.status == 200
    assert after.body["removed_at"]
    same = ("rule", "matched", "intercepted", "delivered", "other", "effective_at", "complete", "balanced", "sweep")
    assert {name: after.body[name] for name in same} == {name: before[name] for name in same}
    assert after.body["intercepted"]["queued"] == 20
    said = place.floodgate("errors", "statement", made.body["id"])
    assert said.status == 0, said.err
    assert ask(place.api, "GET", path).status == 404, "the rule itself is gone"
    assert "statement" in ask(place.api, "GET", path).body["error"]["message"]
    assert ask(place.api, "POST", path + "/undo?wait=50s").body["reinstated"] == 20
    again = until(lambda: (s := ask(place.api, "GET", path + "/statement").body)["undoable"] == 0 and s)
    assert again["intercepted"]["queued"] == 0
    pause = ask(place.api, "POST", "/v1/pauses?wait=50s", b'{"tag": "removed"}').body["id"]
    until(lambda: ask(place.api, "GET", f"/v1/pauses/{pause}/statement").body["held"] == 20)
    assert ask(place.api, "DELETE", f"/v1/pauses/{pause}?wait=50s").status == 200
    lifted = ask(place.api, "GET", f"/v1/pauses/{pause}/statement")
    assert (lifted.status, lifted.body["rule"]) == (200, pause)
    assert ask(place.api, "GET", f"/v1/errors/{pause}/statement").status == 404, "a pause is no forced error"


def test_o11_a_rule_is_lifted_by_selectors_in_the_query(place: Any):
    made = ask(place.api, "POST", "/v1/errors?wait=50s", b'{"code": 554, "tag": "q2"}')
    both = ask(place.api, "DELETE", "/v1/errors?tag=q2", b'{"tag": "q2"}')
    assert (both.status, both.body["error"]["field"]) == (400, "body")
    lifted = ask(place.api, "DELETE", "/v1/errors?tag=q2&wait=50s")
    assert (lifted.status, lifted.body["id"]) == (200, made.body["id"])
    assert ask(place.api, "DELETE", "/v1/errors?tag=q2").status == 404
