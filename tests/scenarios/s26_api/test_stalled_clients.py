"""Thousands of clients that connect to the API and never finish a request: they are closed, and orders get through."""

import contextlib
import pathlib
import resource
import select
import socket
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.support.node import Node, running, until
from tests.support.raw_http import connect
from tests.support.rest import ask
from tests.support.valkey import Valkey

LIMIT = 1024
STALLED = 2000


@pytest.fixture
def small(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    """A node that may have 1,024 files open in each process, and no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 3 * STALLED:
        pytest.skip("this test needs more open files than the system allows it")
    valkey = Valkey(tmp_path / "valkey")
    node = Node(tmp_path / "n1", "n1", valkey.url, workers=1)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3 * STALLED), hard))
    node.words = ["prlimit", f"--nofile={LIMIT}:{LIMIT}", *node.words]
    try:
        with running(valkey, node):
            yield node
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _is_closed(sock: socket.socket) -> bool:
    readable, _, _ = select.select([sock], [], [], 0) if sock.fileno() < 1024 else _polled(sock)
    if not readable:
        return False
    try:
        return sock.recv(4096, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"" or b"408" in sock.recv(4096)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _polled(sock: socket.socket) -> tuple[Any, Any, Any]:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return poll.poll(0), None, None


@pytest.mark.needs("prlimit")
def test_k8_two_thousand_endless_headers_are_closed_and_an_order_gets_through_with_1024_descriptors(small: Node):
    api = small.ready["api"]
    stalled: list[socket.socket] = []
    try:
        for number in range(STALLED):
            sock = connect(api)
            with contextlib.suppress(OSError):
                sock.sendall(b"GET /v1/errors HTTP/1.1\r\nHost: localhost\r\nX-%d: " % number)
            stalled.append(sock)
        made = ask(api, "POST", "/v1/errors?wait=50s", b'{"code": 554, "tag": "stalled"}')
        assert made.status == 201
        child = psutil.Process(small.child("control_api"))
        assert child.num_fds() < LIMIT - 100
        assert ask(api, "GET", "/v1/errors").status == 200
        until(lambda: all(_is_closed(sock) for sock in stalled))
        assert ask(api, "DELETE", f"/v1/errors/{made.body['id']}").status == 200
    finally:
        for sock in stalled:
            sock.close()
    log = small.errors()
    assert "Traceback" not in log
    assert sum("without a valid token are open" in line for line in log.splitlines()) == 1
    assert "may have 1024 files open" in log
