"""Lists, streams and histories over a history in memory."""

import csv
import io
import json
from typing import Any

import pytest
from aiohttp import ClientPayloadError
from aiohttp.test_utils import TestClient, TestServer

from mta.history.absent import AbsentHistory
from mta.model.errors import HistoryAway, HistoryElsewhere, HistoryOff
from mta.model.events import Event, EventType
from mta.model.ids import MessageId, delivery_id, delivery_text, message_text
from mta.model.status import Status
from mta.ports.history import RowFilter
from tests.support.control_api import BEARER, Cluster, app_for
from tests.support.memory_history import MemoryHistory

AT = 1_700_000_000_000  # Unix ms


def message_id(number: int) -> MessageId:
    return MessageId((AT + number).to_bytes(6, "big") + number.to_bytes(10, "big"))


def put(history: MemoryHistory, number: int, kind: EventType = EventType.DELIVERY, **more: Any) -> str:
    """The id of the delivery."""
    delivery = delivery_id(message_id(number), 1)
    fields = {"tags": ("red",), "recipient": f"r{number}@example.com", "sender": "from@example.org", "seq": 2} | more
    history.add(Event(kind, AT + number, delivery, "n1", **fields))
    return delivery_text(delivery)


async def body_of(api: TestClient, path: str) -> Any:
    async with api.get(path) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def text_of(api: TestClient, path: str, media: str) -> str:
    async with api.get(path) as answer:
        assert (answer.status, answer.content_type) == (200, media)
        return await answer.text()


async def test_a_page_is_followed_by_its_cursor_to_the_end(api: TestClient, history: MemoryHistory) -> None:
    ids = [put(history, number) for number in range(5)]
    found, cursor = [], ""
    while True:
        page = await body_of(api, "/v1/messages?tag=red&limit=2" + (f"&cursor={cursor}" if cursor else ""))
        assert page["as_of"] == "2023-11-14T22:15:00.000Z"
        found += [record["id"] for record in page["messages"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert found == ids[::-1]
    assert (await body_of(api, "/v1/messages?tag=blue"))["messages"] == []


async def test_every_filter_reaches_the_database(api: TestClient, history: MemoryHistory) -> None:
    asked = (
        "tag=red&status=SENT&status=HELD&recipient=A@b.c&sender=x@y&domain=B.c&pool=gold&tenant=acme&rule=ab"
        "&category=quota&from=2023-11-14T22:13:20Z&until=2023-11-14T22:13:21Z&limit=7"
    )
    await body_of(api, f"/v1/messages?{asked}")
    wanted = RowFilter(
        tag="red", statuses=frozenset({Status.SENT, Status.HELD}), recipient="A@b.c", sender="x@y", domain="b.c",
        pool="gold", tenant="acme", rule="ab", category="quota", accepted_from=AT, accepted_until=AT + 1000,
    )  # fmt: skip
    assert history.asked == [(wanted, 7, "")]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=1001", "limit"), ("limit=0", "limit"), ("from=yesterday", "from"), ("until=%2B10m", "until"),
        ("status=GONE", "status"), ("rule=X", "rule"), ("cursor=%20", "cursor"), ("format=xml", "format"),
        ("colour=red", "colour"),
        ("recipient=a%0Ab", "recipient"),
    ],
)  # fmt: skip
async def test_a_bad_value_is_named(api: TestClient, history: MemoryHistory, query: str, field: str) -> None:
    async with api.get(f"/v1/messages?{query}") as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]["field"] == field


async def test_a_stream_has_all_rows_once_in_each_form(api: TestClient, history: MemoryHistory) -> None:
    ids = [put(history, number) for number in range(1203)][::-1]
    history.most_rows = 500
    lines = await text_of(api, "/v1/tags/red/deliveries?format=ndjson", "application/x-ndjson")
    assert [json.loads(line)["id"] for line in lines.splitlines()] == ids
    rows = await text_of(api, "/v1/tags/red/deliveries?format=csv", "text/csv")
    assert [row["id"] for row in csv.DictReader(io.StringIO(rows, newline=""))] == ids
    assert [record["id"] for record in await body_of(api, "/v1/tags/red/deliveries")] == ids
    assert await body_of(api, "/v1/tags/blue/deliveries") == []
    assert (await text_of(api, "/v1/messages?format=pmta", "text/csv")).count("\r\nd,") == 1203
    some = await text_of(api, "/v1/messages?format=ndjson&limit=700&cursor=2", "application/x-ndjson")
    assert [json.loads(line)["id"] for line in some.splitlines()] == ids[2:702]


