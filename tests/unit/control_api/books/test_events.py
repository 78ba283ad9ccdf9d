"""The stream of live events: filters, ends, resumption."""

import asyncio

import orjson
import pytest
from aiohttp.test_utils import TestClient

from control_api.books import events, missed_events
from control_api.dependencies import DEPENDENCIES
from mta.history.absent import AbsentHistory
from mta.model.errors import HistoryAway, HistoryError, HistoryOff
from mta.model.events import Event, EventType
from mta.model.ids import delivery_id, new_message_id
from tests.support.control_api import Cluster
from tests.support.memory_history import MemoryHistory


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
    async with asyncio.timeout(30.0):
        while (await api.get("/v1/events?for=1ms")).status != 200:
            pass


async def test_a_store_that_goes_away_ends_the_stream(api: TestClient, cluster: Cluster) -> None:
    answer = await api.get("/v1/events")
    await answer.content.readline()
    cluster.away = True
    async with asyncio.timeout(30.0):
        await answer.read()


async def test_shutdown_ends_the_streams(api: TestClient) -> None:
    answer = await api.get("/v1/events")
    await answer.content.readline()
    async with asyncio.timeout(30.0):
        await api.server.close()


def event_line(number: int, **more: object) -> bytes:
    return orjson.dumps({"type": "Delivery", "event": f"0.1-{number}.0", **more})


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("tenant=acme", ["5-0.1"]),
        ("recipient=A@B.test", ["5-0.2"]),
        ("rule=ab12", ["5-0.3"]),
        ("rule=ff", []),
    ],
)
async def test_events_of_a_tenant_a_recipient_or_a_rule(
    api: TestClient, cluster: Cluster, query: str, ids: list[str]
) -> None:
    details = ({"tenant": "acme"}, {"recipient": "a@b.test"}, {"forced": {"rule": "ab12"}})
    cluster.lines = [(f"5-0.{number}", event_line(number, **one)) for number, one in enumerate(details, 1)]
    answer = await api.get(f"/v1/events?for=100ms&{query}")
    assert ids_of(await answer.text()) == ids


async def test_history_tells_what_the_live_stream_lacks(
    api: TestClient, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D14: a watcher that was away for longer than the live stream is written without one misses nothing."""
    monkeypatch.setattr(missed_events, "now_ms", lambda: 0)  # history has everything up to now
    history = cluster.history
    assert isinstance(history, MemoryHistory)
    for number in range(1, 6):
        history.add(Event(EventType.DELIVERY, 1000 + number, delivery_id(new_message_id(0, 1000), number), seq=2))
    ids = [kept.event_id for kept in history.kept]
    # The watcher has seen the first; the live stream has it and, since the watcher is back, the last.
    cluster.lines = [(f"5-0.{at}", orjson.dumps({"type": "Delivery", "event": ids[at - 1]})) for at in (1, 5)]
    cluster.unwatched = True
    away = [True, False, True]  # the database does not answer now and then

    def reach() -> None:
        if away and away.pop(0):
            raise HistoryAway("it is locked")

    history.reach = reach
    answer = await api.get("/v1/events?for=1500ms", headers={"Last-Event-ID": "5-0.1"})
    text = await answer.text()
    told = [orjson.loads(line[6:])["event"] for line in text.splitlines() if line.startswith("data: ")]
    assert told == ids[1:]
    assert ids_of(text) == [f"5-0.1~1.{place}" for place in (2, 3, 4, 5)]
    answer = await api.get("/v1/events?for=1500ms", headers={"Last-Event-ID": "5-0.1~1.3"})
    told = [orjson.loads(line[6:])["event"] for line in (await answer.text()).splitlines() if line.startswith("data")]
    assert told == ids[3:]
    assert events.MAY_LACK not in text
    history.dropped = 3
    answer = await api.get("/v1/events?for=1500ms", headers={"Last-Event-ID": "5-0.1"})
    assert events.MAY_LACK in await answer.text(), "some were dropped with their day"


async def test_a_watcher_is_told_where_history_cannot_tell(api: TestClient, cluster: Cluster) -> None:
    async def off() -> HistoryError:
        return HistoryOff()

    cluster.history = AbsentHistory(off)
    object.__setattr__(api.app[DEPENDENCIES], "history", cluster.history)
    fill(cluster)
    cluster.unwatched = True
    answer = await api.get("/v1/events?limit=2", headers={"Last-Event-ID": "5-0.2"})
    text = await answer.text()
    assert events.MAY_LACK in text
    assert ids_of(text) == ["5-0.3", "5-0.4"]
