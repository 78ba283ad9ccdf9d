"""Statistics over a history in memory."""

from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from control_api.history import stats as module
from mta.model.events import Event, EventType
from mta.model.ids import MessageId, delivery_id
from mta.ports.history import HourCount
from tests.support.memory_history import MemoryHistory

AT = 1_699_999_200_000  # Unix ms: 2023-11-14T22:00:00Z
HOUR = 3_600_000


async def stats(api: TestClient, query: str) -> Any:
    async with api.get(f"/v1/stats?{query}") as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def test_events_become_figures_by_group_and_period(api: TestClient, history: MemoryHistory) -> None:
    history.found_counts = [
        HourCount(AT + HOUR, "gold", "", "", "", "Reception", 4),
        HourCount(AT, "gold", "", "", "", "Reception", 3),
        HourCount(AT, "gold", "", "", "", "Delivery", 2),
        HourCount(AT, "big", "", "", "", "Reception", 9),
        HourCount(AT, "gold", "", "", "", "TransientFailure", 7),
        HourCount(AT, "gold", "", "", "", "Hold", 1),
    ]
    found = await stats(api, "by=pool&interval=1h&from=2023-11-14T22:10:00Z&until=2023-11-14T23:10:00Z&tenant=acme")
    assert history.asked_counts == [(("pool",), HOUR, AT, AT + 2 * HOUR, "acme")]
    assert (found["from"], found["until"]) == ("2023-11-14T22:00:00.000Z", "2023-11-15T00:00:00.000Z")
    names = ("pool", "accepted", "delivered", "deferred")
    rows = [(row["begins"][11:13], *(row[name] for name in names)) for row in found["stats"]]
    assert rows == [("22", "big", 9, 0, 0), ("22", "gold", 3, 2, 7), ("23", "gold", 4, 0, 0)]
    assert (found["as_of"], found["truncated"]) == ("2023-11-14T22:15:00.000Z", False)
    assert "domain" not in found["stats"][0]
    cut = await stats(api, "by=pool&limit=1&from=2023-11-14T22:10:00Z&until=2023-11-14T23:10:00Z")
    assert (len(cut["stats"]), cut["truncated"]) == (1, True)
    assert (await stats(api, "from=2023-11-14T22:10:00Z&until=2022-11-14T22:10:00Z"))["stats"] == []


async def test_by_tag_each_delivery_counts_by_how_it_stands(api: TestClient, history: MemoryHistory) -> None:
    for number, kind in enumerate([EventType.DELIVERY, EventType.BOUNCE, EventType.RECEPTION, EventType.INTERCEPTED]):
        id_ = delivery_id(MessageId((AT + number).to_bytes(6, "big") + number.to_bytes(10, "big")), 1)
        tags = ("red", "blue") if number else ("red",)
        history.add(Event(kind, AT + number, id_, tags=tags, pool="gold", queued_at=AT + number, seq=1))
    found = await stats(api, "by=tag&by=pool&interval=1h&from=2023-11-14T21:00:00Z&until=2023-11-14T22:10:00Z")
    rows = {row["tag"]: row for row in found["stats"]}
    names = ("accepted", "delivered", "bounced", "intercepted")
    figures = {tag: [row[name] for name in names] for tag, row in rows.items()}
    assert figures == {"red": [4, 1, 1, 1], "blue": [3, 0, 1, 1]}
    assert {row["begins"] for row in found["stats"]} == {"2023-11-14T22:00:00.000Z"}
    assert {row["pool"] for row in found["stats"]} == {"gold"}


async def test_sites_are_a_group_of_events_and_of_tags(api: TestClient, history: MemoryHistory) -> None:
    history.found_counts = [HourCount(AT, "", "", "", "", "Delivery", 2, "google")]
    found = await stats(api, "by=site&from=2023-11-14T22:10:00Z&until=2023-11-14T23:10:00Z")
    assert [(row["site"], row["delivered"]) for row in found["stats"]] == [("google", 2)]
    history.sites_by_domain = {"a.test": "google", "b.test": "google"}
    for number, domain in enumerate(("a.test", "b.test", "c.test")):
        id_ = delivery_id(MessageId((AT + number).to_bytes(6, "big") + bytes(10)), 1)
        history.add(Event(EventType.BOUNCE, AT, id_, tags=("red",), domain=domain, seq=1, category="policy"))
    span = "&from=2023-11-14T22:00:00Z&until=2023-11-14T23:00:00Z"
    found = await stats(api, f"by=tag&by=site&by=category{span}")
    assert [(row["site"], row["category"], row["bounced"]) for row in found["stats"]] == [
        ("google", "policy", 2), ("", "policy", 1),
    ]  # fmt: skip
    assert [row["bounced"] for row in (await stats(api, f"by=tag{span}"))["stats"]] == [3]


async def test_by_tag_an_answer_that_does_not_count_all_says_from_when_on_it_does(
    api: TestClient, history: MemoryHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        id_ = delivery_id(MessageId((AT + number * HOUR // 2).to_bytes(6, "big") + bytes(10)), 1)
        history.add(Event(EventType.RECEPTION, AT + number * HOUR // 2, id_, tags=("red",), seq=1))
    history.most_rows = 2
    query = "by=tag&interval=1h&from=2023-11-14T22:00:00Z&until=2023-11-15T02:00:00Z"
    whole = await stats(api, query)
    assert ([row["accepted"] for row in whole["stats"]], "counted_from" in whole) == ([2, 2, 2], False)
    monkeypatch.setattr(module, "_MOST_COUNTED", 3)
    found = await stats(api, query)
    assert found["counted_from"] == "2023-11-15T00:00:00.000Z"
    assert [(row["begins"][11:13], row["accepted"]) for row in found["stats"]] == [("23", 2), ("00", 2)]


@pytest.mark.parametrize(
    ("query", "field"),
    [("interval=90m", "interval"), ("by=colour", "by"), ("from=%2B1h", "from"), ("interval=0h", "interval")],
)
async def test_a_bad_value_is_named(api: TestClient, query: str, field: str) -> None:
    async with api.get(f"/v1/stats?{query}") as answer:
        assert (answer.status, (await answer.json())["error"]["field"]) == (400, field)


@pytest.mark.parametrize("by", ["pool", "link", "tls"])
async def test_the_span_without_a_beginning_is_the_24_hours_before_its_end(api: TestClient, by: str) -> None:
    found = await stats(api, f"by={by}&until=2023-11-15T12:00:00Z")
    assert (found["from"], found["until"]) == ("2023-11-14T12:00:00.000Z", "2023-11-15T12:00:00.000Z")
