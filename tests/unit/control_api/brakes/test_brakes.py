"""Brakes over REST: made, shown, removed; bad ones refused; those of a tenant."""

from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from mta.model.brakes import Pull
from mta.model.rules import Kind
from mta.model.scopes import Scope
from mta.ports.brakes import Rate
from tests.support.control_api import Cluster

BRAKE = {
    "selectors": {"tag": "red", "pool": "gold"},
    "metric": "hard_bounce",
    "ratio": 0.05,
    "min": 1000,
    "window": "10m",
    "action": "pause",
}


async def make(api: TestClient, **fields: Any) -> tuple[int, dict[str, Any]]:
    answer = await api.post("/v1/brakes", json=BRAKE | fields)
    return answer.status, await answer.json()


async def test_a_brake_is_made_shown_listed_and_removed(api: TestClient, cluster: Cluster) -> None:
    status, made = await make(api, **{"for": "2h"})
    assert status == 201
    assert made | BRAKE == made | {"window": "10m"}
    assert (made["window"], made["for"], made["pulled"], made["created_by"]) == (600.0, 7200.0, 0, "admin")
    (kept,) = cluster.brakes.known.values()
    assert (kept.rule.kind, kept.rule.selectors.pool, kept.tag, kept.least) == (Kind.PAUSE, "gold", "red", 1000)
    key = made["id"], "red"
    cluster.brakes.counts[key] = Rate(3, 40)
    await cluster.brakes.note(Pull(made["id"], "red", "", 1, 1_700_000_000_000, 60, 1000, rule="r1"))
    shown = await (await api.get(f"/v1/brakes/{made['id']}")).json()
    assert shown["rate"] == {"hits": 3, "counted": 40, "ratio": 0.075}
    assert shown["pulls"] == [
        {
            "tag": "red", "at": "2023-11-14T22:13:20.000Z", "hits": 60, "counted": 1000, "rule": "r1",
            "lifted_at": None, "pulls": 1,
        }
    ]  # fmt: skip
    listed = await (await api.get("/v1/brakes")).json()
    assert listed == {"brakes": [made | {"pulled": 1}], "cursor": None}
    assert (await api.delete(f"/v1/brakes/{made['id']}")).status == 200
    assert (await api.delete(f"/v1/brakes/{made['id']}")).status == 404
    assert [deed.action for _, deed in cluster.deeds] == ["brake.add", "brake.remove"]


async def test_the_action_may_be_a_forced_error(api: TestClient, cluster: Cluster) -> None:
    action = {"code": "554", "extended": "5.7.1", "description": "stopped", "reason": "see the wiki"}
    status, made = await make(api, selectors={"each": "tag"}, action=action)
    assert status == 201
    assert made["selectors"] == {"each": "tag"}
    assert made["action"] == action | {"code": 554}
    (kept,) = cluster.brakes.known.values()
    assert (kept.tag, kept.rule.code, kept.rule.description) == ("", 554, "stopped")


async def test_a_brake_may_watch_the_mail_to_one_site(api: TestClient, cluster: Cluster) -> None:
    status, made = await make(api, selectors={"each": "tag", "site": "google"})
    assert (status, made["selectors"]) == (201, {"each": "tag", "site": "google"})
    (kept,) = cluster.brakes.known.values()
    assert (kept.site, kept.rule.selectors.site) == ("google", "google")


