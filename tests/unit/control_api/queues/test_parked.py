"""Parked mail over REST: listed, released, removed with what is lost."""

from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from mta.model.ids import delivery_text
from tests.support.control_api import Cluster, parked_delivery


def text(number: int) -> str:
    return delivery_text(parked_delivery(number).id)


async def test_parked_mail_says_why_and_pages(api: TestClient, cluster: Cluster) -> None:
    cluster.parked = [parked_delivery(1), parked_delivery(2, raw=b"x", record=None), parked_delivery(3)]
    page = await (await api.get("/v1/parked?limit=2")).json()
    assert [(one["id"], one["why"]) for one in page["parked"]] == [
        (text(1), "process after process died or gave up while it held the delivery"),
        (text(2), "its record cannot be read"),
    ]
    assert page["parked"][0]["recipient"] == "m1@example.com"
    assert (page["parked"][1].get("recipient"), page["parked"][1]["uncertain"]) == (None, True)
    rest = await (await api.get("/v1/parked", params={"cursor": page["cursor"]})).json()
    assert ([one["id"] for one in rest["parked"]], rest["cursor"]) == ([text(3)], None)


async def test_a_release_names_what_cannot_be_read(api: TestClient, cluster: Cluster) -> None:
    cluster.parked = [parked_delivery(1), parked_delivery(2, record=None)]
    answer = await (await api.post("/v1/parked/release", json={"everything": True})).json()
    assert answer == {"released": 1, "unreadable": 1, "cursor": None}
    assert [actor.name for actor in cluster.orders] == ["admin"]


async def test_chosen_mail_is_removed_and_what_is_lost_is_said(api: TestClient, cluster: Cluster) -> None:
    cluster.parked = [parked_delivery(1), parked_delivery(2, record=None), parked_delivery(3)]
    answer = await api.delete("/v1/parked", params=[("id", text(1)), ("id", text(2))])
    found = await answer.json()
    assert (answer.status, found["removed"], found["uncertain"]) == (200, 2, 1)
    assert [one["id"] for one in found["lost"]] == [text(1), text(2)]
    assert [delivery_text(one.id) for one in cluster.parked] == [text(3)]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "everything"),
        ({"id": ["nonsense"]}, "id"),
        ({"id": []}, "id"),
        ({"id": [f"{'0' * 26}.0"]}, "id"),
        ({"domain": "x.test", "cursor": "y"}, "cursor"),
        ({"tag": "x"}, "tag"),
    ],
)
async def test_an_order_that_cannot_be_meant_is_refused(
    api: TestClient, cluster: Cluster, body: dict[str, Any], field: str
) -> None:
    cluster.parked = [parked_delivery(1)]
    refused = await api.post("/v1/parked/release", json=body)
    assert refused.status == 400
    assert (await refused.json())["error"]["field"] == field
    assert len(cluster.parked) == 1
    assert (await api.delete("/v1/parked")).status == 400
