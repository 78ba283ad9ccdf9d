"""A way to the store that loses answers: the step runs, its connection is cut before it answers."""

import contextlib
import socket
import threading
import time
from typing import Final, Self

_RUNS: Final = 0.2  # seconds in which the server has surely executed what it was sent


class LossyStore:
    """`with LossyStore(port) as way:` listens on `way.port`; `way.lose(b"rules_change")` cuts that many requests."""

    def __init__(self, port: int) -> None:
        self._server = ("127.0.0.1", port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._lock = threading.Lock()
        self._word = b""
        self._times = 0
        self.lost = 0

    def lose(self, word: bytes, times: int = 1) -> None:
        """The answers of the next requests that hold the word."""
        with self._lock:
            self._word, self._times, self.lost = word, times, 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._session, args=(client,), daemon=True).start()

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
