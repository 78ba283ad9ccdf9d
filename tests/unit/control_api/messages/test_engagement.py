"""The first open and click in a record, and clicks by link in statistics."""

from aiohttp.test_utils import TestClient, TestServer

from mta.model.engagement import TrackedMail
from mta.model.errors import HistoryAway
from mta.model.events import Event, EventType, engagement_event
from mta.model.ids import DeliveryId, delivery_text, new_message_id
from mta.model.scopes import Scope
from mta.ports.tracking import LinkCount
from tests.support.control_api import AT, BEARER, Cluster, app_for
from tests.support.memory_history import MemoryHistory

MESSAGE = new_message_id(0, AT)
DELIVERY = DeliveryId(MESSAGE + b"\0\1")
MAIL = TrackedMail(DELIVERY, AT // 1000, "ann@example.net")
DAY = AT // 86_400_000


def history(cluster: Cluster) -> MemoryHistory:
    found = MemoryHistory()
    found.add(Event(EventType.DELIVERY, AT, DELIVERY, "n1", recipient="ann@example.net", route="mx", seq=2))
    for at, kind, machine in (
        (1, EventType.OPEN, "apple_mpp"),
        (2, EventType.OPEN, ""),
        (3, EventType.OPEN, ""),
        (4, EventType.CLICK, "program"),
        (5, EventType.CLICK, ""),
    ):
        found.add(engagement_event(kind, AT + at, "n1", MAIL, "192.0.2.1", machine, {}))
    cluster.history = found
    return found


async def test_a_record_has_the_first_visits_of_a_reader(cluster: Cluster) -> None:
    known = history(cluster)
    async with TestClient(TestServer(app_for(cluster, tracks=True)), headers=BEARER) as api:
        path = f"/v1/messages/{delivery_text(DELIVERY)}"
        record = await (await api.get(path)).json()
        assert (record["status"], record["opened_at"][-5:], record["clicked_at"][-5:]) == (
            "DELIVERED",
            ".002Z",
            ".005Z",
        )

        async def away(message: object) -> object:
            raise HistoryAway("no answer")

        known.events_of = away  # type: ignore[assignment,method-assign]
        record = await (await api.get(path)).json()
        assert "opened_at" not in record
    async with TestClient(TestServer(app_for(cluster)), headers=BEARER) as api:
        history(cluster)
        assert "opened_at" not in await (await api.get(path)).json(), "nothing is tracked here"


async def test_clicks_are_counted_by_link_and_those_of_machines_apart(api: TestClient, cluster: Cluster) -> None:
    other = LinkCount("acme", "https://b.example/", False)
    await cluster.engagement.add_clicks(
        DAY,
        {
            LinkCount("", "https://a.example/", False): 3,
            LinkCount("", "https://a.example/", True): 5,
            other: 4,
        },
    )
    await cluster.engagement.add_clicks(DAY + 1, {other: 1})
    span = "from=2023-11-14T00:00:00Z&until=2023-11-15T12:00:00Z"
    answer = await (await api.get(f"/v1/stats?by=link&{span}")).json()
    rows = [
        (one["begins"][:10], one["tenant"], one["link"], one["clicked"], one["machine_clicked"])
        for one in answer["stats"]
    ]
    assert rows == [
        ("2023-11-15", "acme", "https://b.example/", 1, 0),
        ("2023-11-14", "acme", "https://b.example/", 4, 0),
        ("2023-11-14", "", "https://a.example/", 3, 5),
    ]
    assert (await (await api.get(f"/v1/stats?by=link&limit=1&{span}")).json())["truncated"] is True
    token = cluster.give_token(Scope.MESSAGES_READ, tenant="rival")
    assert (await (await api.get(f"/v1/stats?by=link&{span}", headers=token)).json())["stats"] == []
    for query, field in (("by=link&by=tag", "by"), ("by=link&interval=1h", "interval")):
        refused = await api.get(f"/v1/stats?{query}")
        assert (refused.status, (await refused.json())["error"]["field"]) == (400, field)
