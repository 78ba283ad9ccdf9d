"""Orders with a bound over REST: what they answer when they pass, are refused, or are not decided yet."""

import asyncio
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from mta.model.previews import Tally
from tests.support.control_api import Cluster

COUNTED = Tally(50, 40, {"a.example": 40}, 1, {"p": 40}, {"queued": 40, "held": 0})


async def order(api: TestClient, query: str = "", **fields: Any) -> tuple[int, dict[str, Any]]:
    answer = await api.post("/v1/errors" + query, json={"code": 554} | fields)
    return answer.status, await answer.json()


async def test_an_order_that_passes_is_the_forced_error(api: TestClient, cluster: Cluster) -> None:
    cluster.tally = COUNTED
    status, made = await order(api, tag="c", max_matches="40", extended="5.7.1", duration="1h")
    assert (status, made["code"], made["extended"], made["effective"]) == (201, 554, "5.7.1", True)
    assert (made["bound"]["state"], made["bound"]["matched"], made["bound"]["max_matches"]) == ("passed", 40, 40)
    assert "expires_at" in made


async def test_an_order_that_matches_more_is_409_with_the_count(api: TestClient, cluster: Cluster) -> None:
    cluster.tally = COUNTED
    status, said = await order(api, tag="c", max_matches=39)
    assert (status, said["matched"], said["error"]["type"]) == (409, 40, "conflict")
    (rule_id,) = cluster.removed
    again = await api.get(f"/v1/errors/{rule_id}")
    assert (again.status, (await again.json())["matched"]) == (409, 40)


async def test_an_order_that_is_not_decided_is_202_and_found_by_its_id(api: TestClient, cluster: Cluster) -> None:
    cluster.undecided = True
    status, made = await order(api, "?wait=0", tag="c", max_matches=9)
    assert (status, made["effective"], made["bound"]) == (202, False, {"state": "counting", "max_matches": 9})
    assert "effective_by" not in made
    shown = await (await api.get(f"/v1/errors/{made['id']}")).json()
    assert (shown["code"], shown["effective"], shown["bound"]["state"]) == (554, False, "counting")
    assert await (await api.get("/v1/errors")).json() == []
    (pause,) = await (await api.get("/v1/pauses")).json()
    assert pause["id"] == made["id"]
    assert (await api.delete("/v1/pauses?tag=c")).status == 404, "it is no pause that somebody ordered"
    assert (await api.patch(f"/v1/errors/{made['id']}", json={"code": 550})).status == 404
    assert (await api.delete(f"/v1/errors/{made['id']}")).status == 200


async def test_a_hold_that_a_person_edits_is_a_pause_from_then_on(api: TestClient, cluster: Cluster) -> None:
    cluster.undecided = True
    _, made = await order(api, "?wait=0", tag="c", max_matches=9)
    edited = await (await api.patch(f"/v1/pauses/{made['id']}", json={"reason": "mine"})).json()
    assert "bound" not in edited


@pytest.mark.parametrize("matches", [40, 42, 43])
async def test_a_token_allows_the_count_of_its_preview_and_5_percent(
    api: TestClient, cluster: Cluster, matches: int
) -> None:
    cluster.tally = COUNTED
    preview = await (await api.post("/v1/errors/preview", json={"domain": "a.example"})).json()
    cluster.tally = Tally(50, matches)
    status, _ = await order(api, domain="a.example", preview_token=preview["id"])
    assert status == (201 if matches <= 42 else 409)


async def test_a_token_is_of_a_counted_preview_with_the_same_selectors(api: TestClient, cluster: Cluster) -> None:
    preview = await (await api.post("/v1/errors/preview", json={"domain": "a.example"})).json()
    status, said = await order(api, domain="b.example", preview_token=preview["id"])
    assert (status, said["error"]["field"]) == (409, "preview_token")
    assert "other selectors" in said["error"]["message"]
    status, said = await order(api, domain="a.example", preview_token="0" * 32)
    assert (status, said["error"]["field"]) == (409, "preview_token")
    assert not cluster.rules


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"max_matches": -1}, "max_matches"),
        ({"max_matches": True}, "max_matches"),
        ({"max_matches": "many"}, "max_matches"),
        ({"preview_token": "x"}, "preview_token"),
        ({"max_matches": 1, "preview_token": "0" * 32}, "preview_token"),
        ({"max_matches": 1, "mx": "mx.example"}, "max_matches"),
        ({"max_matches": 1, "cluster": False}, "max_matches"),
        ({"max_matches": 1, "enabled": False}, "max_matches"),
    ],
)
async def test_a_bound_that_cannot_be_is_refused(
    api: TestClient, cluster: Cluster, fields: dict[str, Any], field: str
) -> None:
    status, said = await order(api, tag="c", **fields)
    assert (status, said["error"]["field"]) == (400, field)
    assert not cluster.rules


async def test_a_pause_has_no_bound(api: TestClient) -> None:
    answer = await api.post("/v1/pauses", json={"tag": "c", "max_matches": 1})
    assert answer.status == 400
    assert "belongs to a forced error" in (await answer.json())["error"]["message"]


async def test_a_token_fits_the_same_order_though_now_is_later(api: TestClient, cluster: Cluster) -> None:
    cluster.tally = COUNTED
    selectors = {"tag": "c", "domain": "a.example", "accepted_before": "now"}
    preview = await (await api.post("/v1/errors/preview", json=selectors)).json()
    await asyncio.sleep(0.002)  # another millisecond
    assert (await order(api, preview_token=preview["id"], **selectors))[0] == 201
    other = selectors | {"accepted_before": "2030-01-01T00:00:00Z"}
    assert (await order(api, preview_token=preview["id"], **other))[0] == 409


@pytest.mark.parametrize("bound", [{"max_matches": 1}, {"preview_token": "0" * 32}])
async def test_an_order_for_many_rules_has_no_bound(api: TestClient, cluster: Cluster, bound: dict[str, Any]) -> None:
    answer = await api.post("/v1/errors/bulk", json={"create": [{"code": 554, "tag": "c"} | bound]})
    (name,) = bound
    assert (answer.status, (await answer.json())["error"]["field"]) == (400, f"create[0].{name}")
    assert not cluster.rules
