"""A relay to an SMTP server that records the octets of its clients."""

import contextlib
import socket
import threading

from tests.support.relay import Relay

_AFTER_DATA = b"\r\nDATA\r\n"


class WireTap(Relay):
    """`with WireTap(server) as tap:` listens on `tap.port`."""

    def __init__(self, server: tuple[str, int]) -> None:
        super().__init__(server)
        self._said: list[bytes] = []

    def contents(self) -> dict[str, bytes]:
        """First recipient -> the content behind the DATA command, end of data included; one message a session."""
        with self._lock:
            found = {}
            for said in self._said:
                start = said.index(_AFTER_DATA) + len(_AFTER_DATA)
                end = said.index(b"\r\n.\r\n", start - 2) + 5
                recipient = said.partition(b"RCPT TO:<")[2].partition(b">")[0].decode()
                found[recipient] = said[start:end]
            return found

    def _session(self, client: socket.socket) -> None:
        said = bytearray()
        with client, socket.create_connection(self._server) as server:
            answers = threading.Thread(target=_pump, args=(server, client, bytearray()), daemon=True)
            answers.start()
            _pump(client, server, said)
            with self._lock:  # before the client can see that its session is over
                self._said.append(bytes(said))
            answers.join(60)


def _pump(source: socket.socket, target: socket.socket, kept: bytearray) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            kept += piece
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