async def test_a_class_is_that_of_the_statement(api: TestClient, history: MemoryHistory) -> None:
    kinds = {
        "delivered": EventType.DELIVERY, "bounced": EventType.BOUNCE, "expired": EventType.EXPIRATION,
        "intercepted": EventType.INTERCEPTED, "canceled": EventType.CANCELLATION, "held": EventType.HOLD,
        "queued": EventType.TRANSIENT_FAILURE,
    }  # fmt: skip
    ids = {name: put(history, at, kind, uncertain=name == "expired") for at, (name, kind) in enumerate(kinds.items())}
    for name, expected in ids.items():
        found = await body_of(api, f"/v1/tags/red/deliveries?class={name}")
        assert [record["id"] for record in found] == [expected], name
    (uncertain,) = await body_of(api, "/v1/tags/red/deliveries?class=uncertain")
    assert uncertain["id"] == ids["expired"]
    async with api.get("/v1/tags/red/deliveries?class=before") as answer:
        assert answer.status == 400


async def test_a_stream_whose_database_goes_away_is_cut_off_and_not_taken_for_the_whole(
    api: TestClient, history: MemoryHistory
) -> None:
    for number in range(20):
        put(history, number)
    history.most_rows = 5

    def reach() -> None:
        if len(history.asked) == 3:
            raise HistoryAway("no answer")

    history.reach = reach
    async with api.get("/v1/tags/red/deliveries?format=ndjson") as answer:
        assert answer.status == 200
        with pytest.raises(ClientPayloadError):
            await answer.read()


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        (HistoryOff(), "history_off"), (HistoryElsewhere("n7"), "history_elsewhere"),
        (HistoryAway("no answer"), "history_away"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/tags/red/deliveries", f"/v1/messages/{'0' * 26}/history"])
async def test_where_there_is_no_history_the_answer_says_why(
    cluster: Cluster, trouble: Any, kind: str, path: str
) -> None:
    async def why() -> Any:
        return trouble

    cluster.history = AbsentHistory(why)
    async with TestClient(TestServer(app_for(cluster)), headers=BEARER) as client, client.get(path) as answer:
        error = (await answer.json())["error"]
    assert (answer.status, error["type"]) == (503, kind)
    if kind == "history_elsewhere":
        assert "n7" in error["message"]


async def test_a_history_has_every_event_and_the_session_of_the_last_failure(
    api: TestClient, history: MemoryHistory
) -> None:
    message = message_id(1)
    for number in (1, 2):
        delivery = delivery_id(message, number)
        for seq, (kind, said) in enumerate(
            [
                (EventType.RECEPTION, ()),
                (EventType.TRANSIENT_FAILURE, ("S: 451 first",)),
                (EventType.TRANSIENT_FAILURE, ("C: DATA", "S: 451 sec\u2028ond")),
                (EventType.DELIVERY, ()),
            ],
            1,
        ):
            history.add(Event(kind, AT + seq, delivery, "n1", recipient=f"{number}@x", dialogue=said, seq=seq))
    text = message_text(message)
    found = await body_of(api, f"/v1/messages/{text}/history")
    assert (found["id"], found["as_of"]) == (text, "2023-11-14T22:15:00.000Z")
    assert [event["type"] for event in found["events"]][:2] == ["Reception", "TransientFailure"]
    assert len(found["events"]) == 8
    assert [event["dialogue"] for event in found["events"] if "dialogue" in event] == [
        ["C: DATA", "S: 451 sec\\u2028ond"]
    ] * 2
    one = await body_of(api, f"/v1/messages/{text}.2/history")
    assert (one["id"], {event["id"] for event in one["events"]}) == (f"{text}.2", {f"{text}.2"})
    async with api.get(f"/v1/messages/{text}.3/history") as answer:
        assert answer.status == 404


async def test_a_list_by_site_has_the_mail_of_its_domains(api: TestClient, history: MemoryHistory) -> None:
    history.sites_by_domain = {"a.test": "google"}
    there = put(history, 1, domain="a.test")
    put(history, 2, domain="b.test")
    found = await body_of(api, "/v1/messages?site=google")
    assert [record["id"] for record in found["messages"]] == [there]
    assert there in await text_of(api, "/v1/messages?site=google&format=csv", "text/csv")
    assert (await body_of(api, "/v1/messages?site=other"))["messages"] == []
