"""Processes that start while the store is in trouble answer their clients all the same."""

import contextlib
import os
import signal
import smtplib
import socket
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.scenarios.s22_store_trouble.conftest import Troubled
from tests.support.node import Node, module_of, until
from tests.support.rest import ask
from tests.support.valkey import Valkey, free_port


def greeting(address: tuple[str, int]) -> str:
    """All that a client that says nothing is told, when the connection is closed on it, else the first line."""
    with socket.create_connection(address, timeout=30) as sock:
        line = sock.makefile("rb").readline()
    return line.decode()


def workers_of(node: Node) -> set[int]:
    """From the table of processes: the store that lists them is away."""
    assert node.process is not None
    found = set()
    for child in psutil.Process(node.process.pid).children():
        with contextlib.suppress(psutil.Error):  # it has just ended
            if module_of(child) == "mta.runtime.worker":
                found.add(child.pid)
    return found


def replaced(place: Troubled) -> None:
    """Every worker is killed, and another runs in its place."""
    before = workers_of(place.node)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(workers_of(place.node) - before) == len(before))


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
def test_r5_clients_of_workers_that_start_while_the_store_is_away_are_told(
    place: Troubled, how: signal.Signals
) -> None:
    mark = place.mark()
    place.valkey.stop(how)
    try:
        until(lambda: "does not answer" in place.node.errors()[mark:])
        replaced(place)
        for _ in range(3):
            assert greeting(place.node.smtp) == "421 4.3.2 no mail is taken: the store is away, try again later\r\n"
        with pytest.raises(smtplib.SMTPConnectError):
            smtplib.SMTP(*place.node.smtp, timeout=30)
    finally:
        place.valkey.stop(signal.SIGCONT) if how is signal.SIGSTOP else place.valkey.start()
    until(lambda: greeting(place.node.smtp).startswith("220 "))
    until(lambda: place.readyz()[0] == 200)
    place.mail_is(250)
    place.delivers(f"after-{how.name}@start.example")
    said = [line for line in place.lines_since(mark) if "started again in" not in line]
    until(lambda: "answers again" in place.node.errors()[mark:])
    assert not [line for line in said if "waited" in line], "the supervisor has said that the store is away"


def test_r5_an_api_that_starts_while_the_store_is_away_answers_that(place: Troubled) -> None:
    place.valkey.stop(signal.SIGSTOP)
    try:
        until(lambda: place.readyz()[0] == 503)
        before = place.node.child("control_api")
        os.kill(before, signal.SIGKILL)
        until(lambda: place.node.child("control_api") != before)
        until(lambda: _readyz(place) == (503, {"status": "unready", "reason": "the store is away"}))
        url = place.node.ready["api"]
        assert ask(url, "GET", "/healthz", token=None).status == 200
        answer = ask(url, "GET", "/v1/errors")
        assert (answer.status, answer.body["error"]["message"]) == (503, "the store is away")
    finally:
        place.valkey.stop(signal.SIGCONT)
    until(lambda: place.readyz()[0] == 200)
    until(lambda: place.node.call("GET", "/v1/errors") == (200, []))


def _readyz(place: Troubled) -> tuple[int, object]:
    try:
        return place.readyz()
    except OSError:
        return 0, None


def test_k6_clients_of_workers_that_start_while_the_store_is_unsafe_are_told(place: Troubled) -> None:
    place.valkey.ask("CONFIG", "SET", "appendfsync", "everysec")
    try:
        place.mail_is(451, "appendfsync is everysec")
        replaced(place)
        assert "421 4.3.2 no mail is taken: the store is unsafe: appendfsync is everysec" in greeting(place.node.smtp)
        assert len(workers_of(place.node)) == 2, "they wait, and do not end again and again"
    finally:
        place.valkey.ask("CONFIG", "SET", "appendfsync", "always")
    until(lambda: greeting(place.node.smtp).startswith("220 "))
    place.mail_is(250)


def test_r5_a_refused_password_is_said_as_such(place: Troubled) -> None:
    with socket.create_connection(("127.0.0.1", place.valkey.port), timeout=60) as admin:  # it stays logged in
        answers = admin.makefile("rb")

        def say(line: bytes) -> None:
            admin.sendall(line + b"\r\n")
            assert answers.readline()[:1] in b"+:"

        say(b"CONFIG SET requirepass other")
        try:
            say(b"CLIENT KILL TYPE normal SKIPME yes")
            until(lambda: place.readyz() == (503, {"status": "unready", "reason": "the store refuses the password"}))
            place.mail_is(451, "the store refuses the password")
        finally:
            say(b'CONFIG SET requirepass ""')
    until(lambda: place.readyz()[0] == 200)
    place.mail_is(250)


def test_r5_clients_of_a_node_that_waits_for_its_store_are_told(tmp_path: Path) -> None:
    late = Valkey(tmp_path / "late")
    late.port = free_port()
    port = free_port()
    node = Node(tmp_path / "n1", redis=late.url, workers=1, smtp__listen=f"127.0.0.1:{port}")
    node.folder.mkdir()
    with (node.folder / "node.log").open("w") as errors:
        process = subprocess.Popen(node.words, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        until(lambda: "waited 0 s" in node.errors())
        told = "421 4.3.2 no mail is taken: the store is away, try again later\r\n"
        assert greeting(("127.0.0.1", port)) == told
        late.start()
        assert process.stdout is not None
        assert '"ready"' in process.stdout.readline()
        assert greeting(("127.0.0.1", port)).startswith("220 ")
    finally:
        process.terminate()
        process.wait(60)
        late.stop()
