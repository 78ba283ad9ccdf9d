"""A TCP relay between clients and a server, with a thread for each session; a subclass hands the octets on."""

import abc
import contextlib
import socket
import threading
from typing import Self


class Relay(abc.ABC):
    """`with Relay(server) as relay:` listens on `relay.port`."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._lock = threading.Lock()

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

    @abc.abstractmethod
    def _session(self, client: socket.socket) -> None:
        """Serves one client until it ends; runs in a thread of its own."""
