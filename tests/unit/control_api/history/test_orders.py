"""Orders about history over REST."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from mta.ports.history_orders import ErasureReport
from mta.ports.journal import JournalState
from tests.support.control_api import BEARER, Cluster, app_for
from tests.support.eventually import eventually


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[TestClient[Any, Any]]:
    async with TestClient(TestServer(app_for(cluster)), headers=BEARER) as client:
        yield client


async def test_an_erasure_is_done_once_every_living_journal_has_answered(
    api: TestClient[Any, Any], cluster: Cluster
) -> None:
    cluster.journals = [JournalState(node, 1, 1, {}) for node in ("n1", "n2")]
    orders = cluster.history_orders
    async with api.post("/v1/history/forget?wait=0s", json={"address": "Anna@example.com"}) as answer:
        assert answer.status == 202
        begun = await answer.json()
    (erasure,) = orders.pending.values()
    assert (begun["id"], begun["state"], begun["waiting"]) == (erasure.id, "running", ["n1", "n2"])
    assert erasure.address == "Anna@example.com"
    assert "anna" not in str([deed for _, deed in cluster.deeds]).lower()
    await orders.report(erasure.id, ErasureReport("n1", 2, 5, ("/var/log/delivery.jsonl.1",)))
    async with api.get(f"/v1/history/forget/{erasure.id}") as answer:
        assert (await answer.json())["waiting"] == ["n2"]
    await orders.report(erasure.id, ErasureReport("n2"))
    async with api.get(f"/v1/history/forget/{erasure.id}") as answer:
        done = await answer.json()
    assert done == {
        "id": erasure.id, "state": "done", "deliveries": 2, "events": 5,
        "log_files": [{"node": "n1", "path": "/var/log/delivery.jsonl.1"}],
    }  # fmt: skip
    assert orders.pending == {}  # the address is kept no longer
    async with api.get(f"/v1/history/forget/{'0' * 32}") as answer:
        assert answer.status == 404


async def test_an_order_that_waits_answers_as_soon_as_it_is_done(api: TestClient[Any, Any], cluster: Cluster) -> None:
    async def carry_out() -> None:
        await eventually(lambda: cluster.history_orders.pending)
        for erasure in await cluster.history_orders.erasures():
            await cluster.history_orders.report(erasure.id, ErasureReport("n1", 1, 2))

    working = asyncio.create_task(carry_out())
    async with api.post("/v1/history/forget?wait=20s", json={"address": "a@example.com"}) as answer:
        assert (answer.status, (await answer.json())["events"]) == (200, 2)
    await working


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("forget", {}, "address"), ("forget", {"address": "a b\n"}, "address"), ("skip", {"lane": "x"}, "lane"),
        ("skip", {"lane": "3", "node": "n1"}, "node"),
    ],
)  # fmt: skip
async def test_a_bad_order_names_its_field(api: TestClient[Any, Any], path: str, body: Any, field: str) -> None:
    async with api.post(f"/v1/history/{path}", json=body) as answer:
        assert (answer.status, (await answer.json())["error"]["field"]) == (400, field)


async def test_a_lane_whose_events_are_given_up_is_noted_for_the_journals(
    api: TestClient[Any, Any], cluster: Cluster
) -> None:
    async with api.post("/v1/history/skip", json={"lane": "3"}) as answer:
        assert (answer.status, await answer.json()) == (200, {"lane": "3"})
    assert cluster.history_orders.skips == {"3"}
