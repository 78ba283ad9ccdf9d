"""The record of a message, the words for where its deliveries stand, and what a cancellation answers."""

from typing import Any

import msgspec
import pytest
from aiohttp.test_utils import TestClient

from control_api.description.document import document
from control_api.messages.record import message_record
from mta.model.endings import Common, Final
from mta.model.ids import DeliveryId, delivery_id, message_text, new_message_id
from mta.model.mail import Record
from mta.model.outcomes import Class, Forced, Reply, Stage
from mta.ports.messages import DeliveryStatus
from tests.support.control_api import AT, Cluster

MESSAGE = new_message_id(0, AT)
TEXT = message_text(MESSAGE)
AT_TEXT = "2023-11-14T22:13:20.000Z"
NOW = AT + 1000


def delivery(number: int = 1) -> DeliveryId:
    return delivery_id(MESSAGE, number)


def shown(*args: Any) -> Any:
    """The record as clients get it."""
    return msgspec.to_builtins(message_record(*args))


def live(
    state: Class = Class.QUEUED, number: int = 1, due_at: int = 0, asked_at: int = 0, **more: Any
) -> DeliveryStatus:
    record = Record("from@example.org", f"u{number}@example.com", ("red",), 10, AT + 5, AT + 99999, **more)
    return DeliveryStatus(delivery(number), state, record, None, due_at, asked_at, False)


def gone(
    state: Class, number: int = 1, uncertain: bool | None = None, ended_at: int = AT, **more: Any
) -> DeliveryStatus:
    final = Final(f"u{number}@example.com", ended_at, **more)
    return DeliveryStatus(delivery(number), state, None, final, uncertain=uncertain)


@pytest.mark.parametrize(
    ("standing", "status", "reason"),
    [
        (live(), "ENQUEUED", None),
        (live(due_at=NOW + 1), "ENQUEUED", None),  # its window closed before it was attempted
        (live(due_at=NOW + 1, scheduled_at=NOW + 1), "DELAYED", None),
        (live(due_at=NOW, scheduled_at=NOW), "DELAYED", None),
        (live(due_at=NOW + 1, scheduled_at=NOW, seq=2, attempts=1), "ENQUEUED", None),
        (live(due_at=NOW + 1, scheduled_at=NOW + 1, seq=3), "ENQUEUED", None),  # held, and released
        (live(Class.HELD), "HELD", None),
        (live(Class.PARKED), "HELD", "PARKED"),
        (gone(Class.DELIVERED), "DELIVERED", None),
        (gone(Class.DELIVERED, relayed=True), "SENT", None),
        (gone(Class.BOUNCED), "UNDELIVERABLE", "BOUNCED"),
        (gone(Class.BOUNCED, unroutable=True), "UNDELIVERABLE", "UNROUTABLE"),
        (gone(Class.EXPIRED), "UNDELIVERABLE", "EXPIRED"),
        (gone(Class.INTERCEPTED), "UNDELIVERABLE", "INTERCEPTED"),
        (gone(Class.CANCELED), "CANCELED", None),
        (DeliveryStatus(delivery(), Class.PARKED), "HELD", "PARKED"),
        (DeliveryStatus(delivery(), Class.EXPIRED), "UNDELIVERABLE", "EXPIRED"),
        (DeliveryStatus(delivery(), Class.DELIVERED), "DELIVERED", None),
    ],
)
def test_one_word_for_each_state(standing: DeliveryStatus, status: str, reason: str | None) -> None:
    record = shown(MESSAGE, [standing], NOW)
    assert (record["status"], record.get("reason")) == (status, reason)
    (recipient,) = record["recipients"]
    assert (recipient["id"], recipient["status"], recipient.get("reason")) == (f"{TEXT}.1", status, reason)


def test_the_record_of_what_waits_for_its_next_attempt() -> None:
    standing = live(due_at=AT, attempts=3, last=Reply(450, "4.2.1", "later"), tenant="acme")
    record = shown(MESSAGE, [standing], NOW)
    assert record == {
        "id": TEXT,
        "status": "ENQUEUED",
        "accepted_at": "2023-11-14T22:13:20.005Z",
        "tenant": "acme",
        "tags": ["red"],
        "sender": "from@example.org",
        "error": {"code": 450, "enhanced": "4.2.1", "text": "later"},
        "recipients": [
            {
                "id": f"{TEXT}.1",
                "message_id": TEXT,
                "recipient": "u1@example.com",
                "sender": "from@example.org",
                "status": "ENQUEUED",
                "error": {"code": 450, "enhanced": "4.2.1", "text": "later"},
                "tags": ["red"],
                "tenant": "acme",
                "attempts": 3,
                "next_attempt": AT_TEXT,
                "accepted_at": "2023-11-14T22:13:20.005Z",
                "uncertain": False,
                "seq": 1,
            }
        ],
    }