async def test_the_list_has_pages(api: TestClient) -> None:
    ids = sorted([(await make(api, selectors={"tag": f"t{n}"}))[1]["id"] for n in range(3)])
    first = await (await api.get("/v1/brakes?limit=2")).json()
    second = await (await api.get(f"/v1/brakes?limit=2&cursor={first['cursor']}")).json()
    assert [brake["id"] for page in (first, second) for brake in page["brakes"]] == ids
    (one,) = (await (await api.get("/v1/brakes?tag=t1")).json())["brakes"]
    assert one["selectors"] == {"tag": "t1"}


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"selectors": {}}, "selectors.tag", 'each: "tag" instead'),
        ({"selectors": {"tag": "a", "each": "tag"}}, "selectors.tag", 'each: "tag" instead'),
        ({"selectors": {"each": "domain"}}, "selectors.each", "tag"),
        ({"selectors": {"tag": "a", "domain": "x.test"}}, "selectors.domain", "is not a selector of a brake"),
        ({"selectors": {"tag": "*", "pool": "gold"}}, "selectors.tag", "is not the name of one thing"),
        ({"selectors": {"each": "tag", "pool": {}}}, "selectors.pool", "is not the name of one thing"),
        ({"selectors": "a"}, "selectors", "is not an object"),
        ({"metric": "complaint"}, "metric", "needs reports of complaints"),
        ({"metric": "smell"}, "metric", "hard_bounce, unknown_user, deferral, block"),
        ({"ratio": 1}, "ratio", "such as 0.05 for 5 %"),
        ({"ratio": "5%"}, "ratio", "such as 0.05 for 5 %"),
        ({"min": 0}, "min", "from 1"),
        ({"window": "31d"}, "window", "from 1s to 30d"),
        ({"window": None}, "window", "is required"),
        ({"action": None}, "action", "is required"),
        ({"action": "stop"}, "action", 'neither "pause" nor'),
        ({"action": {"code": 354}}, "action.code", "is not an SMTP code"),
        ({"action": {"code": 554, "undo": None}}, "action.undo", "cannot be null"),
        ({"action": {}}, "action.code", "is required"),
        ({"action": {"code": 554, "extended": "4.7.1"}}, "action.extended", "begins with 4"),
        ({"action": {"code": 554, "tag": "x"}}, "action.tag", "is not a field of a brake's rule"),
        ({"action": {"code": 554, "duration": "1h"}}, "action.duration", "is not a field of a brake's rule"),
        ({"for": "0s"}, "for", "from 1s to 30d"),
        ({"until": "1h"}, "until", "is not a field of a brake"),
    ],
)
async def test_a_brake_that_cannot_be_is_refused_with_the_field(
    api: TestClient, cluster: Cluster, fields: dict[str, Any], field: str, words: str
) -> None:
    status, said = await make(api, **fields)
    assert (status, said["error"]["field"]) == (400, field), said
    assert words in said["error"]["message"]
    assert cluster.brakes.known == {}


async def test_a4_a_tenant_watches_its_own_mail_and_sees_its_own_brakes(api: TestClient, cluster: Cluster) -> None:
    _, of_all = await make(api, selectors={"tag": "red"})
    token = cluster.give_token(Scope.ERRORS_WRITE, Scope.ERRORS_READ, tenant="acme")
    other = cluster.give_token(Scope.ERRORS_WRITE, tenant="rival")
    answer = await api.post("/v1/brakes", json=BRAKE, headers=token)
    made = await answer.json()
    assert (answer.status, made["selectors"]["tenant"]) == (201, "acme")
    kept = cluster.brakes.known[made["id"]]
    assert (kept.tenant, kept.owner, kept.rule.selectors.tenant, kept.rule.owner) == ("acme",) * 4
    listed = await (await api.get("/v1/brakes", headers=token)).json()
    assert [brake["id"] for brake in listed["brakes"]] == [made["id"]]
    assert (await api.get(f"/v1/brakes/{of_all['id']}", headers=token)).status == 404
    assert (await api.delete(f"/v1/brakes/{made['id']}", headers=other)).status == 404
    named = BRAKE | {"selectors": {"tag": "red", "tenant": "rival"}}
    assert (await api.post("/v1/brakes", json=named, headers=token)).status == 403
    discard = BRAKE | {"action": {"code": 250}}
    assert (await api.post("/v1/brakes", json=discard, headers=token)).status == 403
