"""The server below the application: deadlines of headers, and who gives way when too many are connected."""

import time
from collections.abc import Iterator

import pytest

from control_api.access.gate import names_this_machine
from control_api.http import serving
from control_api.http.connections import Connections, most_connections
from control_api.http.rare_log import RareLog
from tests.support.control_api import Cluster
from tests.support.raw_http import connect, read_answer
from tests.support.served_api import served


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(serving, "HEADER_TIMEOUT", 1.0)
    with served(Cluster()) as address:
        yield address


def test_k8_a_header_that_comes_octet_by_octet_is_closed_and_an_idle_connection_is_not(url: str) -> None:
    asked = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connect(url) as slow, connect(url) as idle, connect(url) as silent:
        idle.sendall(asked)
        assert read_answer(idle).status == 200
        began = time.monotonic()
        slow.settimeout(0.1)
        answer = b""
        for octet in asked[:-2] + b"X: " + b"x" * 1000:
            try:
                slow.sendall(bytes([octet]))
                answer = slow.recv(4096)
            except TimeoutError:
                continue
            except OSError:
                pass
            break
        assert time.monotonic() - began < 30.0
        assert answer.startswith(b"HTTP/1.1 408 ")
        silent.settimeout(10.0)
        assert silent.recv(4096).startswith(b"HTTP/1.1 408 ")
        idle.sendall(asked)
        assert read_answer(idle).status == 200, "between requests a client has longer"


class Peer:
    def __init__(self, idle: bool = False) -> None:
        self.idle = idle
        self.dropped = False

    def is_idle(self) -> bool:
        return self.idle

    def check(self, now: float) -> None: ...

    def drop(self) -> None:
        self.dropped = True


def test_k8_the_oldest_stranger_gives_way_and_who_has_shown_a_token_does_not() -> None:
    connections = Connections(8)  # six strangers, two with a token
    known = [Peer(), Peer()]
    for peer in known:
        connections.opened(peer)
        connections.authenticated(peer)
    strangers = [Peer() for _ in range(7)]
    for peer in strangers:
        connections.opened(peer)
    assert [peer.dropped for peer in strangers] == [True] + [False] * 6
    assert not any(peer.dropped for peer in known)
    assert len(connections) == 8
    connections.authenticated(strangers[1])
    connections.opened(Peer())
    assert strangers[1].dropped, "no place with a token is idle: it stays a stranger"
    known[1].idle = True
    connections.authenticated(strangers[3])
    assert (known[1].dropped, known[0].dropped) == (True, False)
    connections.closed(strangers[3])
    connections.closed(known[0])
    assert repr(connections) == "<Connections: 0 with a token, 5 without>"


@pytest.mark.parametrize(("descriptors", "most"), [(256, 64), (1024, 640), (65536, 1024)])
def test_k8_the_bound_leaves_descriptors_for_the_rest(descriptors: int, most: int) -> None:
    assert most_connections(descriptors) == most


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("localhost.:80", False),
        ("127.0.0.1", True),
        ("[::1]:80", True),
        ("192.0.2.1:80", True),
        ("example.org", False),
        ("localhost.example.org", False),
        ("127.0.0.1.nip.example:80", False),
        ("localhost@example.org", False),
        ("[::1", False),
        ("[::1].evil.example", False),
        ("127.0.0.1:evil", False),
        ("127.0.0.1:", False),
        ("127.0.0.1:80:80", False),
        ("127.0.0.1.", False),
        ("u@127.0.0.1", False),
        ("[fe80::1%eth0]", False),
        ("::1", False),
        ("[127.0.0.1]", False),
        (" localhost", False),
        ("local host", False),
        ("LOCALHOST:8080", True),
        ("", False),
    ],
)
def test_k12_only_localhost_and_addresses_name_this_machine(host: str, here: bool) -> None:
    assert names_this_machine([host]) is here


def test_a_rare_line_says_how_many_it_stands_for(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    rare = RareLog(serving._log, 60.0, lambda: now)
    for _ in range(5):
        rare.warning("refused")
    now = 61.0
    rare.warning("refused")
    assert [record.getMessage() for record in caplog.records] == [
        "refused",
        "refused (and 4 more like this before it)",
    ]
