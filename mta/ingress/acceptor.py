"""The acceptor: accepts connections on sockets that all workers share, and spreads the sessions evenly."""

import asyncio
import errno
import ipaddress
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from mta.ingress.worker_loads import WorkerLoads

log = logging.getLogger(__name__)

REST: Final = 1.0  # seconds without accepting after the system ran out of descriptors or memory
YIELD = 0.001  # seconds that a connection is offered to workers with fewer sessions

_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class AcceptorOwner(Protocol):
    """The listener, as its acceptor sees it."""

    connections_open: int

    @property
    def is_full(self) -> bool:
        """Whether another connection would be refused."""
        ...

    def connected(self, connection: socket.socket, client: str) -> None:
        """The acceptor accepted a connection; `client` is the client's IP address."""
        ...


class Acceptor:
    """A worker with more sessions than another leaves a new connection to the other workers for a moment. If they do
    not accept it, because they are busy or hang, this worker does."""

    def __init__(self, sockets: Sequence[socket.socket], loads: WorkerLoads, owner: AcceptorOwner) -> None:
        """`sockets` are bound and listening; closing them stays with the caller. `loads`: of all workers that accept on
        them."""
        self.sockets = tuple(sockets)
        self.loads = loads
        self._owner = owner
        self.is_accepting = False
        self.accepted = 0  # connections, also those that were refused

    def start(self) -> None:
        """Begin to accept; needs the running loop."""
        loop = asyncio.get_running_loop()
        self.is_accepting = True
        self.tell()
        for listening in self.sockets:
            listening.setblocking(False)
            loop.add_reader(listening.fileno(), self._accept_one, listening)

    def stop(self) -> None:
        """May be called again."""
        if self.is_accepting:
            self.is_accepting = False
            self.loads.leave()
            loop = asyncio.get_running_loop()
            for listening in self.sockets:
                loop.remove_reader(listening.fileno())

    def tell(self) -> None:
        """Called when the owner's number of open connections has changed."""
        if self.is_accepting:
            self.loads.tell(self._owner.connections_open, self.accepted)

    def _accept_one(self, listening: socket.socket) -> None:
        """Accept one connection per wake-up, so that the workers share the load."""
        if self.loads.is_ahead(self._owner.is_full):
            self._look_away(listening, YIELD, self._look_again)
        else:
            self._accept(listening)

    def _look_again(self, listening: socket.socket) -> None:
        self._go_on(listening)
        if self.is_accepting and self._accept(listening):
            self.loads.missed()

    def _accept(self, listening: socket.socket) -> bool:
        """Whether there was a connection."""
        try:
            connection, peer = listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False  # another worker was faster, or the client has gone
        except OSError as trouble:
            if trouble.errno not in _EXHAUSTED:
                log.error("accepting a connection failed: %s", trouble)
            else:
                log.error("no more connections: %s; trying again in %s s", trouble, REST)
            self._look_away(listening, REST, self._go_on)  # the socket stays readable, so the loop would spin
            return False
        self.accepted += 1
        self._owner.connected(connection, _client_of(peer))
        return True

    def _look_away(self, listening: socket.socket, seconds: float, then: Callable[[socket.socket], None]) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening.fileno())
        loop.call_later(seconds, then, listening)

    def _go_on(self, listening: socket.socket) -> None:
        if self.is_accepting and listening.fileno() >= 0:
            asyncio.get_running_loop().add_reader(listening.fileno(), self._accept_one, listening)


def _client_of(peer: tuple[str, ...]) -> str:
    """The client's address; IPv4 that came over an IPv6 socket is shown as IPv4."""
    host = peer[0].partition("%")[0]
    address = ipaddress.ip_address(host)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
