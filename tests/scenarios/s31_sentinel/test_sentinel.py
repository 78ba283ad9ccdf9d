"""A replicated store whose master dies: the node goes on with the new one, and says what is lost."""

import contextlib
import re
import signal
import smtplib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mail_stream import MailStream
from tests.support.node import Node, running, until
from tests.support.recount import assert_balanced
from tests.support.sentinels import Sentinels
from tests.support.sink_thread import SinkThread
from tests.support.valkey import Valkey


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Sentinels]:
    made = Sentinels(tmp_path / "store")
    with running(made):
        yield made


def waiting(node: Node) -> int:
    return sum(
        queue["due"] + queue["scheduled"] + queue["claimed"] for queue in node.call("GET", "/v1/queues")[1]["queues"]
    )


def offset(server: Valkey) -> int:
    found = re.search(rb"master_repl_offset:(\d+)", server.ask("INFO", "replication"))
    assert found
    return int(found[1])


def looks(server: Valkey) -> int:
    """How often processes of the node have looked at the settings and the offset of the server."""
    found = re.search(rb"cmdstat_config\|get:calls=(\d+)", server.ask("INFO", "commandstats"))
    return int(found[1]) if found else 0


def takes(node: Node, address: str, offered: list[str]) -> bool:
    """Whether a worker took a message; each worker refuses MAIL until it has found the new master itself. Those whose
    content was sent are `offered`: one that is answered with 4xx may have been stored."""
    with contextlib.suppress(smtplib.SMTPException), node.client() as client:
        if client.mail("from@example.org")[0] == 250 and client.rcpt(address)[0] == 250:
            offered.append(address)
            return client.data("hello\r\n")[0] == 250
    return False


def test_a_master_that_is_killed_under_load(store: Sentinels, tmp_path: Path) -> None:
    sink = SinkThread()
    with running(sink):
        node = Node(tmp_path / "node", redis=store.url, redis__timeout="3s", delivery__route=sink.address)
        with running(node):
            with MailStream(node.smtp, "example.com", clients=4) as stream:
                until(lambda: sum(told.accepted for told in stream.told) >= 200)
                killed = time.time()
                store.master.stop(signal.SIGKILL)
                until(lambda: sum(told.accepted and told.begun > killed for told in stream.told) >= 100)
            until(lambda: node.call("GET", "/readyz")[0] == 200)
            until(lambda: not node.call("GET", "/v1/queues")[1]["queues"])
            reached = {receipt.recipients[0] for receipt in sink.to("example.com") if receipt.taken}
            report = assert_balanced(store.url)
            until(lambda: "a replica of the store became its master: " in node.errors())
        assert {told.code for told in stream.told if told.begun > killed} <= {250, 451, 421, 0}
        refused = {told.recipient for told in stream.told if told.code >= 400}
        assert refused.isdisjoint(reached)
        lost = [told for told in stream.told if told.accepted and told.recipient not in reached]
        assert all(abs(told.ended - killed) < 15.0 for told in lost), "a replica is not far behind"
        assert report.counted[""]["queued"] == 0
        assert store.replica.ask("ROLE").startswith(b"*3\r\n$6\r\nmaster")


def test_the_node_says_how_much_a_new_master_lacks(store: Sentinels, tmp_path: Path) -> None:
    node = Node(tmp_path / "node", redis=store.url, redis__timeout="3s", delivery__route="127.0.0.1:1")
    with running(node):
        for number in range(20):
            node.send(f"kept{number}@example.com")
        until(lambda: waiting(node) == 20)
        written = offset(store.master)
        until(lambda: offset(store.replica) >= written)
        # It stays the replica of its master for the sentinels, which would mend another setting after some seconds.
        store.replica.ask("CONFIG", "SET", "masteruser", "nobody", "masterauth", "wrong")
        store.master.ask("CLIENT", "KILL", "TYPE", "replica")
        until(lambda: b"master_link_status:down" in store.replica.ask("INFO", "replication"))
        for number in range(10):
            node.send(f"lost{number}@example.com", text="x" * 1000)
        until(lambda: waiting(node) == 30)
        seen = looks(store.master)
        until(lambda: looks(store.master) >= seen + 9)  # three processes look, each once a second
        store.master.stop(signal.SIGKILL)
        until(lambda: "became its master" in node.errors())
        said = re.search(r"lacks the last (\d+) bytes of changes that the old master had [0-9.]+ s ago", node.errors())
        assert said is not None, node.errors()
        assert int(said[1]) > 10_000
        offered: list[str] = []
        until(lambda: takes(node, "since@example.com", offered))
        # The loss is bounded by what the replica had: 20, and the new one.
        until(lambda: 21 <= waiting(node) <= 20 + len(offered))
