"""A connection that carries transactions: our protocol on a transport that was made ready for MAIL."""

import asyncio
from typing import Protocol

from mta.egress.dial import Line
from mta.egress.transaction import Transaction
from mta.model.phases import Phase
from mta.model.settings import DeliverySettings
from mta.policy.failures import Trouble, broken
from mta.smtp.client_machine import ClientMachine, Step
from mta.smtp.transparency import sent_size, wire_form
from mta.timing.clock import wall_ms

CHUNK = 64 * 1024
_DOT = b".\r\n"
_QUIT_TIMEOUT = 5.0
_DRAIN_POLL = 0.005  # how often a large body's last bytes are looked for in the transport's buffers
_NEVER = float("inf")
_DONE, _LOOK, _SEND = Step.DONE, Step.LOOK, Step.SEND


class Owner(Protocol):
    """Who decides for a connection; every call is synchronous."""

    def look(self, connection: "Connection", transaction: Transaction) -> None:
        """The server waits for the body, or for the dot of a large one: `go_on`, `hold` or `give_up` it."""
        ...

    def dot_written(self, connection: "Connection", transaction: Transaction) -> None: ...

    def ended(self, connection: "Connection", transaction: Transaction, trouble: Trouble | None) -> None:
        """The transaction has its results (in `connection.machine`), or trouble instead of some of them."""
        ...

    def rested(self, connection: "Connection") -> None:
        """A transaction that was given up is out of the way: the connection can take another."""
        ...

    def lost(self, connection: "Connection") -> None:
        """The connection is closed. Called once."""
        ...

    def held_too_long(self, connection: "Connection", transaction: Transaction) -> None: ...


