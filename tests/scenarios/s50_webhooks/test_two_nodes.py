"""Endpoints of a cluster: one node serves each, and another one goes on where a process stood still."""

import contextlib
import shutil
import threading
import time
from pathlib import Path

import psutil

from tests.support.needs import needs
from tests.support.node import Node, running, until
from tests.support.postgres import Postgres
from tests.support.sink_thread import SinkThread
from tests.support.valkey import Valkey
from tests.support.webhook_receiver import Reply, WebhookReceiver

MESSAGES = 200


@needs("postgres")
def test_a_node_goes_on_where_the_process_of_another_stood_still(tmp_path: Path) -> None:
    server = Postgres()
    with contextlib.ExitStack() as stack:
        stack.callback(server.remove)
        server.start()
        sink, valkey = SinkThread(), Valkey(tmp_path / "valkey")
        slow = threading.Event()
        receiver = WebhookReceiver(lambda hook: Reply(wait=2.0 if slow.is_set() else 0.02))
        for one in (sink, valkey, receiver):
            stack.enter_context(running(one))
        sets = {
            "delivery__route": sink.address,
            "history__url": server.url,
            "webhooks__allow_networks": ["127.0.0.0/8"],
            "delivery__lease": "60s",
            "rules__max_staleness": "1s",
        }
        first, second = (Node(tmp_path / name, name, redis=valkey.url, workers=1, **sets) for name in ("n1", "n2"))
        stack.enter_context(running(first))
        status, made = first.call("POST", "/v1/webhooks", {"url": receiver.url, "tags": ["two"]})
        assert status == 201, made
        path = f"/v1/webhooks/{made['id']}"
        until(lambda: first.call("GET", path)[1].get("node") == "n1", what="n1 serves it")
        second.folder.mkdir()
        shutil.copy(first.folder / "cluster.key", second.folder)
        stack.enter_context(running(second))
        sender = threading.Thread(
            target=lambda: second.send([f"u{number}@two.test" for number in range(MESSAGES)], ("two",))
        )
        sender.start()
        until(lambda: len(receiver.told("two")) >= 50, what="the first events are told")
        frozen = _serving(first)
        slow.set()  # so that it has nothing to write for a moment
        until(lambda: not any(_writes(server) for _ in range(5)), what="it writes nothing")
        frozen.suspend()
        slow.clear()
        sender.join()
        until(lambda: len({record["id"] for record in receiver.told("two")}) == MESSAGES, what="all of them are told")
        until(lambda: second.call("GET", path)[1]["node"] == "n2", what="n2 serves it")
        ids = [hook.id for hook in receiver.hooks]
        assert len(ids) - len(set(ids)) <= 64 + 100  # requests under way, and the answers of a second
        frozen.resume()  # it has not noticed that it lost the endpoint
        second.send("last@two.test", ("two",))
        until(lambda: "last@two.test" in [one["recipient"] for one in receiver.told("two")], what="the last is told")
        until(lambda: "is served by another process now" in first.errors(), what="n1 notices")
        assert [one["recipient"] for one in receiver.told("two")].count("last@two.test") == 1
        until(lambda: second.call("GET", path)[1]["node"] == "n2", what="n2 serves it still")


def _writes(server: Postgres) -> bool:
    """Whether a process that serves webhooks is writing, as seen after a moment. One that stands still within a
    transaction keeps its locks until its supervisor kills it."""
    import psycopg

    time.sleep(0.05)
    asked = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'floodgate webhooks' AND xact_start IS NOT NULL"
    with psycopg.connect(server.url, autocommit=True) as asking:
        return asking.execute(asked).fetchone() is not None


def _serving(node: Node) -> psutil.Process:
    """The process of the node that serves webhooks."""
    return psutil.Process(node.child("mta.runtime.webhooks"))