def test_the_record_of_what_has_ended_says_what_is_still_known() -> None:
    record = shown(MESSAGE, [gone(Class.BOUNCED, reply=Reply(550, "", "no such user"))], NOW)
    error = {"code": 550, "text": "no such user"}
    assert record == {
        "id": TEXT,
        "status": "UNDELIVERABLE",
        "accepted_at": AT_TEXT,
        "reason": "BOUNCED",
        "error": error,
        "recipients": [
            {
                "id": f"{TEXT}.1",
                "message_id": TEXT,
                "recipient": "u1@example.com",
                "status": "UNDELIVERABLE",
                "reason": "BOUNCED",
                "error": error,
                "ended_at": AT_TEXT,
            }
        ],
    }


def test_o13_the_record_of_what_has_ended_says_all_that_a_live_one_does() -> None:
    common = Common(
        "from@example.org", ("red",), "gold", "acme", "192.0.2.1", "mx.example.com",
        Forced("r1", 7, Stage.BEFORE_DOT), Reply(554, "5.7.1", "stopped"),
    )  # fmt: skip
    final = Final("u1@example.com", AT, attempts=2, common=common, properties={"job": "7"})
    standing = DeliveryStatus(delivery(), Class.INTERCEPTED, None, final, uncertain=True, common=common)
    (recipient,) = shown(MESSAGE, [standing], NOW)["recipients"]
    assert recipient == {
        "id": f"{TEXT}.1",
        "message_id": TEXT,
        "recipient": "u1@example.com",
        "sender": "from@example.org",
        "status": "UNDELIVERABLE",
        "reason": "INTERCEPTED",
        "error": {"code": 554, "enhanced": "5.7.1", "text": "stopped"},
        "fault": "ours",
        "forced": {"rule": "r1", "generation": 7, "stage": "before_dot"},
        "tags": ["red"],
        "tenant": "acme",
        "pool": "gold",
        "mta": "192.0.2.1",
        "mx": "mx.example.com",
        "attempts": 2,
        "accepted_at": AT_TEXT,
        "ended_at": AT_TEXT,
        "metadata": {"job": "7"},
        "uncertain": True,
    }


@pytest.mark.parametrize("odd", ["\x9b31m", "\u202e", "\u2028", "\x7f", "\r\n", "\udc80", "\u200b"])
def test_k11_untrusted_text_is_made_visible_and_bounded(odd: str) -> None:
    said = Reply(550, "5.1.1", odd + "x" * 9000)
    common = Common(f"a{odd}@example.org", (f"t{odd}",), "default", mx=f"mx{odd}.example.com")
    final = Final(f"u{odd}@example.com", AT, reply=said, common=common, properties={f"k{odd}": f"v{odd}"})
    ended = DeliveryStatus(delivery(), Class.BOUNCED, None, final, common=common)
    record = Record(
        f"a{odd}@example.org", f"u{odd}@example.com", (f"t{odd}",), 10, AT, AT + 9, last=said, properties={"k": odd}
    )
    for standing in (ended, DeliveryStatus(delivery(), Class.QUEUED, record, None, AT)):
        found = shown(MESSAGE, [standing], NOW)
        assert str(found).isprintable()
        assert odd not in str(found)
        assert len(found["recipients"][0]["error"]["text"]) == 1024


@pytest.mark.parametrize(
    ("standings", "status"),
    [
        ([live(), gone(Class.CANCELED, 2)], "ENQUEUED"),
        ([live(Class.HELD), gone(Class.CANCELED, 2)], "HELD"),
        ([live(due_at=NOW + 9, scheduled_at=NOW + 9), gone(Class.DELIVERED, 2)], "DELAYED"),
        ([live(), live(Class.HELD, 2)], "ENQUEUED"),
        ([gone(Class.DELIVERED), gone(Class.CANCELED, 2), gone(Class.BOUNCED, 3)], "CANCELED"),
        ([gone(Class.DELIVERED), gone(Class.BOUNCED, 2)], "UNDELIVERABLE"),
        ([gone(Class.DELIVERED), gone(Class.DELIVERED, 2, relayed=True)], "SENT"),
    ],
)
def test_the_headline_of_several(standings: list[DeliveryStatus], status: str) -> None:
    record = shown(MESSAGE, standings, NOW)
    assert record["status"] == status
    assert not {"error", "reason"} & record.keys()
    assert ("canceled_at" in record) == (status == "CANCELED")


async def test_a_message_is_shown(api: TestClient, cluster: Cluster) -> None:
    cluster.messages[MESSAGE] = [live()]
    answer = await api.get(f"/v1/messages/{TEXT.lower()}")
    assert answer.status == 200
    assert (await answer.json())["recipients"][0]["recipient"] == "u1@example.com"


