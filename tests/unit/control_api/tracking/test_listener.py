"""The listener for opens and clicks, over a store in memory."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient, TestServer

from control_api.tracking.app import PIXEL, Listener
from control_api.tracking.visits import Visits
from mta.content.tracking_links import TrackingLinks
from mta.model.engagement import TrackedMail
from mta.model.events import Event
from mta.model.ids import DeliveryId
from mta.ports.tracking import LinkCount
from tests.support.engagement import Engagements

LINKS = TrackingLinks(b"k" * 32, "https://click.example.com")
AGENT = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0"}
ADDRESS = "https://shop.example/a?b=c"


def mail(made_at: int = 1_700_000_000) -> str:
    facts = TrackedMail(DeliveryId(b"m" * 16 + b"\0\2"), made_at, "ann@example.net", "example.net", "acme", ("t",), "p")
    return LINKS.mail(facts)


@pytest.fixture
def store() -> Engagements:
    return Engagements()


@pytest.fixture
def visits(store: Engagements) -> Visits:
    return Visits(store, "n1")


@pytest.fixture
async def listener(visits: Visits) -> AsyncIterator[TestClient]:
    app = Listener(LINKS, visits, ("127.0.0.0/8", "::1/128")).app("")
    async with TestClient(TestServer(app), headers=AGENT) as client:
        yield client


async def written(visits: Visits, store: Engagements) -> list[Event]:
    """The events, once the visits have been told to stop."""
    stopped = asyncio.Event()
    stopped.set()
    await visits.write_until(stopped)
    return store.events


def clicks_of(store: Engagements) -> dict[LinkCount, int]:
    (clicks,) = store.clicks.values()
    return clicks


def path_of(link: str) -> str:
    return link.removeprefix("https://click.example.com")


async def test_an_open_is_an_event_of_its_delivery(listener: TestClient, visits: Visits, store: Engagements) -> None:
    answer = await listener.get(path_of(LINKS.pixel(mail())), headers={"X-Forwarded-For": "192.0.2.9"})
    assert (answer.status, answer.content_type, await answer.read()) == (200, "image/gif", PIXEL)
    assert "no-store" in answer.headers["Cache-Control"]
    (event,) = await written(visits, store)
    assert (event.type, event.id, event.recipient, event.domain) == (
        "Open",
        b"m" * 16 + b"\0\2",
        "ann@example.net",
        "example.net",
    )
    assert (event.tenant, event.tags, event.pool, event.node, event.client) == ("acme", ("t",), "p", "n1", "192.0.2.9")
    assert (event.reason, event.seq, event.properties) == ("", 0, {"agent": AGENT["User-Agent"]})


async def test_a_click_leads_on_and_is_counted_by_link(
    listener: TestClient, visits: Visits, store: Engagements
) -> None:
    for _ in range(2):
        answer = await listener.get(path_of(LINKS.click(mail(), ADDRESS)), allow_redirects=False)
        assert (answer.status, answer.headers["Location"]) == (302, ADDRESS)
        assert answer.headers["Referrer-Policy"] == "no-referrer"
    events = await written(visits, store)
    assert [event.properties and event.properties["link"] for event in events] == [ADDRESS, ADDRESS]
    assert clicks_of(store) == {LinkCount("acme", ADDRESS, False): 2}


async def test_nobody_is_led_to_an_address_that_no_node_wrote(listener: TestClient, visits: Visits) -> None:
    good = path_of(LINKS.click(mail(), ADDRESS))
    forged = path_of(TrackingLinks(b"x" * 32, "https://click.example.com").click(mail(), "https://evil.example/"))
    for path in (good[:-3], good + "AAA", forged, "/c/x/https:%2F%2Fevil.example", "/c/x/y?url=https://evil.example"):
        answer = await listener.get(path, allow_redirects=False)
        assert answer.status == 404, path
        assert "Location" not in answer.headers
    assert (await listener.get("/o/none.gif")).status == 200, "the picture is not broken"
    assert (await listener.post(good)).status == 405
    assert visits._waiting == []


@pytest.mark.parametrize(
    ("headers", "machine"),
    [
        ({}, ""),
        ({"User-Agent": "Mozilla/5.0"}, "apple_mpp"),
        ({"User-Agent": "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko (via ggpht.com GoogleImageProxy)"}, "program"),
        ({"User-Agent": ""}, "no_agent"),
        ({"User-Agent": "python-requests/2.32"}, "program"),
        ({"Sec-Purpose": "prefetch;prerender"}, "prefetch"),
    ],
)  # fmt: skip
async def test_visits_of_machines_are_flagged(
    listener: TestClient, visits: Visits, store: Engagements, headers: dict[str, str], machine: str
) -> None:
    await listener.get(path_of(LINKS.pixel(mail())), headers=headers)
    (event,) = await written(visits, store)
    assert event.reason == machine


async def test_a_visit_right_after_the_mail_was_made_is_no_readers(
    listener: TestClient, visits: Visits, store: Engagements
) -> None:
    await listener.get(path_of(LINKS.pixel(mail(2**40))))
    await listener.head(path_of(LINKS.pixel(mail())))
    assert [event.reason for event in await written(visits, store)] == ["too_soon", "head"]


async def test_a_link_that_is_reloaded_floods_no_log(listener: TestClient, visits: Visits) -> None:
    text = mail()
    for _ in range(30):
        await listener.get(path_of(LINKS.pixel(text)))
    assert len(visits._waiting) == 20
    await listener.get(path_of(LINKS.click(text, ADDRESS)), allow_redirects=False)
    assert len(visits._waiting) == 21


async def test_a_store_that_is_away_keeps_nobody_waiting(
    listener: TestClient, visits: Visits, store: Engagements, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control_api.tracking.visits._MOST_WAITING", 2)
    store.away = True
    for _ in range(3):
        answer = await listener.get(path_of(LINKS.click(mail(), ADDRESS)), allow_redirects=False)
        assert answer.status == 302
    assert (len(visits._waiting), visits.dropped) == (2, 1)
    assert await written(visits, store) == []
    assert visits.dropped == 1
    store.away = False
    assert len(await written(visits, store)) == 2
    assert (store.lost, visits.dropped) == (1, 0)
    assert (len(store.events), clicks_of(store)[LinkCount("acme", ADDRESS, False)]) == (2, 3)


async def test_an_address_is_believed_of_a_trusted_proxy_alone(visits: Visits, store: Engagements) -> None:
    for trusted, seen in ((("127.0.0.0/8", "10.0.0.0/8"), "192.0.2.9"), (("192.0.2.0/24",), "127.0.0.1")):
        app = Listener(LINKS, visits, trusted).app("")
        async with TestClient(TestServer(app), headers=AGENT) as client:
            hops = {"X-Forwarded-For": "6.6.6.6, 192.0.2.9, 10.1.1.1"}
            await client.get(path_of(LINKS.pixel(mail())), headers=hops)
        assert visits._waiting[-1].client == seen
