"""A connection that carries transactions: an asyncio protocol on a transport that is ready for MAIL."""

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Protocol

from mta.egress.connect import Connected
from mta.egress.connection_budget import LATELY
from mta.egress.transaction import Transaction
from mta.egress.unread import has_unread, left_over
from mta.egress.waiting import Waiting
from mta.model.phases import Phase
from mta.model.settings import DeliverySettings
from mta.policy.failures import Trouble, broken
from mta.smtp.client_machine import ClientMachine, Step
from mta.smtp.transparency import sent_size, wire_form
from mta.timing.clock import wall_ms

if TYPE_CHECKING:
    from mta.egress.shared_connections import Way

CHUNK = 64 * 1024
_DOT = b".\r\n"
_QUIT_TIMEOUT = 5.0
_KNOWN_TIMEOUT = 3.0  # seconds for the last replies of a transaction after the server refused every recipient
_CLEAR_TIMEOUT = 5.0  # seconds for the replies to an abandoned transaction
_DRAIN_POLL = 0.005  # seconds between looks at whether the transport has sent the last bytes of a large body
_NEVER = float("inf")
_DONE, _LOOK, _SEND = Step.DONE, Step.LOOK, Step.SEND

_log = logging.getLogger(__name__)


class ConnectionOwner(Protocol):
    """The outlet, as its connections see it. Every call is synchronous."""

    def transaction_ended(self, connection: "Connection", transaction: Transaction, trouble: Trouble | None) -> None:
        """The transaction has its results (in `connection.machine`), or trouble instead of some of them."""
        ...

    def connection_free(self, connection: "Connection") -> None:
        """The server has answered all commands of an abandoned transaction: the connection can carry another one."""
        ...

    def connection_lost(self, connection: "Connection") -> None:
        """The connection is closed. Called once."""
        ...

    def leave(self, connection: "Connection") -> None:
        """The connection, which has no transaction, goes to another owner."""
        ...


class DotChecks(Protocol):
    """The decisions about final dots. Every call is synchronous."""

    def before_dot(self, connection: "Connection", transaction: Transaction) -> None:
        """The server waits for the body, or for the dot of a large one. Call `proceed`, `hold` or `abandon`."""
        ...

    def held_too_long(self, connection: "Connection", transaction: Transaction) -> None:
        """The dot has waited for the seconds that `hold` gave."""
        ...

    def dot_written(self, connection: "Connection", transaction: Transaction) -> None:
        """The connection has written the dot to the transport."""
        ...


