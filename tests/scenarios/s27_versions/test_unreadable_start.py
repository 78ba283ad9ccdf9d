"""A node that starts under a rule which it cannot read says so wherever it is asked (K15)."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from tests.support.node import Node, running, until
from tests.support.rest import ask
from tests.support.sink_thread import SinkThread
from tests.support.valkey import Valkey, free_port

TABLE = "fg:{rules}:table"
DAMAGES = ["selector", "field", "kind", "garbage"]


class Place:
    def __init__(self, folder: Path, valkey: Valkey, sink: SinkThread) -> None:
        self.valkey, self.sink = valkey, sink
        self.smtp, api = ("127.0.0.1", free_port()), f"127.0.0.1:{free_port()}"
        self.api = f"http://{api}"
        sets = {"smtp__listen": f"127.0.0.1:{self.smtp[1]}", "api__listen": api, "delivery__route": sink.address}
        self.node = Node(folder / "n1", redis=valkey.url, rules__max_staleness="1s", **sets)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("s27-start")
    valkey, sink = Valkey(folder / "valkey"), SinkThread()
    with running(valkey, sink):
        made = Place(folder, valkey, sink)
        with running(made.node):
            yield made


def damaged(raw: bytes, how: str) -> bytes:
    if how == "garbage":
        return b"k15\xff"
    rule = msgspec.msgpack.decode(raw)
    rule |= {"selector": {"selectors": {"planet": "x"}}, "field": {"planet": "x"}, "kind": {"kind": "reroute"}}[how]
    return msgspec.msgpack.encode(rule)


def greeting(address: tuple[str, int]) -> str:
    with socket.create_connection(address, timeout=30) as sock:
        return sock.makefile("rb").readline().decode()


def unready(place: Place) -> dict[str, Any] | None:
    answer = ask(place.api, "GET", "/readyz", token=None)
    return answer.body if answer.status == 503 and "deliver nothing" in answer.body["reason"] else None


@pytest.mark.parametrize("how", DAMAGES)
def test_k15_a_node_that_starts_under_a_rule_it_cannot_read_says_so(place: Place, how: str) -> None:
    node = place.node
    rule = node.call("POST", "/v1/errors?wait=50s", {"code": 554, "tag": f"k15-{how}"})[1]["id"]
    node.stop()
    mark = len(node.errors())
    with redis.Redis(port=place.valkey.port) as store, ThreadPoolExecutor(1) as thread:
        good = store.hget(TABLE, rule)
        store.hset(TABLE, rule, damaged(good, how))
        starting = thread.submit(node.start)
        try:
            url = node.folder / "api.url"
            until(lambda: url.exists() and url.read_text() == place.api + "\n")
            assert rule in until(lambda: unready(place))["reason"]
            told = "421 4.3.2 no mail is taken: a rule in the store cannot be read by this node, try again later\r\n"
            assert greeting(place.smtp) == told
            node.ready = {"api": place.api}
            workers = until(lambda: len(found := node.call("GET", "/v1/workers")[1]["workers"]) == 3 and found)
            assert {(one["confirmed_at"], one["seconds_since_confirm"]) for one in workers} == {(None, None)}
            until(lambda: rule in node.errors()[mark:])
            assert not starting.done()
        finally:
            store.hset(TABLE, rule, good)
            starting.result()
    until(lambda: "can be read again" in node.errors()[mark:])
    assert node.errors()[mark:].count(rule) == 1, "one line for the node"
    until(lambda: ask(place.api, "GET", "/readyz", token=None).status == 200)
    node.send(f"{how}@k15.example")
    until(lambda: place.sink.to("k15.example"))
    assert node.call("DELETE", f"/v1/errors/{rule}?wait=50s")[0] == 200