class Connection(asyncio.Protocol):
    """One transaction at a time; a deadline that the owner's tick compares, so that no timer is made per message."""

    __slots__ = (
        "_body",
        "_clearing",
        "_loop",
        "_owner",
        "_paused",
        "_sent_body",
        "_settings",
        "carried",
        "closed",
        "deadline",
        "held",
        "line",
        "machine",
        "quitting",
        "retired",
        "transaction",
        "transport",
    )

    def __init__(self, owner: Owner, line: Line, settings: DeliverySettings, loop: asyncio.AbstractEventLoop) -> None:
        self._owner = owner
        self._settings = settings
        self._loop = loop
        self._paused = False
        self._body: memoryview | None = None  # of a large message, what is not written yet; without its dot
        self._sent_body = False
        self._clearing = False  # a transaction was given up, the replies to it are due
        self.line = line
        self.machine = ClientMachine(line.extensions)
        self.transport = line.transport
        self.transaction: Transaction | None = None
        self.carried = 0
        self.deadline = _NEVER
        self.held = False
        self.quitting = False
        self.retired = False  # takes no more after this transaction
        self.closed = False
        self.transport.set_protocol(self)

    @property
    def usable(self) -> bool:
        """Whether it can take transactions, now or after the one it has."""
        return not (self.closed or self.quitting or self.retired or self.machine.broken)

    @property
    def phase(self) -> Phase:
        return (
            Phase.BODY if self._sent_body and self.transaction and not self.transaction.dot_at else self.machine.phase
        )

    def run(self, transaction: Transaction) -> None:
        """Begin: MAIL, and all that may go with it, in one write. The content must be there."""
        content = transaction.content
        assert content is not None  # the outlet fetches it before
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
            self._owner.look(self, transaction)
        elif step is _SEND:
            self.transport.write(machine.output)
            self.deadline = self._loop.time() + self._settings.command_timeout
        elif machine.progress != before:  # part of a reply does not buy time
            self.deadline = self._loop.time() + self._settings.command_timeout

    def go_on(self) -> None:
        """The last look was passed: body and dot, or the next part of a large message."""
        self.held = False
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
        """The dot has no permit: wait with it."""
        if not self.held:
            self.held = True
            self.deadline = self._loop.time() + seconds

    def give_up(self) -> None:
        """End the transaction without its dot, and without a word to the owner: RSET where that does it (before the
        next MAIL), else the connection is closed."""
        self.transaction = None
        self.held = False
        self._body = None
        if self.machine.abandon():
            self._clearing = True
            self.deadline = self._loop.time() + self._settings.command_timeout
            return
        self.abort()

    def rest(self, seconds: float) -> None:
        """Idle from now on, for `seconds` at most."""
        self.deadline = self._loop.time() + seconds

    def close(self) -> None:
        """QUIT; the connection closes with its reply or soon after. Only without a transaction."""
        if self.closed or self.quitting:
            return
        self.quitting = True
        if self.transport.is_closing() or self.machine.broken:
            self.transport.close()
            return
        self.transport.write(b"QUIT\r\n")
        self.deadline = self._loop.time() + _QUIT_TIMEOUT

    def abort(self) -> None:
        self.quitting = True
        self.transport.abort()

    def expire(self, now: float) -> None:
        """Called with each tick: what has waited too long ends."""
        if now < self.deadline or self.closed:
            return
        self.deadline = _NEVER
        transaction = self.transaction
        if transaction is None:
            if self.quitting or self._clearing:
                self.abort()
            else:
                self.close()
        elif self.held:
            self._owner.held_too_long(self, transaction)
        else:
            self._fail(f"timed out {self.phase.value.partition(' (')[0]}")

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._body:
            self._write_body()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.closed:
            return
        self.closed = True
        if self.transaction is not None:
            self._fail("the connection was lost" + (f": {exc}" if exc is not None and str(exc) else ""))
        self._owner.lost(self)

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
        return f"<Connection {self.line.mta} -> {self.line.host}[{self.line.ip}] {what} carried={self.carried}>"

    def _done(self) -> None:
        transaction = self.transaction
        if transaction is None:
            self._clearing = False
            self._owner.rested(self)
            return
        self.transaction = None
        self._body = None
        self._sent_body = False
        trouble = None
        if self.machine.broken:
            phase = Phase.DOT if transaction.dot_at else self.machine.phase
            trouble = broken(phase, self.machine.broken, self.line.host, self.line.ip)
        self._owner.ended(self, transaction, trouble)

    def _fail(self, words: str) -> None:
        """The transaction ends with trouble, and the connection with it."""
        transaction = self.transaction
        assert transaction is not None
        phase = Phase.DOT if transaction.dot_at else self.phase
        self.transaction = None
        self._body = None
        self.machine.broken = self.machine.broken or words
        self.abort()
        self._owner.ended(self, transaction, broken(phase, words, self.line.host, self.line.ip))

    def _unasked(self, data: bytes) -> None:
        if self.quitting:
            self.transport.close()
            return
        self.machine.unsolicited(data)
        self.close()

    def _write_body(self) -> None:
        """Up to 64 KiB a write, while the transport takes them; the dot when all of them have left."""
        body = self._body
        assert body is not None
        while body and not self._paused:
            self.transport.write(bytes(body[:CHUNK]))
            body = body[CHUNK:]
        self._body = body
        self.deadline = self._loop.time() + self._settings.data_timeout
        if not body:
            self._when_sent()

    def _when_sent(self) -> None:
        transaction = self.transaction
        if transaction is None or self._body is None or self.closed:
            return
        raw = self.line.raw
        if self.transport.get_write_buffer_size() or (raw is not None and raw.get_write_buffer_size()):
            self._loop.call_later(_DRAIN_POLL, self._when_sent)
            return
        transaction.content = b""
        self._owner.look(self, transaction)

    def _dot(self, transaction: Transaction, data: bytes) -> None:
        self.transport.write(data)
        self.machine.dot_sent()
        transaction.dot_at = wall_ms()
        transaction.content = b""
        self._body = None
        self.deadline = self._loop.time() + self._settings.dot_timeout
        self._owner.dot_written(self, transaction)
