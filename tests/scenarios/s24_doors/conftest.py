import contextlib
import re
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.support.destinations import AiosmtpdServer, Arrived
from tests.support.node import Node, running
from tests.support.recount import assert_balanced
from tests.support.story import ended

SENDER = "sender@example.org"
TRACE = re.compile(
    rb"Received: from [^\r\n]+\r\n\tby [^\r\n]+(?:\r\n\tid [^\r\n]+)?(?:\r\n\tfor <[^\r\n]+>)?;\r\n"
    rb"\t[A-Z][a-z]{2}, [^\r\n]+ [-+][0-9]{4}\r\n"
)


class Entrance:
    """One node and a destination that somebody else wrote; tests keep apart by recipient."""

    def __init__(self, node: Node, destination: AiosmtpdServer) -> None:
        self.node = node
        self.destination = destination

    def arrived(self, *recipients: str) -> dict[str, list[Arrived]]:
        """The messages that the destination took for each of `recipients`, once the log has an end for all of them."""
        for event in ended(self.node, *recipients).values():
            if event["recipient"] in recipients:
                assert event["type"] == "Delivery", event
        found: dict[str, list[Arrived]] = {recipient: [] for recipient in recipients}
        for one in self.destination.taken():
            for recipient in one.recipients:
                if recipient in found:
                    found[recipient].append(one)
        return found

    def message(self, recipient: str) -> bytes:
        """The one message that came for it, without our trace header."""
        (one,) = self.arrived(recipient)[recipient]
        trace = TRACE.match(one.content)
        assert trace is not None, one.content[:300]
        return one.content[trace.end() :]

    def submit(self, recipients: str | Sequence[str], content: bytes) -> bytes:
        """The reply to the end of data of a message that is sent as it is, dots stuffed."""
        recipients = [recipients] if isinstance(recipients, str) else recipients
        rcpt = b"".join(f"RCPT TO:<{one}>\r\n".encode() for one in recipients)
        stuffed = (b"\n" + content).replace(b"\n.", b"\n..")[1:]
        stuffed += b"" if stuffed.endswith(b"\r\n") or not stuffed else b"\r\n"
        with Wire(self.node.smtp) as wire:
            wire.send(b"EHLO c.example\r\nMAIL FROM:<%s>\r\n" % SENDER.encode(), rcpt, b"DATA\r\n")
            assert {wire.reply()[:3] for _ in range(2 + len(recipients))} == {b"250"}
            assert wire.reply().startswith(b"354 ")
            wire.send(stuffed, b".\r\n")
            return wire.reply()

    def receptions(self) -> list[dict[str, Any]]:
        return [event for event in self.node.events() if event["type"] == "Reception"]


class Wire:
    """A raw connection that has read its greeting."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, 60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._replies = self._socket.makefile("rb")
        assert self.reply().startswith(b"220 ")

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self._replies.close()
        self._socket.close()

    def send(self, *segments: bytes) -> None:
        """A server that closed meanwhile is no fault of the test's: its replies are read afterwards."""
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            for segment in segments:
                self._socket.sendall(segment)

    def reply(self) -> bytes:
        """The last line of the next reply; b"" at the end of the connection."""
        while True:
            try:
                line = self._replies.readline()
            except ConnectionResetError:  # it closed while more was under way
                return b""
            if line[3:4] != b"-":
                return line

    def codes(self) -> list[int]:
        """Of all replies until the server closes."""
        found = []
        while line := self.reply():
            found.append(int(line[:3]))
        return found


@contextlib.contextmanager
def an_entrance(folder: Any, **sets: Any) -> Iterator[Entrance]:
    destination = AiosmtpdServer()
    with running(destination):
        node = Node(folder, smtp__hostname="mx.floodgate.test", delivery__route=destination.address, **sets)
        with running(node):
            yield Entrance(node, destination)
            report = assert_balanced(node.ready["redis"])
            assert sum(report.recounted.get("", {}).values()) == 0, "something is still queued"


@pytest.fixture(scope="package")
def entrance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Entrance]:
    with an_entrance(tmp_path_factory.mktemp("s24"), workers=1, rules__max_staleness="1s") as made:
        yield made


@pytest.fixture(scope="module")
def strict_entrance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Entrance]:
    """The same with `smtp.bare_newline = "refuse"`."""
    with an_entrance(tmp_path_factory.mktemp("s24-strict"), workers=1, smtp__bare_newline="refuse") as made:
        yield made
