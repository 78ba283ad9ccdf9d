"""Pauses over REST, and what they and forced errors are to one another."""

from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from mta.model.rules import AtTheDoor, InFlight, Kind, Rule, Selectors
from mta.model.sweeps import SweepPhase, SweepState
from tests.support.control_api import AT, Cluster

AT_TEXT = "2023-11-14T22:13:20.000Z"


async def ask(api: TestClient, method: str, path: str, body: Any = None, status: int = 200) -> Any:
    answer = await api.request(method, path, json=body)
    found = await answer.json()
    assert answer.status == status, found
    return found


async def test_a_new_pause_is_201_with_what_is_known_of_it(api: TestClient, cluster: Cluster) -> None:
    cluster.tags["c"] = {"accepted": 1}
    answer = await api.post("/v1/pauses?until=swept", json={"tag": "c", "tenant": "shop", "reason": "why"})
    body = await answer.json()
    assert answer.status == 202, "its sweep is not done"
    assert answer.headers["Location"] == f"/v1/pauses/{body['id']}"
    assert answer.headers["ETag"] == '"1"'
    for name in ("id", "created_at"):
        del body[name]
    assert body == {
        "tag": "c",
        "tenant": "shop",
        "cluster": True,
        "enabled": True,
        "in_flight": "abort",
        "reason": "why",
        "created_by": "admin",
        "generation": 1,
        "effective": True,
        "effective_at": AT_TEXT,
        "past_dot": [],
        "quiet_at": "2023-11-14T22:13:20.007Z",
        "workers": {"confirmed": ["n1/smtp+delivery/11", "n2/smtp+delivery/22"], "unconfirmed": []},
        "warnings": [],
    }
    assert (await api.post("/v1/pauses", json={"tag": "d"})).status == 201
    assert (await api.post("/v1/pauses", json={"tag": "d"})).status == 200
    cluster.effective = False
    assert (await api.post("/v1/pauses", json={"tag": "d"})).status == 202


@pytest.mark.parametrize("field", ["code", "extended", "description", "at_the_door", "undo"])
async def test_what_is_about_mail_that_ends_is_refused_with_the_reason(api: TestClient, field: str) -> None:
    for method, path, more in (("POST", "/v1/pauses", {"tag": "c"}), ("PATCH", "/v1/pauses/x", {})):
        error = (await ask(api, method, path, {field: 554, **more}, 400))["error"]
        assert error["field"] == field
        assert "a pause holds mail and sends no answer" in error["message"]


async def test_a_pause_and_a_forced_error_of_the_same_selectors_are_two(api: TestClient) -> None:
    pause = await ask(api, "POST", "/v1/pauses", {"tag": "c"}, 201)
    error = await ask(api, "POST", "/v1/errors", {"tag": "c", "code": 450}, 201)
    assert [rule["id"] for rule in await ask(api, "GET", "/v1/pauses")] == [pause["id"]]
    assert [rule["id"] for rule in await ask(api, "GET", "/v1/errors")] == [error["id"]]
    assert (await ask(api, "DELETE", "/v1/pauses", {"tag": "c"}))["id"] == pause["id"]
    assert [rule["id"] for rule in await ask(api, "GET", "/v1/errors")] == [error["id"]]


async def test_ids_of_the_other_kind_are_404_and_say_where_to_look(api: TestClient, cluster: Cluster) -> None:
    pause = (await ask(api, "POST", "/v1/pauses", {"tag": "c"}, 201))["id"]
    error = (await ask(api, "POST", "/v1/errors", {"tag": "c", "code": 554}, 201))["id"]
    for here, other, there in (("errors", pause, "pauses"), ("pauses", error, "errors")):
        for method, tail, body in (
            ("GET", "", None),
            ("PATCH", "", {"enabled": False}),
            ("DELETE", "", None),
            ("GET", "/statement", None),
            ("POST", "/undo" if here == "errors" else "/convert", {"code": 554}),
        ):
            found = await ask(api, method, f"/v1/{here}/{other}{tail}", body, 404)
            assert f"see /v1/{there}/{other}" in found["error"]["message"]
    assert len(cluster.rules) == 2
    assert all(rule.enabled for rule in cluster.rules.values())