class Connection(asyncio.Protocol):
    """Carries one transaction at a time. The owner's tick checks the deadline, so a message needs no timer."""

    __slots__ = (
        "_body", "_clearing", "_cut_short", "_dots", "_loop", "_paused", "_sent_body", "_settings",
        "carried", "closed", "deadline", "held", "idle", "machine", "onward", "owner", "peer", "quitting",
        "refuses", "retired", "slot", "target", "transaction", "transport", "turn_from", "waiting", "way",
    )  # fmt: skip

    def __init__(
        self,
        owner: ConnectionOwner,
        dots: DotChecks,
        connected: Connected,
        settings: DeliverySettings,
        loop: asyncio.AbstractEventLoop,
        waiting: Waiting,
        idle: "deque[Connection]",
    ) -> None:
        """`waiting`: the transactions for the host. The owner keeps an idle connection in `idle`."""
        self.owner = owner
        self._dots = dots
        self._settings = settings
        self._loop = loop
        self._paused = False
        self._body: memoryview | None = None  # the unwritten rest of a large message, without its dot
        self._sent_body = False
        self._cut_short = False  # a body was begun and abandoned: no more of it may leave
        self._clearing = False  # a transaction was abandoned, and the server still owes replies to it
        self.peer = peer = connected.peer
        self.slot = connected.slot
        self.target = connected.target
        self.turn_from = 0  # what it had carried when it came to its owner
        self.way: Way | None = None  # whose outlets may use it, None = only its owner
        self.waiting = waiting
        self.idle = idle
        self.machine = ClientMachine(peer.extensions)
        self.transport = peer.transport
        self.transaction: Transaction | None = None
        self.carried = 0
        self.deadline = _NEVER
        self.held = False
        self.quitting = False
        self.retired = False  # the connection carries no transaction after this one
        self.refuses = False  # the server refused a message that is tried once more on a new connection
        self.onward = connected.onward  # the hosts and routes that come after this one
        self.closed = False
        self.transport.set_protocol(self)

    def move(self, owner: ConnectionOwner, waiting: Waiting, idle: "deque[Connection]") -> None:
        """The connection, which has no transaction, goes to another owner."""
        self.owner = owner
        self.waiting = waiting
        self.idle = idle
        self.turn_from = self.carried

    @property
    def usable(self) -> bool:
        """Whether the connection can carry another transaction, now or after the running one."""
        return not (self.closed or self.quitting or self.retired or self.machine.broken)

    def productive(self, now: float) -> bool:
        """Whether the connection has carried a transaction and the next one does not hang."""
        if self.carried - bool(self.machine.broken) - (self.transaction is not None) < 1:
            return False
        return self.transaction is None or now - self.transaction.begun_at < LATELY

    def silence(self, now: float) -> float:
        """Seconds without a reply to a transaction that has not handed over its dot; 0.0 without such a transaction."""
        transaction = self.transaction
        if transaction is None or transaction.dot_at or self.held:
            return 0.0
        settings = self._settings
        return now - self.deadline + (settings.data_timeout if self._sent_body else settings.command_timeout)

    @property
    def phase(self) -> Phase:
        return self.machine.phase

    def run(self, transaction: Transaction) -> None:
        """Begin the transaction: write MAIL and the commands pipelined with it. The content must be there."""
        content = transaction.content
        assert content is not None  # it was fetched before
        self.transaction = transaction
        self.carried += 1
        transaction.begun_at = now = self._loop.time()
        self.deadline = now + self._settings.command_timeout
        first = transaction.claims[0]
        self.transport.write(
            self.machine.begin(transaction.sender, transaction.recipients, sent_size(content), first.record.needs_8bit)
        )

    def data_received(self, data: bytes) -> None:
        transaction = self.transaction
        machine = self.machine
        if transaction is None and not self._clearing:
            self._unasked(data)
            return
        before = machine.progress
        step = machine.receive(data)
        if step is _DONE:
            self._done()
        elif step is _LOOK and transaction is not None:
            self._dots.before_dot(self, transaction)
        elif step is _SEND:
            self.transport.write(machine.output)
            self._wait_on()
        elif machine.progress != before:  # a part of a reply does not extend the deadline
            self._wait_on()

    def _wait_on(self) -> None:
        """Set the deadline of the next reply; a short one if no outcome depends on that reply."""
        seconds = self._settings.command_timeout
        self.deadline = self._loop.time() + (min(seconds, _KNOWN_TIMEOUT) if self.machine.refusals else seconds)

    def proceed(self) -> None:
        """Write body and dot, or the next part of a large message, after the last look allowed it."""
        self.held = False
        if self.transport.is_closing():  # the transport would drop a write; `connection_lost` follows
            return
        transaction = self.transaction
        assert transaction is not None
        assert transaction.content is not None
        if self._body is not None:
            self._dot(transaction, _DOT)
            return
        wire = wire_form(transaction.content)
        if len(wire) <= CHUNK:
            self._dot(transaction, wire)
            return
        transaction.content = None
        self._sent_body = True
        self._body = memoryview(wire)[: -len(_DOT)]
        self._write_body()

    def hold(self, seconds: float) -> None:
        """Hold the dot for up to `seconds`, because there is no permit."""
        if not self.held:
            self.held = True
            self.deadline = self._loop.time() + seconds
            _log.debug("%r waits for a permit for its dot", self)

    def abandon(self) -> None:
        """End the transaction without its dot and without a call of the owner. If DATA was not sent, RSET before the
        next MAIL ends it; else the connection is closed."""
        _log.debug("%r abandons its transaction", self)
        self.transaction = None
        self.held = False
        self._body = None
        if self.machine.abandon():
            self._clearing = True
            self.deadline = self._loop.time() + min(self._settings.command_timeout, _CLEAR_TIMEOUT)
            return
        self.close_now()

    def expire_in(self, seconds: float) -> None:
        """Close the connection in `seconds`, unless a transaction begins before."""
        self.deadline = self._loop.time() + seconds

    def close(self) -> None:
        """Send QUIT and close. Where limits count the connection, wait for the reply, so that the server has closed it
        when the next one comes. The connection must have no transaction."""
        if self.closed or self.quitting:
            return
        _log.debug("%r closes", self)
        self.quitting = True
        if self._cut_short:
            self.transport.abort()
            return
        if self.transport.is_closing() or self.machine.broken:
            self.transport.close()
            return
        self.transport.write(b"QUIT\r\n")
        self.deadline = self._loop.time() + _QUIT_TIMEOUT
        if not self.slot.is_counted:
            self.transport.close()

    def close_now(self) -> None:
        """Close without QUIT; a running transaction ends with trouble."""
        self.quitting = True
        self.transport.abort()

    def expire(self, now: float) -> None:
        """Called at each tick: end the transaction or the connection if its deadline has passed."""
        if now < self.deadline or self.closed:
            return
        self.deadline = _NEVER
        transaction = self.transaction
        if transaction is None:
            if self.quitting or self._clearing:
                self.close_now()
            else:
                self.close()
        elif self.held:
            self._dots.held_too_long(self, transaction)
        else:
            self._fail(f"timed out {self.phase.value}")

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._write_more()

    def eof_received(self) -> None:
        """The server sends nothing more, so the commands without a reply stay without one."""
        if self.transaction is not None:
            self._fail("the connection was lost")

    def connection_lost(self, exc: Exception | None) -> None:
        if self.closed:
            return
        _log.debug("%r was closed%s", self, "" if exc is None else f": {exc}")
        self.closed = True
        if self.transaction is not None and exc is not None:
            self._read_left_over()
        if self.transaction is not None:
            self._fail("the connection was lost" + (f": {exc}" if exc is not None and str(exc) else ""))
        self.owner.connection_lost(self)

    def __repr__(self) -> str:
        what = (
            "closed"
            if self.closed
            else "quitting"
            if self.quitting
            else f"{self.phase.value}{', held' if self.held else ''}"
            if self.transaction
            else "clearing"
            if self._clearing
            else "idle"
        )
        return f"<Connection {self.peer.mta} -> {self.peer.host}[{self.peer.ip}] {what} carried={self.carried}>"

    def _done(self) -> None:
        transaction = self.transaction
        if transaction is None:
            self._clearing = False
            self.owner.connection_free(self)
            return
        self._cut_short = self._sent_body and not transaction.dot_at
        self.transaction = None
        self.held = False
        self._body = None
        self._sent_body = False
        self.owner.transaction_ended(self, transaction, self._trouble(transaction) if self.machine.broken else None)

    def _fail(self, words: str) -> None:
        """End the transaction with trouble, and close the connection."""
        transaction = self.transaction
        assert transaction is not None
        _log.debug("%r fails: %s", self, words)
        machine = self.machine
        machine.ended()
        machine.broken = machine.broken or words
        trouble = self._trouble(transaction)
        self.transaction = None
        self._body = None
        self.close_now()
        self.owner.transaction_ended(self, transaction, trouble)

    def _trouble(self, transaction: Transaction) -> Trouble:
        """The trouble for the fault that the machine has found."""
        machine, peer = self.machine, self.peer
        phase = Phase.DOT if transaction.dot_at else machine.phase
        return broken(phase, machine.broken, peer.host, peer.ip, machine.unintelligible)

    def _read_left_over(self) -> None:
        """Read the reply that may wait in the socket after a write failed: a server that refuses a large message while
        it is sent answers and closes the connection."""
        if self.peer.raw is not None:  # under TLS the socket has no plain text
            return
        for data in left_over(self.transport):
            if self.machine.receive(data) is _DONE:
                self._done()
                return

    def _unasked(self, data: bytes) -> None:
        if self.quitting:
            self.transport.close()
            return
        self.machine.unsolicited(data)
        self.close()

    def _write_body(self) -> None:
        """Write the body in parts of up to 64 KiB while the transport takes them, and the dot after all have left."""
        body = self._body
        assert body is not None
        while body and not self._paused:
            if self._has_unread():
                self._loop.call_soon(self._write_more)
                break
            self.transport.write(bytes(body[:CHUNK]))
            body = body[CHUNK:]
        self._body = body
        self.deadline = self._loop.time() + self._settings.data_timeout
        if not body:
            self._when_sent()

    def _write_more(self) -> None:
        if self._body and not self.transport.is_closing():
            self._write_body()

    def _has_unread(self) -> bool:
        """Whether the socket has a reply, which must be read before the next part of a large message is written."""
        return has_unread(self.peer.raw or self.transport)

    def _when_sent(self) -> None:
        transaction = self.transaction
        if transaction is None or self._body is None or self.transport.is_closing():
            return
        raw = self.peer.raw
        if self.transport.get_write_buffer_size() or (raw is not None and raw.get_write_buffer_size()):
            self._loop.call_later(_DRAIN_POLL, self._when_sent)
            return
        if self._has_unread():
            self._loop.call_soon(self._when_sent)
            return
        transaction.content = b""
        self._dots.before_dot(self, transaction)

    def _dot(self, transaction: Transaction, data: bytes) -> None:
        self.transport.write(data)
        self.machine.dot_sent()
        transaction.dot_at = wall_ms()
        transaction.content = b""
        self._body = None
        self.deadline = self._loop.time() + self._settings.dot_timeout
        self._dots.dot_written(self, transaction)