@pytest.mark.parametrize("method", ["get", "post"])
async def test_a_message_must_be_named_rightly_and_known(api: TestClient, cluster: Cluster, method: str) -> None:
    tail = "/cancel" if method == "post" else ""
    ask = getattr(api, method)
    assert (await ask(f"/v1/messages/{TEXT}{tail}")).status == 404
    for bad in ("x", TEXT[:-1], TEXT + ".0", "U" * 26):
        answer = await ask(f"/v1/messages/{bad}{tail}")
        assert answer.status == 400
        assert (await answer.json())["error"]["field"] == "id"
    cluster.away = True
    assert (await ask(f"/v1/messages/{TEXT}{tail}")).status == 503


async def test_a_canceled_message_is_200_again_and_again(api: TestClient, cluster: Cluster) -> None:
    cluster.messages[MESSAGE] = [live()]
    cluster.after_cancel[MESSAGE] = [gone(Class.CANCELED, uncertain=False)]
    for _ in range(2):
        answer = await api.post(f"/v1/messages/{TEXT}/cancel")
        record = await answer.json()
        assert (answer.status, record["status"], record["canceled_at"]) == (200, "CANCELED", AT_TEXT)
    assert cluster.cancel_waits == [0.5, 0.5], "api.wait, where nothing is said"


async def test_what_was_sent_is_409_with_its_record_and_not_to_be_tried_again(
    api: TestClient, cluster: Cluster
) -> None:
    cluster.messages[MESSAGE] = [gone(Class.DELIVERED)]
    answer = await api.post(f"/v1/messages/{TEXT}/cancel")
    assert (answer.status, answer.headers["x-should-retry"]) == (409, "false")
    record = await answer.json()
    assert (record["id"], record["status"], "error" in record) == (TEXT, "DELIVERED", False)


@pytest.mark.parametrize("other", [Class.CANCELED, Class.DELIVERED])
async def test_what_a_worker_has_not_answered_is_202_with_the_time_it_is_safe(
    api: TestClient, cluster: Cluster, other: Class
) -> None:
    cluster.messages[MESSAGE] = [live(asked_at=AT), gone(other, 2)]
    answer = await api.post(f"/v1/messages/{TEXT}/cancel?wait=3s")
    record = await answer.json()
    assert (answer.status, record["status"], cluster.cancel_waits) == (202, "ENQUEUED", [3.0])
    assert record["effective_by"] == "2023-11-14T22:13:25.500Z"
    assert record["recipients"][0]["cancel_asked_at"] == AT_TEXT


async def test_several_recipients_are_200_if_one_was_canceled(api: TestClient, cluster: Cluster) -> None:
    cluster.messages[MESSAGE] = [gone(Class.DELIVERED), gone(Class.CANCELED, 2, ended_at=AT + 1)]
    answer = await api.post(f"/v1/messages/{TEXT}/cancel")
    record = await answer.json()
    assert (answer.status, record["status"], record["canceled_at"]) == (200, "CANCELED", "2023-11-14T22:13:20.001Z")
    assert [recipient["status"] for recipient in record["recipients"]] == ["DELIVERED", "CANCELED"]


async def test_a_cancellation_has_no_fields(api: TestClient, cluster: Cluster) -> None:
    cluster.messages[MESSAGE] = [gone(Class.CANCELED)]
    path = f"/v1/messages/{TEXT}/cancel"
    assert (await api.post(path, json={})).status == 200
    assert (await api.post(path, data=b"", headers={"Content-Type": "application/json"})).status == 200
    refused = await api.post(path, json={"reason": "x"})
    assert (refused.status, (await refused.json())["error"]["field"]) == (400, "reason")
    assert (await api.post(path + "?wait=601s")).status == 400
    assert (await api.post(path + "?until=quiet")).status == 400
    assert (await api.get(path)).status == 405


def test_every_field_of_a_record_is_described() -> None:
    schemas = document()["components"]["schemas"]
    described, of_one = (schemas[name]["properties"] for name in ("Message", "Recipient"))
    waiting = live(due_at=AT, asked_at=AT, attempts=3, last=Reply(450, "4.2.1", "later"), tenant="acme")
    ended = gone(Class.CANCELED, uncertain=True, reply=Reply(450, "4.2.1", "later"))
    for standings in ([waiting], [ended], [waiting, ended], [live(Class.PARKED)]):
        record = shown(MESSAGE, standings, NOW)
        assert record.keys() <= described.keys()
        for recipient in record["recipients"]:
            assert recipient.keys() <= of_one.keys()


async def test_an_id_whose_time_is_no_date_is_nobodys(api) -> None:
    for tail in ("", "/history", "/content"):
        assert (await api.get(f"/v1/messages/7zzzzzzzzzzzzzzzzzzzzzzzzz{tail}")).status in (404, 503), tail