async def test_a_pause_tells_how_many_it_holds(api: TestClient, cluster: Cluster) -> None:
    pause = await ask(api, "POST", "/v1/pauses", {"tag": "c"}, 201)
    cluster.counts[pause["id"]] = {"held": 4, "met": 6, "other": 2, "hits": 6}
    assert [rule["held"] for rule in await ask(api, "GET", "/v1/pauses?tag=c")] == [4]
    path = f"/v1/pauses/{pause['id']}"
    shown = await ask(api, "GET", path)
    assert (shown["held"], shown["hits"], shown["effective"]) == (4, 6, True)
    cluster.sweep_states[pause["id"]] = SweepState(pause["id"], 1, SweepPhase.DONE, 5, 4, AT, AT + 1000, AT)
    account = await ask(api, "GET", path + "/statement")
    assert (account["matched"], account["held"], account["other"], account["balanced"]) == (6, 4, 2, True)


async def test_a_pause_is_edited(api: TestClient) -> None:
    path = f"/v1/pauses/{(await ask(api, 'POST', '/v1/pauses', {'tag': 'c'}, 201))['id']}"
    edited = await ask(api, "PATCH", path, {"in_flight": "finish", "expire": "+1h", "reason": "why"})
    assert (edited["in_flight"], edited["reason"], "expires_at" in edited) == ("finish", "why", True)
    assert "expires_at" not in await ask(api, "PATCH", path, {"expire": None})
    assert (await ask(api, "PATCH", path, {"tag": "d"}, 400))["error"]["field"] == "tag"
    both = {"expire": "+1h", "expires_at": "+1h"}
    assert (await ask(api, "PATCH", path, both, 400))["error"]["field"] == "expire"


async def test_a_pause_becomes_a_forced_error_of_the_same_id(api: TestClient, cluster: Cluster) -> None:
    cluster.tags["c"] = {"accepted": 1}
    body = {"tag": "c", "reason": "wrong link", "in_flight": "finish", "duration": "1h"}
    pause = await ask(api, "POST", "/v1/pauses", body, 201)
    path = f"/v1/pauses/{pause['id']}/convert"
    late = await api.post(path, json={"code": 554}, headers={"If-Match": '"7"'})
    assert late.status == 412
    made = await ask(api, "POST", path, {"code": 554, "extended": "5.7.1", "at_the_door": "reject"})
    assert (made["id"], made["code"], made["extended"], made["at_the_door"]) == (pause["id"], 554, "5.7.1", "reject")
    assert (made["reason"], made["in_flight"], "expires_at" in made) == ("wrong link", "finish", False)
    assert (made["generation"], made["warnings"], cluster.generation) == (2, [], 2), "one change of the table"
    assert cluster.rules[pause["id"]].kind is Kind.ERROR
    assert await ask(api, "GET", "/v1/pauses?enabled=all") == []
    assert (await ask(api, "POST", path, {"code": 554}, 404))["error"]["message"].endswith(f"/v1/errors/{pause['id']}")


async def test_a_conversion_into_what_is_there_already_is_409_and_names_it(api: TestClient, cluster: Cluster) -> None:
    pause = await ask(api, "POST", "/v1/pauses", {"tag": "c"}, 201)
    error = await ask(api, "POST", "/v1/errors", {"tag": "c", "code": 450}, 201)
    found = await ask(api, "POST", f"/v1/pauses/{pause['id']}/convert", {"code": 554}, 409)
    assert found["error"]["type"] == "conflict"
    assert error["id"] in found["error"]["message"]
    assert cluster.rules[pause["id"]].kind is Kind.PAUSE


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "code"),
        ({"code": 302}, "code"),
        ({"code": 554, "tag": "d"}, "tag"),
        ({"code": 554, "extended": "4.7.1"}, "extended"),
        ({"code": 250, "at_the_door": "reject"}, "at_the_door"),
    ],
)
async def test_a_bad_conversion_changes_nothing(
    api: TestClient, cluster: Cluster, body: dict[str, Any], field: str
) -> None:
    pause = await ask(api, "POST", "/v1/pauses", {"tag": "c"}, 201)
    found = await ask(api, "POST", f"/v1/pauses/{pause['id']}/convert", body, 400)
    assert found["error"]["field"] == field
    assert (cluster.rules[pause["id"]].kind, cluster.generation) == (Kind.PAUSE, 1)


