"""Previews over REST: counted at once from counters where one tag alone selects, else by a walk over the queues."""

from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from mta.model.previews import SampledDelivery, Tally
from mta.model.rules import Selectors
from tests.support.control_api import AT, BEARER, Cluster, app_for

PATH = "/v1/errors/preview"


async def test_one_tag_is_counted_at_once_from_its_counters(api: TestClient, cluster: Cluster) -> None:
    cluster.tags["camp"] = {"accepted": 9, "delivered": 2, "queued": 4, "held": 3}
    answer = await api.post(PATH, json={"tag": "camp"})
    found = await answer.json()
    assert (answer.status, found["matched"], found["by"]["state"]) == (200, 7, {"queued": 4, "held": 3})
    assert found["preview_token"]
    assert answer.headers["Location"] == f"{PATH}/{found['id']}"
    assert not cluster.rules, "nothing is ordered"


async def test_one_tag_of_one_tenant_is_counted_at_once(api: TestClient, cluster: Cluster) -> None:
    cluster.tags["camp\0acme"] = {"queued": 4}
    answer = await api.post(PATH, json={"tag": "camp", "tenant": "acme", "code": 550})
    assert (answer.status, (await answer.json())["matched"]) == (200, 4)


@pytest.mark.parametrize("more", [{"domain": "a.example"}, {"except_tags": ["paid"]}, {"pool": "gold"}])
async def test_other_selectors_are_counted_by_a_walk(api: TestClient, cluster: Cluster, more: dict[str, Any]) -> None:
    one = SampledDelivery("M.1", "u\u202e@a.example", "s@b", ("camp",), "acme", "p", True, 2, AT)
    cluster.tally = Tally(10, 5, {"a.example": 5}, 1, {"p": 5}, {"queued": 5, "held": 0}, {"<1h": 5}, (one,))
    answer = await api.post(PATH, json={"tag": "camp", **more})
    first = await answer.json()
    assert (answer.status, first["state"]) == (202, "counting")
    assert "preview_token" not in first
    found = await (await api.get(answer.headers["Location"])).json()
    assert (found["state"], found["matched"], found["preview_token"]) == ("done", 5, found["id"])
    assert found["by"] == {
        "domain": {"a.example": 5},
        "pool": {"p": 5},
        "state": {"queued": 5, "held": 0},
        "age": {"<1h": 5},
    }
    (shown,) = found["sample"]
    assert (shown["message_id"], shown["status"], shown["tenant"]) == ("M", "HELD", "acme")
    assert "\u202e" not in shown["recipient"]


async def test_protected_tags_are_not_in_the_counters(cluster: Cluster) -> None:
    app = app_for(cluster, protected_tags=("paid",))
    async with TestClient(TestServer(app), headers=BEARER) as api:
        assert (await api.post(PATH, json={"tag": "camp"})).status == 202
        assert (await api.post(PATH, json={"tag": "paid"})).status == 200


async def test_selectors_known_at_an_attempt_are_warned_of(api: TestClient) -> None:
    found = await (await api.post(PATH, json={"tag": "camp", "mx": "mx.example"})).json()
    assert "may match less" in found["warnings"][0]


async def test_bad_bodies_and_unknown_previews_are_refused(api: TestClient, cluster: Cluster) -> None:
    assert (await api.post(PATH, json={})).status == 400
    refused = await api.post(PATH, json={"tags": "camp"})
    assert (refused.status, (await refused.json())["error"]["field"]) == (400, "tags")
    assert (await api.get(f"{PATH}/none")).status == 404
    cluster.crowded = True
    crowded = await api.post(PATH, json={"tag": "camp"})
    assert (crowded.status, crowded.headers["Retry-After"]) == (429, "1")


async def test_a_preview_keeps_the_rule_that_was_asked_about(api: TestClient, cluster: Cluster) -> None:
    await api.post(PATH, json={"tag": "camp", "domain": "A.example"})
    (preview,) = cluster.previews.values()
    assert (preview.rule.selectors, preview.rule.code) == (Selectors(tag="camp", domain="a.example"), 554)
