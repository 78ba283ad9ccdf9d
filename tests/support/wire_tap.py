"""A tap on the wire: hands a client's octets on to a server and keeps what the client said."""

import contextlib
import socket
import threading
from typing import Self

_AFTER_DATA = b"\r\nDATA\r\n"


class WireTap:
    """`with WireTap(server) as tap:` listens on `tap.port`."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._said: list[bytes] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def contents(self) -> dict[str, bytes]:
        """First recipient -> what followed the DATA command, with the end of data; one message a session."""
        with self._lock:
            found = {}
            for said in self._said:
                start = said.index(_AFTER_DATA) + len(_AFTER_DATA)
                end = said.index(b"\r\n.\r\n", start - 2) + 5
                recipient = said.partition(b"RCPT TO:<")[2].partition(b">")[0].decode()
                found[recipient] = said[start:end]
            return found

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._session, args=(client,), daemon=True).start()

    def _session(self, client: socket.socket) -> None:
        said = bytearray()
        with client, socket.create_connection(self._server) as server:
            answers = threading.Thread(target=_pump, args=(server, client, bytearray()), daemon=True)
            answers.start()
            _pump(client, server, said)
            with self._lock:  # before the client can see that its session is over
                self._said.append(bytes(said))
            answers.join(10)


def _pump(source: socket.socket, target: socket.socket, kept: bytearray) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            kept += piece
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
