"""Waiting mail as a list, and orders about it."""

from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from mta.model.ids import delivery_text
from mta.model.outcomes import Reply
from mta.ports.queue_work import MailSelection
from tests.support.control_api import Cluster, waiting_delivery


async def test_a_queued_delivery_has_its_next_attempt_and_its_last_error(api: TestClient, cluster: Cluster) -> None:
    one = waiting_delivery(1, attempts=3, last=Reply(451, "4.7.1", "try\nlater"))
    cluster.waiting = [one]
    page = await (await api.get("/v1/queues/messages?tag=red&pool=default&domain=EXAMPLE.com")).json()
    assert page["cursor"] is None
    [record] = page["messages"]
    assert (record["id"], record["recipient"]) == (delivery_text(one.id), "m1@example.com")
    assert (record["attempts"], record["next_attempt"]) == (3, "2023-11-14T22:13:20.001Z")
    assert record["error"] == {"code": 451, "enhanced": "4.7.1", "text": "try\\u000alater"}
    assert cluster.selections == [MailSelection("default", "example.com", "red", None)]


async def test_the_list_is_paged_by_an_opaque_cursor(api: TestClient, cluster: Cluster) -> None:
    cluster.waiting = [waiting_delivery(number) for number in range(5)]
    seen, cursor = [], None
    while True:
        params = {"limit": "2"} | ({} if cursor is None else {"cursor": cursor})
        page = await (await api.get("/v1/queues/messages", params=params)).json()
        seen += [record["recipient"] for record in page["messages"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert seen == [f"m{number}@example.com" for number in range(5)]


@pytest.mark.parametrize("cursor", ["x", "default~example.com~5", "default~example.com~5~zz"])
async def test_a_cursor_of_another_list_is_refused(api: TestClient, cursor: str) -> None:
    refused = await api.get("/v1/queues/messages", params={"cursor": cursor})
    assert refused.status == 400
    assert (await refused.json())["error"]["field"] == "cursor"


@pytest.mark.parametrize("path", ["/v1/queues/retry", "/v1/queues/move"])
async def test_an_order_is_done_or_says_where_to_go_on(api: TestClient, cluster: Cluster, path: str) -> None:
    body = {"domain": "example.com", "tag": "red"} | ({"to_pool": "default"} if path.endswith("move") else {})
    first = await api.post(path, json=body)
    assert first.status == 202
    answer = await first.json()
    kept = 2 if path.endswith("move") else 0
    assert answer == {"moved": 3, "seen": 5, "kept": kept, "cursor": "1~0~17~default|example.com"}
    second = await api.post(path, json=body | {"cursor": answer["cursor"]})
    assert second.status == 200
    assert (await second.json())["cursor"] is None
    assert cluster.selections == [MailSelection(None, "example.com", "red", None)] * 2


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/queues/retry", {}, "everything"),
        ("/v1/queues/retry", {"pool": "*"}, "everything"),
        ("/v1/queues/retry", {"domain": "*.example.com"}, "domain"),
        ("/v1/queues/retry", {"domain": "x.test", "to_pool": "default"}, "to_pool"),
        ("/v1/queues/move", {"domain": "x.test"}, "to_pool"),
        ("/v1/queues/move", {"to_pool": "default"}, "everything"),
        ("/v1/queues/move", {"to_pool": "default", "tag": "x", "cursor": "nonsense"}, "cursor"),
    ],
)
async def test_an_order_that_cannot_be_meant_is_refused(
    api: TestClient, cluster: Cluster, path: str, body: dict[str, Any], field: str
) -> None:
    refused = await api.post(path, json=body)
    assert refused.status == 400
    assert (await refused.json())["error"]["field"] == field
    assert cluster.selections == []


async def test_all_mail_is_selected_by_a_word(api: TestClient, cluster: Cluster) -> None:
    assert (await api.post("/v1/queues/retry", json={"everything": True})).status == 202
    assert cluster.selections == [MailSelection()]


async def test_i9_mail_goes_to_no_pool_that_nobody_serves(api: TestClient, cluster: Cluster) -> None:
    refused = await api.post("/v1/queues/move", json={"to_pool": "nobodys", "pool": "default"})
    assert refused.status == 409
    assert "no node serves pool nobodys" in (await refused.json())["error"]["message"]
    assert cluster.selections == []
