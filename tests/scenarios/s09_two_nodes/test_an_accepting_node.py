"""A node that only accepts is waited for by no order: the barrier of the lanes fences what it decided before."""

import signal
import smtplib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.node import Node, running, until
from tests.support.orders import assert_accounted, seconds
from tests.support.recount import assert_balanced
from tests.support.sink_thread import SinkThread
from tests.support.valkey import Valkey

MAILS = 3


class Accepting:
    """A node that delivers and answers orders, one that only accepts, and their destination."""

    def __init__(self, folder: Path) -> None:
        self.sink = SinkThread().start()
        self.valkey = Valkey(folder / "valkey")
        common: dict[str, Any] = {"rules__max_staleness": "20s", "delivery__lease": "40s", "api__wait": "10s"}
        self.home = Node(folder / "n1", "n1", self.valkey.url, delivery__route=self.sink.address, **common)
        self.door = Node(folder / "n2", "n2", self.valkey.url, workers=1, node__roles=["smtp"], **common)
        self._stopped: list[psutil.Process] = []

    def stop_door(self) -> None:
        """The whole node stands still."""
        assert self.door.process is not None
        supervisor = psutil.Process(self.door.process.pid)
        self._stopped = [supervisor, *supervisor.children(recursive=True)]
        for process in self._stopped:
            process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        for process in self._stopped:
            if process.is_running():
                process.send_signal(signal.SIGCONT)
        self._stopped = []


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Accepting]:
    made = Accepting(tmp_path)
    try:
        with running(made.valkey, made.home, made.door):
            yield made
            made.go_on()
            assert_balanced(made.valkey.url)
    finally:
        made.go_on()
        made.sink.stop()


def _before_the_dot(door: Node, number: int) -> smtplib.SMTP:
    """A client that has sent all of a message but the end of its data."""
    client = door.sender()
    assert client.mail("from@example.org")[0] == 250
    assert client.rcpt(f"a{number}@door.test")[0] == 250
    assert client.docmd("DATA")[0] == 354
    client.send(b"X-MQ-Tag: door\r\nSubject: test\r\n\r\nhello\r\n")
    return client


def test_an_order_does_not_wait_for_a_node_that_only_accepts_and_nothing_of_it_is_delivered(place: Accepting):
    home, door = place.home, place.door
    door.send("before@door.test", ("door",))
    until(lambda: place.sink.to("door.test"))
    clients = [_before_the_dot(door, number) for number in range(MAILS)]
    names = [w["name"] for w in home.call("GET", "/v1/workers")[1]["workers"]]
    assert [name for name in names if name.startswith("n2/smtp/")], names
    place.stop_door()
    for client in clients:
        client.send(b".\r\n")  # its table of before the order decides about these
    asked = time.time()
    status, rule = home.call("POST", "/v1/errors", {"code": 554, "tag": "door"})
    assert (status, rule["effective"]) == (201, True)
    assert seconds(rule["effective_at"]) < asked + 5.0, "a quarter of what its permit lasts"
    assert rule["workers"]["unconfirmed"] == []
    assert all("delivery" in name for name in rule["workers"]["confirmed"]), rule["workers"]
    place.go_on()
    for client in clients:
        assert client.getreply()[0] == 250
        client.close()
    door.send("after@door.test", ("door",))
    statement = until(
        lambda: (s := home.statement("door"))["queued"] == 0 and s["accepted"] == MAILS + 2 and s,
        what=f"{home.statement('door')}",
    )
    assert (statement["delivered"], sum(statement["intercepted"].values())) == (1, MAILS + 1)
    assert [r.recipients for r in place.sink.to("door.test")] == [["before@door.test"]]

    def account() -> Any:
        found = home.call("GET", f"/v1/errors/{rule['id']}/statement")[1]
        return found if found["complete"] else None

    account_ = until(account)
    assert_accounted(account_)
    assert account_["matched"] == MAILS + 1
    until(lambda: all(w["lag"] == 0 for w in home.call("GET", "/v1/workers")[1]["workers"] if not w["dead"]))
