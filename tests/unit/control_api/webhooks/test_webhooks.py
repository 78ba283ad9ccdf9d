"""Webhook endpoints over REST: made, shown, tested, rotated, replayed, enabled, removed; bad ones refused."""

from typing import Any

import msgspec
import pytest
from aiohttp.test_utils import TestClient

from control_api.http.times import now_ms
from mta.model.scopes import Scope
from mta.model.webhooks import EndpointFigures, Replay, WebhookEvent, When
from mta.ports.webhooks import PostAnswer
from tests.support.control_api import Cluster

URL = "https://hooks.example.com/floodgate"


async def make(api: TestClient, headers: dict[str, str] | None = None, **fields: Any) -> tuple[int, dict[str, Any]]:
    answer = await api.post("/v1/webhooks", json={"url": URL} | fields, headers=headers)
    return answer.status, await answer.json()


async def test_an_endpoint_is_made_shown_listed_and_removed(api: TestClient, cluster: Cluster) -> None:
    status, made = await make(api, when="every", tags=["red", "blue"], batch=100, description="crm")
    assert status == 201
    assert made["secret"].startswith("whsec_")
    assert (made["state"], made["events"], made["when"], made["batch"]) == (
        "waiting",
        ["message:updated"],
        "every",
        100,
    )
    assert (made["tags"], made["created_by"], made["replays"]) == (["blue", "red"], "admin", False)
    (kept,) = cluster.endpoints.known.values()
    assert (kept.url, kept.when, kept.events) == (URL, When.EVERY, (WebhookEvent.MESSAGE_UPDATED,))
    cluster.endpoints.told[kept.id] = EndpointFigures(told_at=now_ms(), node="n1", backlog=3, oldest=1_700_000_000_000)
    shown = await (await api.get(f"/v1/webhooks/{kept.id}")).json()
    assert (shown["state"], shown["node"], shown["backlog"]) == ("active", "n1", 3)
    assert shown["oldest"] == "2023-11-14T22:13:20.000Z"
    listed = await (await api.get("/v1/webhooks")).json()
    assert listed == {"webhooks": [shown], "cursor": None}
    assert "secret" not in shown
    assert (await api.delete(f"/v1/webhooks/{kept.id}")).status == 200
    assert (await api.delete(f"/v1/webhooks/{kept.id}")).status == 404
    assert [deed.action for _, deed in cluster.deeds] == ["webhook.create", "webhook.remove"]
    assert "whsec_" not in str(cluster.deeds)


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"url": None}, "url", "is required"),
        ({"url": "ftp://a.test/"}, "url", "is not a URL of HTTP"),
        ({"url": "https://"}, "url", "is not a URL of HTTP"),
        ({"url": "https://user:pw@a.test/"}, "url", "holds a user name"),
        ({"url": "https://a.test/#x"}, "url", "fragment"),
        ({"url": "https://a.test/ x"}, "url", "percent-encoded"),
        ({"url": "https://a.test:99999/"}, "url", "a host or a port that is none"),
        ({"url": "http://a.test/"}, "url", "webhooks.allow_networks is empty"),
        ({"url": "https://127.0.0.1/"}, "url", "no public address"),
        ({"url": "https://127.1:8443/"}, "url", "127.0.0.1"),
        ({"url": "https://[::1]/"}, "url", "no public address"),
        ({"url": "https://[::127.0.0.1]/"}, "url", "no public address"),
        ({"url": "https://169.254.169.254/latest"}, "url", "webhooks.allow_networks"),
        ({"url": "https://a.test/" + "x" * 2000}, "url", "is longer than 2000 characters"),
        ({"events": ["message:deleted"]}, "events", "there are message:updated, rule:effective"),
        ({"events": []}, "events", "is not a list of types of events"),
        ({"when": "never"}, "when", "is none of final, every"),
        ({"batch": 0}, "batch", "from 1 to 1000"),
        ({"batch": True}, "batch", "from 1 to 1000"),
        ({"batch": 1001}, "batch", "from 1 to 1000"),
        ({"colour": "red"}, "colour", "is not a field of a webhook"),
    ],
)
async def test_a_bad_endpoint_is_refused_with_the_field_and_the_reason(
    api: TestClient, cluster: Cluster, fields: dict[str, Any], field: str, words: str
) -> None:
    status, answer = await make(api, **fields)
    assert (status, answer["error"]["field"]) == (400, field), answer
    assert words in answer["error"]["message"]
    assert not cluster.endpoints.known


