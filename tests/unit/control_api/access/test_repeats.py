"""Orders with an idempotency key over REST: carried out once, answered as the first time."""

import asyncio
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from control_api.http.keys import HEADER
from mta.content.kept_answer import KeptAnswer, seal, sealing_key, unseal
from mta.ports.idempotency import KeyRefusal, KeyTrouble
from tests.support.control_api import Cluster

REPLAYED = "Idempotent-Replay"
DRAFT = {"text": "{{ name }}"}


async def ask(api: TestClient, method: str, path: str, key: str, want: int, body: Any = None) -> tuple[Any, Any]:
    answer = await api.request(method, path, json=body, headers={HEADER: key})
    found = await answer.json()
    assert answer.status == want, found
    return found, answer.headers


async def test_a_repeat_gets_the_answer_of_the_first_and_has_no_effect(api: TestClient, cluster: Cluster) -> None:
    body = {"name": "mailer", "scopes": ["messages:send"]}
    first, headers = await ask(api, "POST", "/v1/tokens", "k1", 201, body)
    assert REPLAYED not in headers
    again, headers = await ask(api, "POST", "/v1/tokens", "k1", 201, body)
    assert (again, headers[REPLAYED]) == (first, "true")
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Request-Id"]
    assert len(cluster.deeds) == 1
    other, _ = await ask(api, "POST", "/v1/tokens", "k2", 201, body)
    assert other["id"] != first["id"]


async def test_what_is_kept_shows_no_secret(api: TestClient, cluster: Cluster) -> None:
    found, _ = await ask(api, "POST", "/v1/tokens", "k1", 201, {"name": "mailer", "scopes": ["messages:send"]})
    kept = b"".join(answer for _, _, answer in cluster.answers.kept.values())
    assert kept
    assert found["token"].encode() not in kept
    assert b"mailer" not in kept


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/v1/templates/order", {"text": "other"}),
        ("PUT", "/v1/templates/news", DRAFT),
        ("PUT", "/v1/templates/order?tenant=acme", DRAFT),
        ("DELETE", "/v1/templates/order", None),
        ("POST", "/v1/templates/order/publish", {}),
    ],
)
async def test_another_order_with_the_key_is_refused(api: TestClient, method: str, path: str, body: Any) -> None:
    await ask(api, "PUT", "/v1/templates/order", "k1", 201, DRAFT)
    refused, _ = await ask(api, method, path, "k1", 422, body)
    assert (refused["error"]["field"], refused["error"]["type"]) == (HEADER, "unprocessable")


async def test_a_method_that_a_path_does_not_have_is_no_order(api: TestClient) -> None:
    await ask(api, "PUT", "/v1/templates/order", "k1", 201, DRAFT)
    await ask(api, "PATCH", "/v1/templates/order", "k1", 405)
    await ask(api, "POST", "/v1/nothing", "k1", 404)


async def test_an_empty_condition_is_another_order_than_none(api: TestClient) -> None:
    await ask(api, "PUT", "/v1/templates/order", "k1", 201, DRAFT)
    again = await api.put("/v1/templates/order", json=DRAFT, headers={HEADER: "k1", "If-Match": ""})
    assert again.status == 422


@pytest.mark.parametrize("path", ["/v1/errors", "/v1/pauses"])
async def test_a_removal_finds_its_fields_in_the_body(api: TestClient, path: str, cluster: Cluster) -> None:
    order = {"tag": "spring"}
    await ask(api, "POST", path, "k1", 201, order | ({"code": 554} if path == "/v1/errors" else {}))
    await ask(api, "DELETE", path, "k2", 200, order)
    assert cluster.rules == {}


async def test_a_refusal_is_not_kept(api: TestClient, cluster: Cluster) -> None:
    await ask(api, "POST", "/v1/templates/order/publish", "k1", 404, {})
    assert not cluster.answers.kept
    await ask(api, "PUT", "/v1/templates/order", "k2", 201, DRAFT)
    _, headers = await ask(api, "POST", "/v1/templates/order/publish", "k1", 200, {})
    assert REPLAYED not in headers


async def test_while_an_order_is_under_way_a_repeat_is_refused(
    api: TestClient, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    put = cluster.templates.put

    async def slow(*args: Any, **more: Any) -> bool:
        begun.set()
        await go_on.wait()
        return await put(*args, **more)

    monkeypatch.setattr(cluster.templates, "put", slow)
    first = asyncio.create_task(ask(api, "PUT", "/v1/templates/order", "k1", 201, DRAFT))
    await begun.wait()
    refused, headers = await ask(api, "PUT", "/v1/templates/order", "k1", 409, DRAFT)
    assert (refused["error"]["field"], headers["Retry-After"]) == (HEADER, "1")
    go_on.set()
    made, _ = await first
    again, headers = await ask(api, "PUT", "/v1/templates/order", "k1", 201, DRAFT)
    assert (again, headers[REPLAYED]) == (made, "true")


async def test_a_claim_is_renewed_while_the_order_takes_long(
    api: TestClient, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control_api.access.repeats.RENEW", 0.001)
    renewed = asyncio.Event()
    claims: list[str] = []
    claim, put = cluster.answers.claim, cluster.templates.put

    async def noted(key: Any, owner: str) -> bytes | None:
        claims.append(owner)
        if len(claims) == 3:
            renewed.set()
        return await claim(key, owner)

    async def slow(*args: Any, **more: Any) -> bool:
        await renewed.wait()
        return await put(*args, **more)

    monkeypatch.setattr(cluster.answers, "claim", noted)
    monkeypatch.setattr(cluster.templates, "put", slow)
    await ask(api, "PUT", "/v1/templates/order", "k1", 201, DRAFT)
    assert len(set(claims)) == 1


async def test_without_room_for_keys_the_order_is_refused(
    api: TestClient, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(key: Any, owner: str) -> bytes | None:
        raise KeyRefusal(KeyTrouble.NO_ROOM)

    monkeypatch.setattr(cluster.answers, "claim", full)
    refused, headers = await ask(api, "PUT", "/v1/templates/order", "k1", 503, DRAFT)
    assert "messages.idempotency_memory" in refused["error"]["message"]
    assert headers["Retry-After"] == "1"
    await api.put("/v1/templates/order", json=DRAFT)


async def test_a_stream_of_rows_takes_no_key(api: TestClient) -> None:
    headers = {HEADER: "k1", "Content-Type": "application/x-ndjson"}
    answer = await api.post("/v1/suppressions/import", data=b'{"address":"a@example.net"}\n', headers=headers)
    assert answer.status == 400
    assert (await answer.json())["error"]["field"] == HEADER


async def test_a_body_that_is_too_large_is_refused_with_a_key_as_without(api: TestClient, cluster: Cluster) -> None:
    await ask(api, "PUT", "/v1/templates/order", "k1", 413, {"text": "x" * 1024 * 1024})
    assert not cluster.answers.kept


@pytest.mark.parametrize("key", ["", "x" * 256, "ä"])
async def test_a_bad_key_is_named(api: TestClient, key: str) -> None:
    refused, _ = await ask(api, "PUT", "/v1/templates/order", key, 400, DRAFT)
    assert refused["error"]["field"] == HEADER


def test_an_answer_opens_with_the_same_token_and_key_only() -> None:
    answer = KeptAnswer(201, (("Location", "/v1/x"),), b"{}" * 1000)
    sealed = seal(answer, sealing_key(b"secret", "k1"))
    assert unseal(sealed, sealing_key(b"secret", "k1")) == answer
    assert unseal(sealed, sealing_key(b"secret", "k2")) is None
    assert unseal(sealed, sealing_key(b"other", "k1")) is None
