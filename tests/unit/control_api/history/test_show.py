"""A message is shown from the store while it knows it, else from history; its content, and sending it once more."""

from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from mta.history.absent import AbsentHistory
from mta.model.endings import Common, Final
from mta.model.errors import HistoryAway, HistoryError, HistoryOff
from mta.model.events import Event, EventType
from mta.model.ids import DeliveryId, MessageId, delivery_id, message_text
from mta.model.outcomes import Class
from mta.ports.messages import DeliveryStatus
from mta.ports.stored_mail import ContentGone, KeptMail, Resent, StillWaits
from tests.support.control_api import BEARER, Cluster, app_for
from tests.support.memory_history import MemoryHistory

AT = 1_700_000_000_000  # Unix ms
MESSAGE = MessageId(AT.to_bytes(6, "big") + bytes(10))
TEXT = message_text(MESSAGE)


def in_store(number: int, recipients: int = 1, seq: int = 2, state: Class = Class.DELIVERED) -> DeliveryStatus:
    common = Common("from@example.org", ("red",), "gold")
    final = Final(f"r{number}@example.com", AT, recipients, common=common, seq=seq)
    return DeliveryStatus(delivery_id(MESSAGE, number), state, None, final, common=common)


def in_history(history: MemoryHistory, number: int, seq: int = 2, kind: EventType = EventType.DELIVERY) -> DeliveryId:
    delivery = delivery_id(MESSAGE, number)
    history.add(Event(kind, AT, delivery, recipient=f"r{number}@example.com", tags=("red",), pool="gold", seq=seq))
    return delivery


async def shown(api: TestClient, id_: str = TEXT) -> Any:
    async with api.get(f"/v1/messages/{id_}") as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def test_what_the_store_knows_whole_asks_history_nothing(
    api: TestClient, cluster: Cluster, history: MemoryHistory
) -> None:
    cluster.messages[MESSAGE] = [in_store(1, 2), in_store(2, 2)]
    history.reach = lambda: pytest.fail("history was asked")
    found = await shown(api)
    assert [one["id"] for one in found["recipients"]] == [f"{TEXT}.1", f"{TEXT}.2"]


async def test_what_the_store_has_dropped_comes_from_history_each_once(
    api: TestClient, cluster: Cluster, history: MemoryHistory
) -> None:
    for number in (1, 2, 3):
        in_history(history, number)
    found = await shown(api)
    assert (found["id"], found["status"], len(found["recipients"])) == (TEXT, "DELIVERED", 3)
    assert found["accepted_at"] == "2023-11-14T22:13:20.000Z"
    cluster.messages[MESSAGE] = [in_store(2, 3, state=Class.BOUNCED)]
    found = await shown(api)
    assert [(one["id"][-1], one["status"]) for one in found["recipients"]] == [
        ("1", "DELIVERED"), ("2", "UNDELIVERABLE"), ("3", "DELIVERED"),
    ]  # fmt: skip


@pytest.mark.parametrize(("seq", "status"), [(1, "UNDELIVERABLE"), (2, "UNDELIVERABLE"), (3, "DELIVERED")])
async def test_of_two_records_the_one_that_has_seen_more_changes_counts(
    api: TestClient, cluster: Cluster, history: MemoryHistory, seq: int, status: str
) -> None:
    cluster.messages[MESSAGE] = [in_store(1, 2, seq=2, state=Class.BOUNCED)]
    in_history(history, 1, seq)
    (found,) = (await shown(api))["recipients"]
    assert found["status"] == status


async def test_a_delivery_is_shown_alone(api: TestClient, history: MemoryHistory) -> None:
    for number in (1, 12):
        in_history(history, number)
    found = await shown(api, f"{TEXT.lower()}.12")
    assert (found["id"], found["recipient"], found["delivered_at"]) == (
        f"{TEXT}.12", "r12@example.com", "2023-11-14T22:13:20.000Z",
    )  # fmt: skip
    for missing in (f"{TEXT}.2", "0" * 26):
        async with api.get(f"/v1/messages/{missing}") as answer:
            assert answer.status == 404
    for bad in (f"{TEXT}.0", f"{TEXT}.x", f"{TEXT}.", f"{TEXT}.70000"):
        async with api.get(f"/v1/messages/{bad}") as answer:
            assert (answer.status, (await answer.json())["error"]["field"]) == (400, "id")


@pytest.mark.parametrize(("trouble", "status"), [(HistoryOff(), 404), (HistoryAway("no answer"), 503)])
async def test_without_history_the_store_alone_answers(cluster: Cluster, trouble: HistoryError, status: int) -> None:
    async def why() -> HistoryError:
        return trouble

    cluster.history = AbsentHistory(why)
    async with TestClient(TestServer(app_for(cluster)), headers=BEARER) as api:
        async with api.get(f"/v1/messages/{TEXT}") as answer:
            assert answer.status == status
        cluster.messages[MESSAGE] = [in_store(1, 3)]
        assert len((await shown(api))["recipients"]) == 1


async def test_content_is_given_as_it_is_kept(api: TestClient, cluster: Cluster) -> None:
    cluster.mail[MESSAGE] = KeptMail("", b"Subject: x\r\n\r\n\xff\r\n")
    async with api.get(f"/v1/messages/{TEXT}.1/content") as answer:
        assert (answer.status, answer.content_type) == (200, "message/rfc822")
        assert await answer.read() == b"Subject: x\r\n\r\n\xff\r\n"
    cluster.mail[MESSAGE] = KeptMail("", None)
    async with api.get(f"/v1/messages/{TEXT}/content") as answer:
        assert answer.status == 404
        assert "not kept any more" in (await answer.json())["error"]["message"]


async def test_a_resend_names_the_new_message(api: TestClient, cluster: Cluster) -> None:
    new = MessageId((AT + 5).to_bytes(6, "big") + bytes(10))
    cluster.mail[MESSAGE] = KeptMail("", b"x")
    cluster.resends = {
        (MESSAGE, 0): Resent(new, ("a@x", "b@x")),
        (MESSAGE, 2): StillWaits("it waits"),
        (MESSAGE, 3): ContentGone("gone"),
    }
    async with api.post(f"/v1/messages/{TEXT}/resend") as answer:
        assert (answer.status, answer.headers["Location"]) == (202, f"/v1/messages/{message_text(new)}")
        body = await answer.json()
    assert [(one["id"], one["recipient"]) for one in body["recipients"]] == [
        (f"{body['id']}.1", "a@x"), (f"{body['id']}.2", "b@x"),
    ]  # fmt: skip
    for number, status in ((2, 409), (3, 409), (4, 404)):
        async with api.post(f"/v1/messages/{TEXT}.{number}/resend") as answer:
            assert answer.status == status
    async with api.post(f"/v1/messages/{TEXT}/resend", json={"to": "x"}) as answer:
        assert (answer.status, (await answer.json())["error"]["field"]) == (400, "to")
