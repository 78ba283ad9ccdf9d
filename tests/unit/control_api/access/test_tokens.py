"""Tokens, the gates that every request passes, and the shape of every refusal (S: A3, A5, A7, A8, A16)."""

import gzip
import hashlib
import hmac
import logging

import pytest
from aiohttp.test_utils import TestClient, make_mocked_request

from control_api.access.rates import Rates, Use
from control_api.access.tokens import FAILURES_PER_MINUTE, MAX_CLIENTS, Access
from control_api.http.problems import Problem
from mta.model.actor import Actor
from mta.model.audit import Deed
from mta.model.errors import StoreAway
from mta.model.scopes import Scope
from tests.support.control_api import BEARER, TOKEN, Audit, Cluster, Tokens

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "Bearer wrong")],
        [("Authorization", "Bearer ")],
        [("Authorization", f"Basic {TOKEN}")],
        [("Authorization", TOKEN)],
        [("Authorization", f"Bearer {TOKEN}"), ("Authorization", f"Bearer {TOKEN}")],
        [("Authorization", f"Bearer {'x' * 5000}")],
        [("Authorization", f"Bearer {TOKEN}\u00e9")],
    ],
)
async def test_a3_all_causes_of_401_look_the_same(stranger: TestClient, headers: list[tuple[str, str]]) -> None:
    answer = await stranger.get("/v1/workers", headers=headers)
    body = await answer.json()
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="floodgate"'
    del body["error"]["request_id"]
    assert body == {
        "error": {
            "type": "unauthorized",
            "message": "give a valid token: Authorization: Bearer <token>",
            "field": None,
        }
    }


async def test_a3_a_token_in_the_query_is_no_token(stranger: TestClient) -> None:
    assert (await stranger.get("/v1/workers", params={"token": TOKEN})).status == 401


@pytest.mark.parametrize("path", ["/v1/errors", "/nowhere", "/docs"])
async def test_every_path_but_health_needs_a_token(stranger: TestClient, path: str) -> None:
    assert (await stranger.get(path)).status == 401


async def test_health_is_open(stranger: TestClient) -> None:
    assert (await stranger.get("/healthz")).status == 200
    assert (await stranger.get("/readyz")).status == 200
    assert (await stranger.get("/openapi.json")).status == 200


async def test_a6_failures_are_throttled_and_a_valid_token_still_passes(stranger: TestClient) -> None:
    statuses = [(await stranger.get("/v1/workers")).status for _ in range(FAILURES_PER_MINUTE)]
    throttled = await stranger.get("/v1/workers")
    assert statuses == [401] * FAILURES_PER_MINUTE
    assert throttled.status == 429
    assert 1 <= int(throttled.headers["Retry-After"]) <= 60
    assert (await stranger.get("/v1/workers", headers=BEARER)).status == 200


