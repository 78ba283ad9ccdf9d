"""A destination that stops working takes no connections from others (D1, K1)."""

import contextlib
import pathlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.node import Node, running, until
from tests.support.sink import HOLD, STALL
from tests.support.sink_thread import SinkThread

LARGE = "x" * 76 + "\r\n"
PLACES = 20
SOON = 6.0  # seconds; 100 mute hosts tried one after the other take 10, a connection that is given up 30
NAMES = {"MAIL": "mail", "DATA": "data", "BODY": "body", ".": "dot"}


class Silent:
    """Accepts connections and says nothing; a host that greets with the bytes given. It has many addresses."""

    def __init__(self, greeting: bytes = b"") -> None:
        self._greeting = greeting
        self._server = socket.create_server(("0.0.0.0", 0), backlog=500)
        self._port = self._server.getsockname()[1]
        self.open: set[socket.socket] = set()
        self.accepted = 0

    def address(self, number: int = 0) -> str:
        return f"127.0.{number // 200}.{number % 200 + 1}:{self._port}"

    def start(self) -> None:
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._server.accept()
            except OSError:
                return
            self.open.add(peer)
            self.accepted += 1
            threading.Thread(target=self._watch, args=(peer,), daemon=True).start()

    def _watch(self, peer: socket.socket) -> None:
        try:
            peer.sendall(self._greeting)
            while peer.recv(4096):
                pass
        except OSError:
            pass
        self.open.discard(peer)
        peer.close()

    def stop(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for peer in list(self.open):
            peer.close()


class Town:
    """One node of one worker with 20 connections; a host that works, and hosts that stop in each phase.

    The tests share it, and what stops stays stopped: the four of `stops` have four to ten connections in the end, half
    of the places at most.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.works = SinkThread()
        self.stops = {verb: SinkThread() for verb in NAMES}
        self.hog = SinkThread()
        self.mute = Silent()
        self.greets = Silent(b"220 here\r\n")
        self._folder = folder
        self._stack = contextlib.ExitStack()
        self._number = 0

    def start(self) -> None:
        self._stack.enter_context(running(self.works, self.hog, *self.stops.values(), self.mute, self.greets))
        for verb, sink in self.stops.items():
            sink.script(verb, STALL)
        self.stops["BODY"].script("DATA", self._read_no_more)
        routes = {f"*.{NAMES[verb]}.test": sink.address for verb, sink in self.stops.items()}
        routes |= {f"d{n}.mute.test": self.mute.address(n) for n in range(300)}
        routes |= {"*.greets.test": self.greets.address()}
        routes |= {"*.works.test": self.works.address, "*.hog.test": self.hog.address}
        table = "{ " + ", ".join(f'"{name}" = "{address}"' for name, address in routes.items()) + " }"
        sets = {"delivery.routes": table, "delivery.connections": PLACES, "delivery.retries": ["1h"]}
        sets["node.drain_timeout"] = "1s"
        self.node = Node(self._folder, workers=1, **sets)
        self._stack.enter_context(running(self.node))

    def stop(self) -> None:
        self._stack.close()

    def _read_no_more(self, *_: object) -> None:
        for session in self.stops["BODY"].sink._sessions:
            session._transport.pause_reading()

    def send(self, *addresses: str, tag: str = "", text: str = "hello", **headers: str) -> None:
        self.node.send(list(addresses), tags=(tag,) if tag else (), text=text, **headers)

    def expired(self, domain: str) -> bool:
        """Whether mail that waits for the domain was looked at after its time, with what there was to open for it."""
        return any(event["type"] == "Expiration" and event["domain"] == domain for event in self.node.events())

    def places(self) -> str:
        """The holders of connections, for people."""
        sinks = {"works": self.works, "hog": self.hog} | {NAMES[verb]: sink for verb, sink in self.stops.items()}
        held = {name: sink.sink.open for name, sink in sinks.items()} | {"greets": len(self.greets.open)}
        return f"{held} of {PLACES} places, and {len(self.mute.open)} mute"

    def works_soon(self) -> None:
        """Ten messages to a domain that nothing is wrong with arrive in time."""
        self._number += 1
        wanted = {f"m{n}@d{self._number}.works.test" for n in range(10)}
        began = time.time()
        self.send(*wanted)
        before = self.places()
        until(lambda: wanted <= {m.recipients[0] for m in self.works.sink.taken}, what=f"waits behind {before}")
        last = max(m.dot_at for m in self.works.sink.taken if m.recipients[0] in wanted)
        assert last - began < SOON, f"{last - began} s behind {before}"


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    town = Town(tmp_path_factory.mktemp("town"))
    with running(town):
        yield town


def test_d1_a_host_that_worked_and_stops_leaves_places_to_others(town: Town) -> None:
    """However well it worked before: a quarter of the places is kept for destinations without a connection."""
    sink, most = town.hog, PLACES * 3 // 4
    sink.script(".", HOLD)
    town.send(*(f"m{n}@one.hog.test" for n in range(300)), tag="d1-hog")

    def grown() -> bool:
        sink.release("250 2.0.0 ok")
        return sink.sink.open >= most

    until(grown)
    town.works_soon()
    sink.script(".", None)
    sink.release("250 2.0.0 ok")
    until(lambda: len(sink.sink.taken) == 300)
    assert sink.sink.most_open == most


@pytest.mark.parametrize("verb", NAMES)
def test_d1_a_host_that_stops_takes_no_connections_from_others(town: Town, verb: str) -> None:
    name, sink = NAMES[verb], town.stops[verb]
    domain = f"one.{name}.test"
    for numbers, headers in ((range(10), {}), (range(10, 20), {"X_MQ_MaxDeliverTime": "+2s"}), (range(20, 100), {})):
        town.send(*(f"m{n}@{domain}" for n in numbers), tag=f"d1-{name}", text=LARGE * 500, **headers)
    until(lambda: town.expired(domain))
    assert 1 <= sink.sink.open <= 5
    town.works_soon()


def test_d1_many_silent_hosts_take_no_connections_from_others(town: Town) -> None:
    town.send(*(f"m@d{n}.mute.test" for n in range(100)), tag="d1-mute")
    town.works_soon()
    until(lambda: len(town.mute.open) == 100)  # each is still tried
    town.works_soon()


def test_k1_a_cancel_of_the_mail_frees_the_openings(town: Town) -> None:
    """A host that greets takes a place, so only a quarter of the places is for them: see `Town`."""
    mute, greets = len(town.mute.open), PLACES // 4
    town.send(*(f"m@d{n}.mute.test" for n in range(100, 300)), tag="k1-mute")
    town.send(*(f"m@d{n}.greets.test" for n in range(greets)), tag="k1-greets")
    until(lambda: len(town.mute.open) == mute + 200 and len(town.greets.open) == greets)
    town.works_soon()
    for tag in ("k1-mute", "k1-greets"):
        status, _ = town.node.call("POST", "/v1/errors", {"tag": tag, "code": 554})
        assert status in (201, 202)
    until(lambda: len(town.mute.open) == mute and not town.greets.open)
    town.works_soon()
