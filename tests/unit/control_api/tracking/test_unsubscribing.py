"""One-click unsubscribe: only a POST of RFC 8058 does it, once, for the address, tenant and topic of the mail."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import FormData
from aiohttp.test_utils import TestClient, TestServer

from control_api.tracking.app import Listener
from control_api.tracking.unsubscribing import Unsubscribing
from control_api.tracking.visits import Visits
from mta.model.engagement import TrackedMail
from mta.model.ids import DeliveryId
from mta.model.status import Reason
from mta.model.suppressions import SuppressionKey
from tests.support.engagement import Engagements
from tests.support.suppressions import MemorySuppressions
from tests.unit.control_api.tracking.test_listener import LINKS, path_of

MAIL = TrackedMail(
    DeliveryId(b"m" * 16 + b"\0\1"), 1_700_000_000, "Ann@example.net", "example.net", "acme", ("t",), "p", "<news>"
)
PATH = path_of(LINKS.unsubscribe(MAIL))
ONE_CLICK = {"List-Unsubscribe": "One-Click"}
ANN = SuppressionKey("ann@example.net", "acme", "<news>")


@pytest.fixture
def store() -> Engagements:
    return Engagements()


@pytest.fixture
def suppressions() -> MemorySuppressions:
    return MemorySuppressions()


@pytest.fixture
async def listener(store: Engagements, suppressions: MemorySuppressions) -> AsyncIterator[TestClient]:
    made = Listener(LINKS, Visits(store, "n1"), ("127.0.0.0/8",))
    app = made.app("", Unsubscribing(LINKS, store, suppressions, "n1", made.address))
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_get_shows_a_page_and_unsubscribes_nobody(
    listener: TestClient, store: Engagements, suppressions: MemorySuppressions
) -> None:
    answer = await listener.get(PATH)
    text = await answer.text()
    assert (answer.status, answer.content_type, answer.headers["Cache-Control"]) == (
        200, "text/html", "no-store, max-age=0",
    )  # fmt: skip
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "mail about &lt;news&gt; will be sent to Ann@example.net" in text
    assert '<form method="post"><input type="hidden" name="List-Unsubscribe" value="One-Click">' in text
    assert (store.events, suppressions.kept) == ([], {})


@pytest.mark.parametrize("form", ["urlencoded", "multipart"])
async def test_a_post_unsubscribes_once_without_cookies_and_without_a_redirect(
    listener: TestClient, store: Engagements, suppressions: MemorySuppressions, form: str
) -> None:
    headers = {"X-Forwarded-For": "192.0.2.7"}
    for _ in range(2):
        data = FormData(ONE_CLICK, default_to_multipart=form == "multipart")
        answer = await listener.post(PATH, data=data, headers=headers, allow_redirects=False)
        assert answer.status == 200
        assert "Set-Cookie" not in answer.headers
    assert {key: value.reason for key, value in suppressions.kept.items()} == {ANN: Reason.UNSUBSCRIBE}
    (event,) = store.events
    assert (event.type, event.id, event.recipient, event.topic, event.tenant, event.client, event.seq) == (
        "Unsubscribe", MAIL.id, "Ann@example.net", "<news>", "acme", "192.0.2.7", 0,
    )  # fmt: skip


@pytest.mark.parametrize("data", [None, {"List-Unsubscribe": "Two-Clicks"}, {"other": "One-Click"}])
async def test_another_post_is_refused(
    listener: TestClient, store: Engagements, suppressions: MemorySuppressions, data: dict[str, str] | None
) -> None:
    assert (await listener.post(PATH, data=data)).status == 400
    assert (store.events, suppressions.kept) == ([], {})


async def test_no_other_link_of_the_mail_unsubscribes_and_no_forged_one(
    listener: TestClient, suppressions: MemorySuppressions
) -> None:
    forged = PATH[:-2] + ("AA" if not PATH.endswith("AA") else "BB")
    for path in (f"/u/{LINKS.mail(MAIL)}", forged, "/u/x"):
        assert (await listener.post(path, data=ONE_CLICK)).status == 404
        assert (await listener.get(path)).status == 404
    assert suppressions.kept == {}


async def test_while_the_store_is_away_the_provider_is_told_to_come_again(
    listener: TestClient, store: Engagements, suppressions: MemorySuppressions
) -> None:
    store.away = True
    answer = await listener.post(PATH, data=ONE_CLICK)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "60")


async def test_where_settings_say_so_there_is_an_event_and_no_suppression(store: Engagements) -> None:
    made = Listener(LINKS, Visits(store, "n1"), ())
    app = made.app("", Unsubscribing(LINKS, store, None, "n1", made.address))
    async with TestClient(TestServer(app)) as client:
        assert (await client.post(PATH, data=ONE_CLICK)).status == 200
    assert [event.type for event in store.events] == ["Unsubscribe"]