@pytest.mark.parametrize("wrong", ["id", "secret", "form", "length"])
async def test_a2_a_wrong_token_is_compared_as_often_as_the_right_one(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, sizes = Cluster(), list[tuple[int, int]]()
    right = cluster.give_token(Scope.ADMIN)["Authorization"]
    known, secret = right.removeprefix("Bearer ").split(".")
    given = {
        "id": f"fg_{'0' * 12}.{secret}",
        "secret": f"{known}.{'A' * len(secret)}",
        "form": "x" * len(right),
        "length": f"{known}.{secret[:-1]}",
    }[wrong]
    compare = hmac.compare_digest

    def counted(one: bytes, other: bytes) -> bool:
        sizes.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr("control_api.access.tokens.hmac.compare_digest", counted)
    access = Access(Tokens(cluster), 100.0, lambda: 0.0)
    await access.check(make_mocked_request("GET", "/", headers={"Authorization": right}))
    of_the_right_one, sizes = sizes, []
    with pytest.raises(Problem) as refused:
        await access.check(make_mocked_request("GET", "/", headers={"Authorization": f"Bearer {given}"}))
    assert refused.value.status == 401
    assert set(sizes) == {(32, 32)}, "digests, whatever the length of the secret is"
    assert len(sizes) == 2 * len(of_the_right_one), "once in the known tokens, once in the newest"


async def test_a6_the_throttle_forgets_after_a_minute_and_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    access = Access(Tokens(Cluster()), 100.0, lambda: now)
    request = make_mocked_request("GET", "/")
    for _ in range(FAILURES_PER_MINUTE):
        with pytest.raises(Problem) as refused:
            await access.check(request)
        assert refused.value.status == 401
    now = 60.0
    with pytest.raises(Problem) as refused:
        await access.check(request)
    assert refused.value.status == 401
    for number in range(MAX_CLIENTS + 50):
        access._refusal(f"198.51.100.{number}")
    assert len(access._failures) == MAX_CLIENTS


async def test_a3_a_revoked_token_ends_within_a_second() -> None:
    now = 0.0
    cluster = Cluster()
    access = Access(Tokens(cluster), 100.0, lambda: now)
    request = make_mocked_request("GET", "/", headers=cluster.give_token(Scope.ADMIN))
    await access.check(request)
    await access.check(request)
    now = 0.29
    await access.check(request)
    assert cluster.token_reads == 0, "it is kept for a while"
    await Tokens(cluster).remove(next(iter(cluster.tokens)))
    now = 0.31
    with pytest.raises(Problem) as refused:
        await access.check(request)
    assert refused.value.status == 401


async def test_a3_a_new_token_opens_at_once(cluster: Cluster, stranger: TestClient) -> None:
    assert (await stranger.get("/v1/workers", headers=BEARER)).status == 200
    given = cluster.give_token(Scope.ADMIN)
    assert (await stranger.get("/v1/workers", headers=given)).status == 200


async def test_a3_an_expired_token_is_refused_as_any_other(cluster: Cluster, stranger: TestClient) -> None:
    given = cluster.give_token(Scope.ADMIN, expires_at=1)
    assert (await stranger.get("/v1/workers", headers=given)).status == 401


async def test_a1_only_the_hash_of_the_whole_text_opens(cluster: Cluster, stranger: TestClient) -> None:
    text = cluster.give_token(Scope.ADMIN)["Authorization"].removeprefix("Bearer ")
    (stored,) = cluster.tokens.values()
    assert stored.digest == hashlib.sha256(text.encode()).digest()
    assert text.partition(".")[2] not in repr(stored)
    other = f"fg_{stored.token.id}.{'A' * 43}"
    for wrong in (other, text + "A", stored.digest.hex(), f"fg_{stored.token.id}."):
        answer = await stranger.get("/v1/workers", headers={"Authorization": f"Bearer {wrong}"})
        assert answer.status == 401, wrong


async def test_a4_a_scope_opens_its_operations_only(cluster: Cluster, stranger: TestClient) -> None:
    given = cluster.give_token(Scope.QUEUES_READ)
    assert (await stranger.get("/v1/queues", headers=given)).status == 200
    refused = await stranger.get("/v1/workers", headers=given)
    assert refused.status == 403
    assert (await refused.json())["error"]["message"] == "the token lacks the scope admin"
    assert (await stranger.get("/nowhere", headers=given)).status == 404
    assert (await stranger.put("/v1/queues", headers=given)).status == 405


async def test_a6_reads_beyond_the_rate_are_429_and_leave_the_budget_of_orders(cluster: Cluster) -> None:
    now = 0.0
    access = Access(Tokens(cluster), 5.0, lambda: now)
    given = cluster.give_token(Scope.ADMIN)
    read, order = (make_mocked_request(method, "/", headers=given) for method in ("GET", "DELETE"))
    for _ in range(5):
        await access.check(read)
    with pytest.raises(Problem) as refused:
        await access.check(read)
    assert refused.value.status == 429
    assert refused.value.headers == {"Retry-After": "1"}
    for _ in range(5):
        await access.check(order)
    now = 0.2
    await access.check(read)
    with pytest.raises(Problem):
        await access.check(read)
    admin = make_mocked_request("GET", "/", headers=BEARER)
    for _ in range(50):
        await access.check(admin)


async def test_a12_an_order_that_is_denied_is_in_the_audit(cluster: Cluster, stranger: TestClient) -> None:
    given = cluster.give_token(Scope.ERRORS_READ, tenant="acme")
    assert (await stranger.get("/v1/workers", headers=given)).status == 403
    assert cluster.deeds == [], "a read is no order"
    assert (await stranger.delete("/v1/errors/abc", headers=given)).status == 403
    ((actor, deed),) = cluster.deeds
    assert (actor.name, deed.action, deed.of, deed.tenant, deed.result) == (
        "crm", "order.denied", "DELETE /v1/errors/abc", "acme", "denied",
    )  # fmt: skip
    assert deed.reason == "the token lacks the scope errors:write"


async def test_a12_an_order_that_cannot_be_noted_is_not_carried_out(
    api: TestClient, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(audit: Audit, actor: Actor, deed: Deed) -> None:
        raise StoreAway("it is away")

    monkeypatch.setattr(Audit, "note", away)
    answer = await api.post("/v1/tokens", json={"name": "crm", "scopes": ["errors:read"]})
    assert answer.status == 503
    assert cluster.tokens == {}


def test_a6_budgets_that_are_full_again_are_dropped() -> None:
    now = 0.0
    rates = Rates(10.0, 10.0, lambda: now)
    for number in range(5000):
        now += 0.001
        rates.take(f"t{number}", Use.READ)
    assert len(rates._budgets) <= 1024 + 100


async def test_a1_a_token_is_shown_once_listed_and_revoked(api: TestClient, cluster: Cluster) -> None:
    body = {"name": "crm", "scopes": ["messages:read", "errors:write"], "tenant": "acme", "expires_at": "+30d"}
    answer = await api.post("/v1/tokens", json=body)
    made = await answer.json()
    assert answer.status == 201, made
    text = made.pop("token")
    assert made["scopes"] == ["errors:write", "messages:read"]
    assert (made["tenant"], made["created_by"], made["expired"]) == ("acme", "admin", False)
    listed = await (await api.get("/v1/tokens")).json()
    assert listed == {"tokens": [made], "cursor": None}
    gone = await api.delete(f"/v1/tokens/{made['id']}")
    assert (gone.status, await gone.json()) == (200, made)
    assert (await api.delete(f"/v1/tokens/{made['id']}")).status == 404
    noted = [(actor.name, deed.action, deed.of, deed.tenant) for actor, deed in cluster.deeds]
    assert noted == [("admin", "token.create", made["id"], "acme"), ("admin", "token.revoke", made["id"], "acme")]
    assert text not in repr(cluster.deeds)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"scopes": ["admin"]}, "name"),
        ({"name": " ", "scopes": ["admin"]}, "name"),
        ({"name": "x" * 65, "scopes": ["admin"]}, "name"),
        ({"name": "a"}, "scopes"),
        ({"name": "a", "scopes": []}, "scopes"),
        ({"name": "a", "scopes": ["errors"]}, "scopes"),
        ({"name": "a", "scopes": ["admin"], "tenant": "a b"}, "tenant"),
        ({"name": "a", "scopes": ["admin"], "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "a", "scopes": ["admin"], "token": "x"}, "token"),
    ],
)
async def test_a8_a_bad_token_is_refused_by_its_field(api: TestClient, body: dict[str, object], field: str) -> None:
    answer = await api.post("/v1/tokens", json=body)
    assert answer.status == 400
    assert (await answer.json())["error"]["field"] == field


