"""The SMTP sessions of a worker: refuses connections beyond the limits, checks deadlines, drains."""

import asyncio
import functools
import ipaddress
import logging
import socket
from collections.abc import Sequence

from mta.ingress.acceptor import Acceptor
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

TOO_MANY_CONNECTIONS = render(Reply(421, "4.3.2", "too many connections, try again later"))
TOO_MANY_OF_CLIENT = render(Reply(421, "4.7.0", "too many connections from your address, try again later"))


class Listener:
    """`max_connections` and `max_connections_per_client` hold for this process."""

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
        self.acceptor = Acceptor(sockets, loads, self)
        self.settings = smtp
        self.hostname = smtp.hostname or settings.node.name
        self.limits = Limits(smtp.max_message_size, smtp.max_recipients, smtp.max_errors)
        self.submissions = submissions
        self.admission = admission
        self.input_budget = InputBudget()
        self._networks = tuple(ipaddress.ip_network(network) for network in smtp.trusted_networks)
        self._trust_of = functools.lru_cache(maxsize=4096)(self._look_up_trust)
        self._sessions: set[SmtpSession] = set()
        self._by_client: dict[str, int] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()
        self._empty.set()
        self.connections_open = 0
        self.connections_refused = 0

    def __repr__(self) -> str:
        state = "accepting" if self.acceptor.is_accepting else "not accepting"
        return f"<Listener {state}: {self.connections_open} sessions of {len(self._by_client)} clients>"

    def start(self) -> None:
        """Begin to accept; needs the running loop."""
        self.acceptor.start()
        self._timer = asyncio.get_running_loop().call_later(TICK, self._tick)

    def stop_accepting(self) -> None:
        self.acceptor.stop()

    async def drain(self) -> None:
        """Accept no more connections. Idle sessions get 421, the others get it after their message. Returns when all
        have ended."""
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

    def session_closed(self, session: SmtpSession) -> None:
        if session not in self._sessions:
            return
        self._sessions.remove(session)
        self.connections_open -= 1
        self.acceptor.tell()
        left = self._by_client[session.client] - 1
        if left:
            self._by_client[session.client] = left
        else:
            del self._by_client[session.client]
        if not self.connections_open:
            self._empty.set()

    def connected(self, connection: socket.socket, client: str) -> None:
        """Begin a session, or refuse it."""
        refusal = self._refusal_for(client)
        if refusal is not None:
            self.connections_refused += 1
            say_and_close(connection, refusal)
            return
        self._by_client[client] = self._by_client.get(client, 0) + 1
        self.connections_open += 1
        self.acceptor.tell()
        self._empty.clear()
        opening = asyncio.get_running_loop().create_task(self._open(connection, client))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)

    async def _open(self, connection: socket.socket, client: str) -> None:
        loop = asyncio.get_running_loop()
        session = SmtpSession(self, client, self._trust_of(client), loop.time)
        self._sessions.add(session)
        try:
            connection.setblocking(False)
            await loop.connect_accepted_socket(lambda: session, connection)
        except OSError as trouble:
            log.info("a client at %s closed its connection before the greeting: %s", client, trouble)
            connection.close()
            self.session_closed(session)

    @property
    def is_full(self) -> bool:
        return self.connections_open >= self.settings.max_connections

    def _refusal_for(self, client: str) -> bytes | None:
        if self.is_full:
            return TOO_MANY_CONNECTIONS
        if self._by_client.get(client, 0) >= self.settings.max_connections_per_client:
            return TOO_MANY_OF_CLIENT
        return None if self.acceptor.is_accepting else render(SHUTTING_DOWN)

    def _tick(self) -> None:
        self.acceptor.loads.decay()
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
