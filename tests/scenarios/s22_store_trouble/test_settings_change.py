"""The server changes while the node runs: its settings, its role, and whether it answers."""

import signal
import smtplib
import threading
import time

import pytest

from tests.scenarios.s22_store_trouble.conftest import Troubled
from tests.support.node import until

WITHIN = 60.0  # seconds
UNSAFE = {
    "appendfsync": ("everysec", "always"),
    "appendonly": ("no", "yes"),
    "maxmemory-policy": ("allkeys-lru", "noeviction"),
    "no-appendfsync-on-rewrite": ("yes", "no"),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_k6_a_setting_that_becomes_unsafe_stops_mail_and_is_named_until_it_is_put_back(
    place: Troubled, name: str
) -> None:
    bad, good = UNSAFE[name]
    reason, mark = f"{name} is {bad}", place.mark()
    place.valkey.ask("CONFIG", "SET", name, bad)
    try:
        place.mail_is(451, reason, WITHIN)
        status, body = until(lambda: (said := place.readyz())[0] == 503 and said, WITHIN)
        assert (status, reason in body["reason"]) == (503, True)
        until(lambda: [line for line in place.lines_since(mark) if reason in line], WITHIN)
    finally:
        place.valkey.ask("CONFIG", "SET", name, good)
    place.mail_is(250, within=WITHIN)
    until(lambda: place.readyz()[0] == 200, WITHIN)
    place.delivers(f"after-{name}@k6.example")
    until(lambda: " is safe again after " in place.lines_since(mark)[-1])
    lines = place.lines_since(mark)
    assert len(lines) == 2, lines  # one when it goes, one when it is back, for all processes of the node


def test_k10_a_server_that_becomes_a_replica_is_451_at_once_and_not_ready(place: Troubled) -> None:
    mark = place.mark()
    try:
        with smtplib.SMTP(*place.node.smtp, timeout=30) as client:
            client.ehlo()
            assert client.mail("from@example.org")[0] == 250
            assert client.rcpt("never@k10.example")[0] == 250
            assert client.docmd("DATA")[0] == 354
            place.valkey.ask("REPLICAOF", "127.0.0.1", "9")  # of nobody that answers, so it keeps its data
            begun = time.monotonic()
            client.send(b"Subject: too late\r\n\r\nhello\r\n.\r\n")
            code, _ = client.getreply()
            assert (code, time.monotonic() - begun < 4.0) == (451, True)  # it waits for no timeout of the store
        body = until(lambda: (said := place.readyz())[0] == 503 and said[1])
        assert body["reason"] == "the store takes no writes: the server is a replica"
        place.mail_is(451, "the store takes no writes: the server is a replica")
        until(lambda: "takes no writes (the server is a replica)" in place.node.errors()[mark:])
    finally:
        place.valkey.promote()
    place.mail_is(250)
    until(lambda: place.readyz()[0] == 200)
    place.delivers("after@k10.example")
    assert all("never@k10.example" not in message.recipients for message in place.sink.to("k10.example"))
    until(lambda: "takes writes again" in place.node.errors()[mark:])


class _Watch:
    """How long `/readyz` takes, asked again and again from `start` to `stop`."""

    def __init__(self, place: Troubled) -> None:
        self._place = place
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.longest = 0.0
        self.statuses: set[int] = set()

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            begun = time.monotonic()
            self.statuses.add(self._place.readyz()[0])
            self.longest = max(self.longest, time.monotonic() - begun)

    def __enter__(self) -> "_Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
def test_r5_a_store_that_is_away_is_said_once_and_once_when_it_is_back(place: Troubled, how: signal.Signals) -> None:
    mark = place.mark()
    with _Watch(place) as watch:
        place.valkey.stop(how)
        try:
            until(lambda: "does not answer" in place.node.errors()[mark:])
            place.mail_is(451)
            until(lambda: 503 in watch.statuses)
            gone = time.monotonic()
            # The outage itself: long enough for every part of every process to try again and again.
            until(lambda: time.monotonic() - gone > 4.0)
        finally:
            place.valkey.stop(signal.SIGCONT) if how is signal.SIGSTOP else place.valkey.start()
        until(lambda: "answers again" in place.node.errors()[mark:])
        until(lambda: place.readyz()[0] == 200)
        place.mail_is(250)
    place.delivers(f"after-{how.name}@r5.example")
    lines = place.lines_since(mark)
    assert len(lines) == 2, lines
    assert "no mail is taken or delivered until it does" in lines[0]
    assert watch.longest < 4.0, f"/readyz took {watch.longest:.1f} s"  # 1 s, and a loaded machine