async def test_tokens_that_cannot_be_read_let_nobody_in(api: TestClient, cluster: Cluster) -> None:
    cluster.away = True
    answer = await api.get("/v1/workers")
    assert answer.status == 503
    assert answer.headers["Retry-After"] == "1"


@pytest.mark.parametrize("path", ["/v1/workers", "/nowhere", "/healthz", "/v1/queues?x=1"])
async def test_every_answer_has_its_headers(api: TestClient, path: str) -> None:
    answer = await api.get(path)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert len(answer.headers["X-Request-Id"]) == 16
    body = await answer.json()
    if answer.status >= 400:
        assert body["error"]["request_id"] == answer.headers["X-Request-Id"]


@pytest.mark.parametrize("path", ["/v1", "/v1/errors/explain/x", "/v1/newsletters", "/docs", "/v1/metrics", "/"])
async def test_what_does_not_exist_is_404(api: TestClient, path: str) -> None:
    answer = await api.get(path)
    assert answer.status == 404
    assert (await answer.json())["error"]["type"] == "not_found"


async def test_a_wrong_method_is_405_with_allow(api: TestClient) -> None:
    answer = await api.put("/v1/errors")
    assert answer.status == 405
    assert {"GET", "POST", "DELETE"} <= set(answer.headers["Allow"].split(","))
    assert (await answer.json())["error"]["type"] == "method_not_allowed"


