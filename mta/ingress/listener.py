"""Accepts connections from a bound socket that several worker processes share, and looks after the sessions."""

import asyncio
import errno
import functools
import ipaddress
import logging
import socket
from collections.abc import Callable, Sequence

from mta.ingress.input_budget import InputBudget
from mta.ingress.session import SmtpSession
from mta.ingress.turn_away import say_and_close
from mta.ingress.worker_loads import WorkerLoads
from mta.model.outcomes import Reply
from mta.model.settings import Settings
from mta.ports.admission import SHUTTING_DOWN, Admission, Submissions
from mta.smtp.replies import render
from mta.smtp.server_session import Limits, Trust

log = logging.getLogger(__name__)

TICK = 1.0  # seconds between two looks at the deadlines
REST = 1.0  # seconds without accepting after the system ran out of descriptors or memory
YIELD = 0.001  # seconds that a connection is offered to workers with fewer sessions

TOO_MANY_CONNECTIONS = render(Reply(421, "4.3.2", "too many connections, try again later"))
TOO_MANY_OF_CLIENT = render(Reply(421, "4.7.0", "too many connections from your address, try again later"))

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Listener:
    """`max_connections` and `max_connections_per_client` hold for this process.

    A worker with more sessions than another looks away from a new connection for a moment, so that the sessions of a
    node are spread evenly. It accepts a connection that is still there then: the other workers may be busy, or stuck.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        settings: Settings,
        submissions: Submissions,
        admission: Admission,
        loads: WorkerLoads,
    ) -> None:
        """`sockets` are bound and listening; closing them stays with the caller. `loads`: of all workers that accept on
        them."""
        smtp = settings.smtp
        self._sockets = tuple(sockets)
        self.settings = smtp
        self.hostname = smtp.hostname or settings.node.name
        self.limits = Limits(smtp.max_message_size, smtp.max_recipients, smtp.max_errors)
        self.submissions = submissions
        self.admission = admission
        self.input_budget = InputBudget()
        self._loads = loads
        self._networks = tuple(ipaddress.ip_network(network) for network in smtp.trusted_networks)
        self._trust_of = functools.lru_cache(maxsize=4096)(self._look_up_trust)
        self._sessions: set[SmtpSession] = set()
        self._by_client: dict[str, int] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._accepting = False
        self._empty = asyncio.Event()
        self._empty.set()
        self.connections = 0  # accepted so far
        self.connections_open = 0
        self.connections_refused = 0

    def __repr__(self) -> str:
        state = "accepting" if self._accepting else "not accepting"
        return f"<Listener {state}: {self.connections_open} sessions of {len(self._by_client)} clients>"

    def start(self) -> None:
        """Begin to accept; needs the running loop."""
        loop = asyncio.get_running_loop()
        self._accepting = True
        self._loads.tell(self.connections_open, self.connections)
        for listening in self._sockets:
            listening.setblocking(False)
            loop.add_reader(listening.fileno(), self._accept_one, listening)
        self._timer = loop.call_later(TICK, self._tick)

    def stop_accepting(self) -> None:
        if self._accepting:
            self._accepting = False
            self._loads.leave()
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

    def left(self, session: SmtpSession) -> None:
        if session not in self._sessions:
            return
        self._sessions.remove(session)
        self.connections_open -= 1
        if self._accepting:
            self._loads.tell(self.connections_open, self.connections)
        left = self._by_client[session.client] - 1
        if left:
            self._by_client[session.client] = left
        else:
            del self._by_client[session.client]
        if not self.connections_open:
            self._empty.set()

    def _accept_one(self, listening: socket.socket) -> None:
        """One connection per wake-up, so that the workers that share the socket share the load."""
        if self._loads.is_ahead(self._is_full):
            self._look_away(listening, YIELD, self._look_again)
        else:
            self._take(listening)

    def _look_again(self, listening: socket.socket) -> None:
        self._go_on(listening)
        if self._accepting and self._take(listening):
            self._loads.missed()

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
        self._loads.tell(self.connections_open, self.connections)
        self._empty.clear()
        opening = asyncio.get_running_loop().create_task(self._open(connection, client))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)
        return True

    async def _open(self, connection: socket.socket, client: str) -> None:
        loop = asyncio.get_running_loop()
        session = SmtpSession(self, client, self._trust_of(client), loop.time)
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
        return self.connections_open >= self.settings.max_connections

    def _refusal_for(self, client: str) -> bytes | None:
        if self._is_full:
            return TOO_MANY_CONNECTIONS
        if self._by_client.get(client, 0) >= self.settings.max_connections_per_client:
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
        self._loads.decay()
        loop = asyncio.get_running_loop()
        now = loop.time()
        for session in tuple(self._sessions):
            session.check(now)
        self._timer = loop.call_later(TICK, self._tick)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_up_trust(self, client: str) -> Trust:
        address = ipaddress.ip_address(client)
        trusted = any(address in network for network in self._networks)
        return Trust(may_relay=trusted, normalizes=trusted and self.settings.bare_newline == "normalize")


def _client_of(peer: tuple[str, ...]) -> str:
    """The client's address; IPv4 that came over an IPv6 socket is shown as IPv4."""
    host = peer[0].partition("%")[0]
    address = ipaddress.ip_address(host)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
