"""A process whose event loop stands still is replaced, however it stands still (K3)."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.s23_running.conftest import Place
from tests.support.node import Node, running, until
from tests.support.sink import HOLD

SABOTAGE = Path(__file__).resolve().parents[2] / "support" / "sabotage"
SPIN = signal.SIGUSR1  # the loop computes and keeps the interpreter's lock: the process looks busy and well
STOP = signal.SIGSTOP


@pytest.fixture
def node(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    monkeypatch.setenv("PYTHONPATH", str(SABOTAGE))
    monkeypatch.setenv("SABOTAGE", "1")
    sets = {"delivery__route": place.sink.address, "rules__max_staleness": "1s", "delivery__lease": "5s"}
    with running(made := Node(place.folder / "stalls", "stalls", place.valkey.url, **sets)):
        yield made


def test_k3_what_stands_still_for_longer_than_the_lease_is_replaced_and_its_mail_delivered(
    place: Place, node: Node
) -> None:
    place.sink.script("DATA", HOLD)
    sent = [f"r{number}@stalls.test" for number in range(4)]  # a worker opens five connections to a silent host
    node.send(sent, ("stalls",))
    until(lambda: sum(session.held for session in list(place.sink.sink._sessions)) == len(sent))
    victims = {
        node.workers()[0]: SPIN,
        node.child("mta.runtime.journal"): SPIN,
        node.child("mta.runtime.sweeper"): STOP,
        node.child("control_api"): STOP,
    }
    place.sink.script("DATA", None)
    server = node.child("mta.runtime.fork_server")
    os.kill(server, signal.SIGKILL)  # so that those that come are of one that has taken its place
    for victim, how in victims.items():
        os.kill(victim, how)
    until(lambda: all(not _exists(victim) for victim in victims))
    for victim in victims:
        (line,) = until(lambda: [line for line in node.errors().splitlines() if f"(pid {victim})" in line])  # noqa: B023
        assert re.search(r"was killed: its event loop stood still for \d+ s, longer than delivery.lease; started", line)
    assert f"the fork server (pid {server}) ended with status -9" in node.errors()
    assert node.child("mta.runtime.fork_server") != server
    place.sink.release("354 go on")
    until(lambda: len(node.workers()) == 2)
    until(lambda: {r.recipients[0] for r in place.sink.to("stalls.test") if r.taken} == set(sent))
    statement = until(lambda: (found := node.statement("stalls"))["delivered"] == len(sent) and found)
    assert (statement["queued"], statement["balanced"]) == (0, True)
    until(lambda: sorted(e["recipient"] for e in node.events() if e["type"] == "Delivery") == sent)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
