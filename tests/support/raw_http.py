"""HTTP as octets: what a client sends that no HTTP library would."""

import json
import socket
import urllib.parse
from typing import Any, NamedTuple


class RawAnswer(NamedTuple):
    status: int
    head: str
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)["error"]
        return found


def connect(api: str) -> socket.socket:
    where = urllib.parse.urlsplit(api)
    return socket.create_connection((where.hostname or "", where.port or 0), timeout=60)


def exchange(api: str, octets: bytes) -> RawAnswer:
    """Send these octets on a connection of their own, and read until the server closes it or the answer is complete."""
    with connect(api) as sock:
        sock.sendall(octets)
        return read_answer(sock)


def read_answer(sock: socket.socket) -> RawAnswer:
    got = b""
    while b"\r\n\r\n" not in got:
        piece = sock.recv(65536)
        assert piece, f"the server closed the connection after {got!r}"
        got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    sizes = [int(line.partition(":")[2]) for line in lines if line.lower().startswith("content-length:")]
    while not sizes or len(body) < sizes[0]:
        piece = sock.recv(65536)
        if not piece:
            break
        body += piece
    return RawAnswer(int(lines[0].split(" ")[1]), head.decode("latin-1"), body)