async def test_a_tenant_has_endpoints_of_its_own(api: TestClient, cluster: Cluster) -> None:
    acme = cluster.give_token(Scope.WEBHOOKS_READ, Scope.WEBHOOKS_WRITE, tenant="acme")
    rival = cluster.give_token(Scope.WEBHOOKS_READ, Scope.WEBHOOKS_WRITE, tenant="rival")
    status, made = await make(api, acme)
    assert (status, made["tenant"]) == (201, "acme")
    await make(api, tenant="acme")
    assert cluster.endpoints.bound == {made["id"]}, "the share of a tenant bounds its own tokens alone"
    path = f"/v1/webhooks/{made['id']}"
    assert (await api.get(path, headers=rival)).status == 404
    for action in ("test", "rotate", "enable"):
        assert (await api.post(f"{path}/{action}", headers=rival)).status == 404
    assert (await (await api.get("/v1/webhooks", headers=rival)).json())["webhooks"] == []
    assert (await api.get(path, headers=acme)).status == 200
    status, answer = await make(api, rival, tenant="acme")
    assert (status, answer["error"]["field"]) == (403, "tenant")


async def test_a_test_says_how_the_request_ended(api: TestClient, cluster: Cluster) -> None:
    _, made = await make(api)
    answer = await api.post(f"/v1/webhooks/{made['id']}/test")
    assert await answer.json() == {"delivered": True, "status": 200}
    cluster.posts.answer = lambda url: PostAnswer(0, "no answer within 15 s")
    answer = await api.post(f"/v1/webhooks/{made['id']}/test")
    assert await answer.json() == {"delivered": False, "reason": "no answer within 15 s"}
    (url, body, headers), _ = cluster.posts.sent
    assert url == URL
    assert msgspec.json.decode(body)["type"] == "webhook:test"
    assert headers["webhook-id"].startswith("test_")


async def test_a_new_secret_leaves_the_old_one_in_force_for_a_day(api: TestClient, cluster: Cluster) -> None:
    _, made = await make(api)
    rotated = await (await api.post(f"/v1/webhooks/{made['id']}/rotate")).json()
    assert rotated["secret"] != made["secret"]
    (kept,) = cluster.endpoints.known.values()
    assert kept.old_secret
    assert kept.old_until > now_ms() + 23 * 3_600_000
    await api.post(f"/v1/webhooks/{made['id']}/test")
    assert len(cluster.posts.sent[0][2]["webhook-signature"].split()) == 2


async def test_states_and_their_reasons(api: TestClient, cluster: Cluster) -> None:
    _, made = await make(api)
    path = f"/v1/webhooks/{made['id']}"

    async def state(**figures: Any) -> tuple[str, str]:
        told = {"told_at": now_ms(), **figures}
        cluster.endpoints.told[made["id"]] = EndpointFigures(**told)
        shown = await (await api.get(path)).json()
        return shown["state"], shown.get("reason", "")

    assert await state() == ("active", "")
    assert await state(failing=True, last_failure_text="HTTP 500") == ("failing", "HTTP 500")
    assert await state(waiting="history is off") == ("waiting", "history is off")
    assert await state(told_at=1) == ("waiting", "no process serves it")
    (kept,) = cluster.endpoints.known.values()
    cluster.endpoints.known[kept.id] = msgspec.structs.replace(kept, disabled_at=5, disabled_reason="410 Gone")
    assert await state() == ("disabled", "410 Gone")
    enabled = await (await api.post(path + "/enable")).json()
    assert enabled["state"] == "active"
    assert "disabled_at" not in enabled


async def test_a_replay_is_of_the_past_and_there_is_one_at_a_time(api: TestClient, cluster: Cluster) -> None:
    _, made = await make(api)
    path = f"/v1/webhooks/{made['id']}/replay"
    for body, field in (
        ({}, "from"),
        ({"from": "yesterday"}, "from"),
        ({"from": "2990-01-31T12:00:00Z"}, "from"),
        ({"from": "2026-01-31T12:00:00Z", "until": "2026-01-30T12:00:00Z"}, "from"),
    ):
        answer = await api.post(path, json=body)
        assert (answer.status, (await answer.json())["error"]["field"]) == (400, field)
    order = {"from": "2020-01-31T12:00:00Z", "until": "2020-01-31T13:00:00Z"}
    answer = await api.post(path, json=order)
    assert (answer.status, (await answer.json())["replays"]) == (202, True)
    (kept,) = cluster.endpoints.known.values()
    assert kept.replay == Replay(1, 1_580_472_000_000, 1_580_475_600_000)
    assert (await api.post(path, json=order)).status == 409
    cluster.endpoints.told[kept.id] = EndpointFigures(told_at=now_ms(), replayed=1, replay=1)
    assert (await api.post(path, json=order)).status == 409
    cluster.endpoints.told[kept.id] = EndpointFigures(told_at=now_ms(), replayed=1)
    assert (await api.post(path, json=order)).status == 202
    assert cluster.endpoints.known[kept.id].replay == Replay(2, 1_580_472_000_000, 1_580_475_600_000)


async def test_a_store_that_is_away_is_said(api: TestClient, cluster: Cluster) -> None:
    cluster.away = True
    assert (await make(api))[0] == 503
