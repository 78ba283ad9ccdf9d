"""A relay to the store that loses answers: the step runs, and its connection is cut before the answer arrives."""

import contextlib
import socket
import threading
import time
from typing import Final

from tests.support.relay import Relay

_RUNS: Final = 0.2  # seconds within which the server surely executes a request


class LossyStore(Relay):
    """`with LossyStore(port) as way:` listens on `way.port`; `way.lose(b"rules_change")` cuts that many requests."""

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port))
        self._word = b""
        self._times = 0
        self.lost = 0

    def lose(self, word: bytes, times: int = 1) -> None:
        """Cut the answers of the next `times` requests that contain `word`."""
        with self._lock:
            self._word, self._times, self.lost = word, times, 0

    def _is_lost(self, piece: bytes) -> bool:
        with self._lock:
            if not self._times or self._word not in piece:
                return False
            self._times -= 1
            self.lost += 1
            return True

    def _session(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._server)
        except OSError:
            client.close()
            return
        silent = threading.Event()
        back = threading.Thread(target=_hand_on, args=(server, client, silent), daemon=True)
        back.start()
        with client, server, contextlib.suppress(OSError):
            while piece := client.recv(65536):
                if self._is_lost(piece):
                    silent.set()
                    server.sendall(piece)
                    time.sleep(_RUNS)
                    break
                server.sendall(piece)
            for sock in (server, client):
                sock.shutdown(socket.SHUT_RDWR)
            back.join(5)


def _hand_on(source: socket.socket, target: socket.socket, silent: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            if not silent.is_set():
                target.sendall(piece)
        target.shutdown(socket.SHUT_RDWR)
