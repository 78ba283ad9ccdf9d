"""The API when the store is away, when its own process is killed, and what it keeps of its secret."""

import os
import signal
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.files import contents
from tests.support.node import Node, running, standing_still, until
from tests.support.orders import seconds
from tests.support.rest import ask
from tests.support.valkey import Valkey


def _status(api: str, path: str, method: str = "GET", body: bytes | None = None) -> int:
    try:
        return ask(api, method, path, body).status
    except OSError:
        return 0


def _takes(node: Node, to: str, tag: str) -> bool:
    with node.client() as client:
        return (
            client.mail("from@example.org")[0] == 250
            and client.rcpt(to)[0] == 250
            and client.data(f"X-MQ-Tag: {tag}\r\n\r\nhello\r\n".encode())[0] == 250
        )


def test_ready_says_503_while_the_store_is_away_and_orders_are_refused(place: Any):
    api, order = place.api, b'{"code": 554, "tag": "away"}'
    assert ask(api, "GET", "/readyz", token=None).body == {"status": "ready"}
    place.valkey.stop(signal.SIGKILL)
    try:
        answer = until(lambda: (a := ask(api, "GET", "/readyz", token=None)).status == 503 and a)
        assert answer.body == {"status": "unready", "reason": "the store is away"}
        assert answer.headers["Retry-After"]
        assert ask(api, "GET", "/healthz", token=None).status == 200
        refused = ask(api, "POST", "/v1/errors", order)
        assert (refused.status, refused.body["error"]["type"]) == (503, "unavailable")
    finally:
        place.valkey.start()
    until(lambda: _status(api, "/readyz") == 200)
    made = ask(api, "POST", "/v1/errors?wait=50s", order)
    assert (made.status, made.body["effective"]) == (201, True)
    until(lambda: _takes(place.node, "a@away.test", "away"))  # each worker finds the store again in its own time
    until(lambda: sum(place.node.statement("away")["intercepted"].values()) == 1)
    assert ask(api, "DELETE", f"/v1/errors/{made.body['id']}").status == 200


def test_a_killed_api_comes_back_on_its_port_and_pending_orders_become_effective(place: Any):
    api, node = place.api, place.node
    worker = next(
        w for w in ask(api, "GET", "/v1/workers").body["workers"] if "delivery" in w["roles"] and not w["dead"]
    )
    before = node.child("control_api")
    with standing_still(worker["pid"]):
        made = ask(api, "POST", "/v1/errors?wait=0s", b'{"code": 554, "tag": "pending"}')
        assert made.status == 202
        assert worker["name"] in made.body["workers"]["unconfirmed"]
        os.kill(before, signal.SIGKILL)
        until(lambda: _status(api, "/healthz") == 200 and node.child("control_api") != before)
        path = f"/v1/errors/{made.body['id']}"
        rule = until(lambda: (r := ask(api, "GET", path).body)["effective"] and r)
        assert worker["name"] in rule["workers"]["unconfirmed"]
        assert seconds(made.body["created_at"]) < seconds(rule["effective_at"]) <= time.time() + 0.05
    node.send("a@pending.test", ("pending",))
    until(lambda: sum(node.statement("pending")["intercepted"].values()) == 1)
    statement = until(lambda: (s := ask(api, "GET", path + "/statement").body)["complete"] and s)
    assert (statement["matched"], statement["balanced"]) == (1, True)
    assert ask(api, "DELETE", path).status == 200
    assert not place.sink.to("pending.test")


def test_the_token_is_made_once_kept_in_one_private_file_and_only_its_hash_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("FLOODGATE_ADMIN_TOKEN", raising=False)
    valkey = Valkey(tmp_path / "valkey")
    node = Node(tmp_path / "n1", "n1", valkey.url, workers=1)
    node.token = None
    with running(valkey):
        with running(node):
            file = tmp_path / "n1" / "admin.token"
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            token = file.read_text().strip()
            assert len(token) >= 32
            api = node.ready["api"]
            assert ask(api, "GET", "/v1/errors", token=token).status == 200
            assert ask(api, "GET", "/v1/errors").status == 401
            assert ask(api, "POST", "/v1/errors", b'{"code": 554, "tag": "a"}', token=token).status == 201
        with running(node):
            assert file.read_text().strip() == token, "kept over a restart"
            assert ask(node.ready["api"], "GET", "/v1/errors", token=token).status == 200
        assert token not in node.errors()
        assert token not in "".join(node.words)
        stored = dict(contents(tmp_path / "valkey"))
        assert any(len(content) > 1000 for content in stored.values())
        for path, content in (*stored.items(), *contents(tmp_path / "n1" / "log")):
            assert token.encode() not in content, path