async def test_an_unknown_parameter_is_named(api: TestClient) -> None:
    answer = await api.get("/v1/workers", params={"nodes": "x"})
    assert answer.status == 400
    assert (await answer.json())["error"]["field"] == "nodes"


async def test_a_parameter_given_twice_is_refused(api: TestClient) -> None:
    assert (await api.get("/v1/queues?pool=a&pool=b")).status == 400


async def test_a7_a_large_body_is_413(api: TestClient) -> None:
    answer = await api.post("/v1/errors", data=b" " * (1024 * 1024 + 1), headers=JSON)
    assert answer.status == 413
    assert (await answer.json())["error"]["type"] == "too_large"


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "application/json; charset=latin-1"])
async def test_a8_other_content_types_are_415(api: TestClient, kind: str) -> None:
    answer = await api.post("/v1/errors", data=b"{}", headers={"Content-Type": kind})
    assert answer.status == 415
    assert (await answer.json())["error"]["field"] == "Content-Type"


async def test_a7_a_compressed_body_is_415(api: TestClient) -> None:
    bomb = gzip.compress(b" " * 10_000_000)
    answer = await api.post("/v1/errors", data=bomb, headers=JSON | {"Content-Encoding": "gzip"})
    assert answer.status == 415
    assert (await answer.json())["error"]["field"] == "Content-Encoding"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[]", "body"),
        (b'"x"', "body"),
        (b'{"code": NaN}', "body"),
        (b'{"code": 1' + b"0" * 5000 + b"}", "body"),
        (b"\xff\xfe", "body"),
        (b'{"a":' + b"[" * 200_000, "body"),
        (b'{"code": 550, "code": 551}', "code"),
        (b'{"code": 1e400, "tag": "t"}', "code"),
        (b'{"\\ud800": 1}', "\\ud800"),
    ],
)
async def test_a8_json_is_read_strictly(api: TestClient, body: bytes, field: str) -> None:
    answer = await api.post("/v1/errors", data=body, headers=JSON)
    assert answer.status == 400
    assert (await answer.json())["error"]["field"] == field


async def test_a16_a_bug_shows_nothing_and_is_logged_once(
    api: TestClient, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    await api.get("/v1/workers")
    cluster.bug = True
    with caplog.at_level(logging.ERROR):
        answer = await api.get("/v1/workers")
    text = await answer.text()
    assert answer.status == 500
    assert "secret insides" not in text
    assert "Traceback" not in text
    assert len(caplog.records) == 1
    assert answer.headers["X-Request-Id"] in caplog.text
    assert TOKEN not in caplog.text