async def test_the_fields_of_forced_errors_are_taken_shown_and_edited(api: TestClient, cluster: Cluster) -> None:
    body = {"code": 554, "tenant": "shop", "at_the_door": "reject", "in_flight": "finish", "undo": False}
    made = await ask(api, "POST", "/v1/errors", body, 201)
    rule = cluster.rules[made["id"]]
    assert rule.selectors == Selectors(tenant="shop")
    assert (rule.at_the_door, rule.in_flight, rule.undo) == (AtTheDoor.REJECT, InFlight.FINISH, False)
    assert {name: made[name] for name in body} == body
    path = f"/v1/errors/{made['id']}"
    found = await ask(api, "PATCH", path, {"code": 250}, 400)
    assert found["error"]["field"] == "at_the_door", "nothing is refused with success"
    edited = await ask(api, "PATCH", path, {"code": 250, "at_the_door": None, "undo": True, "in_flight": "abort"})
    assert (edited["at_the_door"], edited["undo"], edited["in_flight"]) == ("accept", True, "abort")
    assert (await ask(api, "PATCH", path, {"tenant": "other"}, 400))["error"]["field"] == "tenant"
    again = await ask(api, "POST", "/v1/errors", {"code": 554, "tenant": "shop", "mta": "192.0.2.1"}, 201)
    assert again["warnings"] == []
    warned = await ask(api, "PATCH", f"/v1/errors/{again['id']}", {"at_the_door": "reject"})
    assert "the door rejects no mail for this rule" in warned["warnings"][0]


async def test_an_undo_tells_how_far_it_is(api: TestClient, cluster: Cluster) -> None:
    rule = await ask(api, "POST", "/v1/errors", {"code": 554, "tag": "c"}, 201)
    path = f"/v1/errors/{rule['id']}"
    cluster.undoable[rule["id"]] = 7
    assert (await ask(api, "GET", path + "/statement"))["undoable"] == 7
    cluster.effective = False
    first = await ask(api, "POST", path + "/undo?wait=0", status=202)
    assert (first["reinstated"], first["left"], first["effective"]) == (0, 7, False)
    cluster.effective = True
    second = await ask(api, "POST", path + "/undo?wait=1s")
    assert (second["id"], second["reinstated"], second["left"], second["effective"]) == (rule["id"], 7, 0, True)
    assert (await ask(api, "GET", path))["enabled"] is False
    await ask(api, "DELETE", path)
    await ask(api, "POST", path + "/undo", status=404)
    cluster.undoable[rule["id"]] = 2
    late = await ask(api, "POST", path + "/undo")
    assert late == {"id": rule["id"], "reinstated": 2, "left": 0}
    await ask(api, "POST", path + "/undo?until=swept", status=400)


async def test_a_rule_listed_is_of_one_kind_whatever_its_state(api: TestClient, cluster: Cluster) -> None:
    for rule in (
        Rule("off", Selectors(tag="a"), kind=Kind.PAUSE, enabled=False),
        Rule("on", Selectors(tag="b"), kind=Kind.PAUSE),
        Rule("error", Selectors(tag="b"), 554),
    ):
        cluster.rules[rule.id] = rule
    listed = await ask(api, "GET", "/v1/pauses?enabled=all")
    assert [(pause["id"], "code" in pause, "undo" in pause) for pause in listed] == [
        ("off", False, False),
        ("on", False, False),
    ]
