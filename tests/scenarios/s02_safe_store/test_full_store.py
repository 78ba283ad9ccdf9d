"""A store without room: no mail is taken, deliveries go on and make room (F-18)."""

import re
import smtplib
from pathlib import Path

from tests.support.node import Node, running, until
from tests.support.recount import assert_balanced
from tests.support.sink_thread import SinkThread
from tests.support.valkey import Valkey

ROOM = 6 * 1024 * 1024
TEXT = b"Subject: large\r\n\r\n" + (b"0123456789abcdef" * 4 + b"\r\n") * 900  # 60 KB: below content.compress_above


def test_f18_a_full_store_is_452_and_drains_until_mail_is_taken_again(tmp_path: Path) -> None:
    valkey = Valkey(tmp_path / "valkey")
    sink = SinkThread()
    sink.script("GREETING", "421 4.3.2 not now")
    with running(valkey, sink):
        node = Node(tmp_path / "node", redis=valkey.url, delivery__route=sink.address, delivery__retries=["1s"])
        with running(node), node.sender() as client:
            valkey.ask("CONFIG", "SET", "maxmemory", str(used(valkey) + ROOM))
            accepted = fill(client)
            assert len(accepted) >= 30, "there was room for more than that"
            until(lambda: node.call("GET", "/readyz")[0] == 200)
            assert client.noop()[0] == 250  # the session goes on
            assert not sink.to("example.com")
            sink.script("GREETING", None)
            until(lambda: {r.recipients[0] for r in sink.to("example.com")} == set(accepted))
            until(lambda: give(client, "after@example.com")[0] == 250)
            until(lambda: "after@example.com" in sink.to("example.com")[-1].recipients)
            until(lambda: not node.call("GET", "/v1/queues")[1]["queues"])
            reached = [r.recipients[0] for r in sink.to("example.com") if r.taken]
            assert sorted(reached) == sorted([*accepted, "after@example.com"]), "each once, and none that was refused"
            report = assert_balanced(node.ready["redis"])
            assert report.counted[""]["delivered"] == report.counted[""]["accepted"] == len(reached)
            until(lambda: sorted(delivered_by_the_log(node)) == sorted(reached))


def fill(client: smtplib.SMTP) -> list[str]:
    """Send until there is no room; the recipients that were accepted."""
    accepted: list[str] = []
    while len(accepted) < 300:
        recipient = f"r{len(accepted)}@example.com"
        code, text = give(client, recipient)
        if code != 250:
            assert (code, text) == (452, "4.3.1 insufficient storage, try again later")
            return accepted
        accepted.append(recipient)
    raise AssertionError("it never became full")


def delivered_by_the_log(node: Node) -> list[str]:
    return [event["recipient"] for event in node.events() if event["type"] == "Delivery"]


def give(client: smtplib.SMTP, recipient: str) -> tuple[int, str]:
    assert client.mail("from@example.org")[0] == 250
    assert client.rcpt(recipient)[0] == 250
    code, text = client.data(TEXT)
    return code, text.decode()


def used(valkey: Valkey) -> int:
    found = re.search(rb"used_memory:(\d+)", valkey.ask("INFO", "memory"))
    assert found
    return int(found[1])
