"""The stream of live events: filters, ends, resumption."""

import asyncio

import orjson
import pytest
from aiohttp.test_utils import TestClient

from control_api.books import events
from tests.support.control_api import Cluster


def fill(cluster: Cluster) -> None:
    kinds = ["Reception", "Delivery", "Bounce", "Delivery"]
    for number, kind in enumerate(kinds, 1):
        event = {"type": kind, "tags": [f"t{number}"], "pool": "p", "domain": f"d{number}.example"}
        cluster.lines.append((f"5-0.{number}", orjson.dumps(event)))


def ids_of(text: str) -> list[str]:
    return [line[4:] for line in text.splitlines() if line.startswith("id: ")]


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("limit=4", ["5-0.1", "5-0.2", "5-0.3", "5-0.4"]),
        ("limit=2", ["5-0.1", "5-0.2"]),
        ("limit=2&type=Delivery", ["5-0.2", "5-0.4"]),
        ("limit=3&type=Delivery&type=Bounce", ["5-0.2", "5-0.3", "5-0.4"]),
        ("for=100ms&tag=t3", ["5-0.3"]),
        ("for=100ms&domain=D2.example&pool=p", ["5-0.2"]),
        ("for=100ms&pool=q", []),
    ],
)
async def test_events_are_filtered_and_end(api: TestClient, cluster: Cluster, query: str, ids: list[str]) -> None:
    fill(cluster)
    answer = await api.get("/v1/events?" + query)
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert ids_of(await answer.text()) == ids
    assert cluster.watched == 1


async def test_an_event_has_id_type_and_the_line_of_the_log(api: TestClient, cluster: Cluster) -> None:
    fill(cluster)
    text = await (await api.get("/v1/events?limit=1")).text()
    assert f"id: 5-0.1\nevent: Reception\ndata: {cluster.lines[0][1].decode()}\n\n" in text


async def test_a_stream_resumes_behind_the_last_event(api: TestClient, cluster: Cluster) -> None:
    fill(cluster)
    answer = await api.get("/v1/events?limit=2", headers={"Last-Event-ID": "5-0.2"})
    assert ids_of(await answer.text()) == ["5-0.3", "5-0.4"]


@pytest.mark.parametrize("query", ["type=Nothing", "limit=0", "for=x", "for=2d", "tag=", "follow=1"])
async def test_bad_filters_are_400(api: TestClient, query: str) -> None:
    assert (await api.get("/v1/events?" + query)).status == 400


async def test_a_bad_last_event_id_is_400(api: TestClient) -> None:
    answer = await api.get("/v1/events?limit=1", headers={"Last-Event-ID": "$"})
    assert (answer.status, (await answer.json())["error"]["field"]) == (400, "Last-Event-ID")


async def test_watchers_are_bounded_and_leave_room_again(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_WATCHERS", 1)
    first = await api.get("/v1/events")
    second = await api.get("/v1/events?limit=1")
    assert (second.status, second.headers["Retry-After"]) == (503, "10")
    first.close()
    async with asyncio.timeout(5):
        while (await api.get("/v1/events?for=1ms")).status != 200:
            pass


async def test_a_store_that_goes_away_ends_the_stream(api: TestClient, cluster: Cluster) -> None:
    answer = await api.get("/v1/events")
    await answer.content.readline()
    cluster.away = True
    async with asyncio.timeout(5):
        await answer.read()


async def test_shutdown_ends_the_streams(api: TestClient) -> None:
    answer = await api.get("/v1/events")
    await answer.content.readline()
    async with asyncio.timeout(5):
        await api.server.close()
