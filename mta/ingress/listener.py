"""Accepts connections from a bound socket that several worker processes share, and looks after the sessions."""

import asyncio
import errno
import functools
import ipaddress
import logging
import socket
from collections.abc import Callable, Sequence

from mta.admission.group_commit import SHUTTING_DOWN, Admission
from mta.ingress.worker_loads import Crew
from mta.ingress.input_budget import Ration
from mta.admission.submission import Reception
from mta.ingress.session import Session
from mta.ingress.turn_away import say_and_close
from mta.model.outcomes import Reply
from mta.model.settings import Settings
from mta.smtp.replies import render

log = logging.getLogger(__name__)

TICK = 1.0  # seconds between two looks at the deadlines
REST = 1.0  # seconds without accepting after the system ran out of descriptors or memory
YIELD = 0.001  # seconds that a connection is left to workers with fewer sessions

TOO_MANY_CONNECTIONS = render(Reply(421, "4.3.2", "too many connections, try again later"))
TOO_MANY_OF_CLIENT = render(Reply(421, "4.7.0", "too many connections from your address, try again later"))

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Listener:
    """`max_connections` and `max_connections_per_client` hold for this process.

    A worker that is ahead of its crew looks away for a moment, so that the sessions of a node are spread evenly; what
    is still there then, it takes: the others may be busy, or stand still.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        settings: Settings,
        reception: Reception,
        admission: Admission,
        crew: Crew,
    ) -> None:
        """`sockets` are bound and listening; closing them stays with the caller. `crew`: who else accepts on them."""
        self._sockets = tuple(sockets)
        self._settings = settings.smtp
        self._reception = reception
        self._admission = admission
        self._crew = crew
        self._networks = tuple(ipaddress.ip_network(network) for network in settings.smtp.trusted_networks)
        self._is_trusted = functools.lru_cache(maxsize=4096)(self._look_up_trust)
        self._sessions: set[Session] = set()
        self._by_client: dict[str, int] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._accepting = False
        self._empty = asyncio.Event()
        self._empty.set()
        self.ration = Ration()
        self.connections = 0  # accepted so far
        self.connections_open = 0
        admission.comes_from(lambda: self.connections_open)
        self.connections_refused = 0
        self.refused = 0  # messages refused at end of data for what they are

    def __repr__(self) -> str:
        state = "accepting" if self._accepting else "not accepting"
        return f"<Listener {state}: {self.connections_open} sessions of {len(self._by_client)} clients>"

    def start(self) -> None:
        """Begin to accept; needs the running loop."""
        loop = asyncio.get_running_loop()
        self._accepting = True
        self._crew.tell(self.connections_open, self.connections)
        for listening in self._sockets:
            listening.setblocking(False)
            loop.add_reader(listening.fileno(), self._accept_one, listening)
        self._timer = loop.call_later(TICK, self._tick)

    def stop_accepting(self) -> None:
        if self._accepting:
            self._accepting = False
            self._crew.leave()
            loop = asyncio.get_running_loop()
            for listening in self._sockets:
                loop.remove_reader(listening.fileno())

    async def drain(self) -> None:
        """Accept nothing more, 421 to idle sessions, to the others after their message; returns when all are gone."""
        self.stop_accepting()
        if self._opening:
            await asyncio.wait(self._opening)
        for session in tuple(self._sessions):
            session.drain()
        await self._empty.wait()
        self._stop_timer()

    def abort(self) -> None:
        """Drop every connection at once."""
        self.stop_accepting()
        self._stop_timer()
        for session in tuple(self._sessions):
            session.abort()

    def left(self, session: Session) -> None:
        """A session's connection is gone."""
        if session not in self._sessions:
            return
        self._sessions.remove(session)
        self.connections_open -= 1
        if self._accepting:
            self._crew.tell(self.connections_open, self.connections)
        left = self._by_client[session.client] - 1
        if left:
            self._by_client[session.client] = left
        else:
            del self._by_client[session.client]
        if not self.connections_open:
            self._empty.set()

    def _accept_one(self, listening: socket.socket) -> None:
        """One connection per wake-up, so that the workers that share the socket share the load."""
        if self._crew.is_ahead(self._is_full):
            self._look_away(listening, YIELD, self._look_again)
        else:
            self._take(listening)

    def _look_again(self, listening: socket.socket) -> None:
        self._go_on(listening)
        if self._accepting and self._take(listening):
            self._crew.in_vain()

    def _take(self, listening: socket.socket) -> bool:
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
            self._look_away(listening, REST, self._go_on)  # it stays readable, and the loop would spin
            return False
        self.connections += 1
        client = _client_of(peer)
        refusal = self._refusal_for(client)
        if refusal is not None:
            self.connections_refused += 1
            say_and_close(connection, refusal)
            return True
        self._by_client[client] = self._by_client.get(client, 0) + 1
        self.connections_open += 1
        self._crew.tell(self.connections_open, self.connections)
        self._empty.clear()
        opening = asyncio.get_running_loop().create_task(self._open(connection, client))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)
        return True

    async def _open(self, connection: socket.socket, client: str) -> None:
        loop = asyncio.get_running_loop()
        session = Session(
            self, client, self._is_trusted(client), self._settings, self._reception, self._admission, loop.time
        )
        self._sessions.add(session)
        try:
            connection.setblocking(False)
            await loop.connect_accepted_socket(lambda: session, connection)
        except OSError as trouble:
            log.info("a connection from %s was gone before its greeting: %s", client, trouble)
            connection.close()
            self.left(session)

    @property
    def _is_full(self) -> bool:
        return self.connections_open >= self._settings.max_connections

    def _refusal_for(self, client: str) -> bytes | None:
        if self._is_full:
            return TOO_MANY_CONNECTIONS
        if self._by_client.get(client, 0) >= self._settings.max_connections_per_client:
            return TOO_MANY_OF_CLIENT
        return None if self._accepting else render(SHUTTING_DOWN)

    def _look_away(self, listening: socket.socket, seconds: float, then: Callable[[socket.socket], None]) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening.fileno())
        loop.call_later(seconds, then, listening)

    def _go_on(self, listening: socket.socket) -> None:
        if self._accepting and listening.fileno() >= 0:
            asyncio.get_running_loop().add_reader(listening.fileno(), self._accept_one, listening)

    def _tick(self) -> None:
        self._crew.relent()
        loop = asyncio.get_running_loop()
        now = loop.time()
        for session in tuple(self._sessions):
            session.check(now)
        self._timer = loop.call_later(TICK, self._tick)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_up_trust(self, client: str) -> bool:
        address = ipaddress.ip_address(client)
        return any(address in network for network in self._networks)


def _client_of(peer: tuple[str, ...]) -> str:
    """The client's address; IPv4 that came over an IPv6 socket is shown as IPv4."""
    host = peer[0].partition("%")[0]
    address = ipaddress.ip_address(host)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
