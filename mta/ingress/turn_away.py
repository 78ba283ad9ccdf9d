"""Answers SMTP clients with 421 and the reason while this process cannot take mail yet."""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Final

from mta.ingress.worker_loads import WorkerLoads
from mta.model.outcomes import Reply
from mta.smtp.replies import render

log = logging.getLogger(__name__)

GRACE: Final = 2.0  # seconds of a start in which clients wait for their greeting
_OFFERED: Final = 0.1  # seconds that a connection is offered to a worker that takes mail
_REST: Final = 1.0  # seconds without accepting after the system refused
_AT_A_TIME: Final = 64  # connections per wake-up


class TurnAway:
    """421 to every connection of the listening sockets, from `GRACE` seconds after `start` until `stop`.

    Nothing is kept of a connection: the reply is sent if it can be sent at once, and the connection is closed.
    """

    def __init__(self, sockets: Sequence[socket.socket], loads: WorkerLoads) -> None:
        """`loads`: of all workers that accept on the sockets. A connection is offered to them for a moment."""
        self.sockets = tuple(sockets)
        self.loads = loads
        self._watched: tuple[socket.socket, ...] = ()
        self._why: Callable[[], str] = lambda: "the store is away"
        self._timers: dict[int, asyncio.TimerHandle] = {}  # by the socket's descriptor
        self.turned_away = 0

    def because(self, why: Callable[[], str]) -> None:
        """`why` gives the reason, in words for clients."""
        self._why = why

    def start(self, grace: float = GRACE) -> None:
        """Needs the running loop."""
        self._watched = self.sockets
        for listening in self._watched:
            listening.setblocking(False)
            self._later(grace, self._watch, listening)

    def stop(self) -> None:
        """Stop answering; may be called again. Later connections wait until a worker accepts them."""
        loop = asyncio.get_running_loop()
        for listening in self._watched:
            if (timer := self._timers.pop(listening.fileno(), None)) is not None:
                timer.cancel()
            loop.remove_reader(listening.fileno())
        self._watched = ()

    def _later(self, seconds: float, then: Callable[[socket.socket], None], listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._timers[listening.fileno()] = loop.call_later(seconds, then, listening)

    def _watch(self, listening: socket.socket) -> None:
        asyncio.get_running_loop().add_reader(listening.fileno(), self._readable, listening)

    def _readable(self, listening: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(listening.fileno())
        others = any(sessions is not None for sessions in self.loads.sessions())
        if others:
            self._later(_OFFERED, self._answer, listening)
        else:
            self._answer(listening)

    def _answer(self, listening: socket.socket) -> None:
        reply = render(Reply(421, "4.3.2", f"no mail is taken: {self._why()}, try again later"))
        try:
            for _ in range(_AT_A_TIME):
                connection, _ = listening.accept()
                self.turned_away += 1
                say_and_close(connection, reply)
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            self._watch(listening)
        except OSError as trouble:
            log.error("no more connections: %s; trying again in %s s", trouble, _REST)
            self._later(_REST, self._watch, listening)
        else:
            self._watch(listening)


def say_and_close(connection: socket.socket, reply: bytes) -> None:
    """Send the reply without waiting, and close the connection. A client with a full buffer gets no reply."""
    try:
        connection.setblocking(False)
        connection.send(reply)
    except OSError:
        pass  # it would not have read it
    finally:
        connection.close()
