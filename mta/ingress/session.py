"""One client's connection: the server machine on a socket, with its deadlines and its backpressure."""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol, cast

from mta.admission.group_commit import SHUTTING_DOWN, Admission
from mta.ingress.input_budget import HEAVY, Ration
from mta.admission.submission import Reception
from mta.model.outcomes import Reply
from mta.model.settings import SmtpSettings
from mta.smtp.server_machine import Message, ServerMachine, State

log = logging.getLogger(__name__)

BUFFER = HEAVY  # octets of input kept while a message waits for its reply
CLOSING_TIME = 10.0  # seconds for the last reply to go out

# As names of the module: members of an enum cost a look-up through its class at each use.
_DATA, _REPLY, _CLOSED = State.DATA, State.REPLY, State.CLOSED

TIMED_OUT = Reply(421, "4.4.2", "timeout, closing")
SESSION_OVER = Reply(421, "4.4.2", "the session lasted too long, closing")
INTERNAL = Reply(421, "4.3.0", "internal error, closing")


class House(Protocol):
    """What a session reports to: its listener."""

    refused: int
    ration: Ration

    def left(self, session: "Session") -> None: ...


class Session(asyncio.Protocol):
    """Drives a ServerMachine; all it does are callbacks of its transport, its deadline or its message's reply."""

    def __init__(
        self,
        house: House,
        client: str,
        trusted: bool,
        settings: SmtpSettings,
        reception: Reception,
        admission: Admission,
        clock: Callable[[], float],
    ) -> None:
        """`client` is an IP address; `clock` is the loop's."""
        self.client = client
        self._house = house
        self._settings = settings
        self._reception = reception
        self._admission = admission
        self._clock = clock
        self._transport: asyncio.Transport | None = None
        self._machine = ServerMachine(
            reception.hostname,
            max_message_size=settings.max_message_size,
            max_recipients=settings.max_recipients,
            max_errors=settings.max_errors,
            may_relay=trusted,
            normalizes=trusted and settings.bare_newline == "normalize",
            gate=admission.gate,
        )
        now = clock()
        self._ends_at = now + settings.session_timeout
        self._deadline = now + settings.command_timeout
        self._progress = 0  # the machine's when the deadline was set
        self._closing = False
        self._draining = False
        self._heavy = False  # it is counted in the ration
        self._rationed = False
        self._input_stopped = False
        self._output_stopped = False
        self._input_ended = False

    def __repr__(self) -> str:
        return f"<Session {self.client} {'closing' if self._closing else self._machine!r}>"

    # The transport's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._machine.greet()
        self._write()

    def data_received(self, data: bytes) -> None:
        machine = self._machine
        try:
            message = machine.receive(data)
            if message is not None:
                self._handle(message)
        except Exception:  # a bug costs this session only
            log.exception("a session failed: %r", self)
            self._close(INTERNAL)
            return
        if self._heavy or machine.buffered > HEAVY:
            self._weigh()
        if self._draining and machine.is_idle():
            machine.close(SHUTTING_DOWN)
        self._write()

    def eof_received(self) -> bool:
        """A client may end its side and still wait for the replies."""
        self._input_ended = True
        return self._machine.state is _REPLY and not self._closing

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._transport = None
        self._house.ration.weigh(self, 0)
        self._house.left(self)

    def pause_writing(self) -> None:
        """The client does not read its replies: take no more of its commands."""
        self._output_stopped = True
        self._stop_input()

    def resume_writing(self) -> None:
        self._output_stopped = False
        self._let_input_flow()

    # The listener's calls

    def check(self, now: float) -> None:
        """Called about once a second: close what is past its deadline.

        The time for the next command or message begins with the first look after the one before it was completed and
        answered, so that no command asks for the time; octets prolong nothing."""
        machine = self._machine
        if self._closing:
            if now >= self._deadline and self._transport is not None:
                self._transport.abort()
        elif machine.state is not _REPLY:
            if machine.progress != self._progress:
                self._progress = machine.progress
                receiving = machine.state is _DATA
                self._deadline = now + (self._settings.data_timeout if receiving else self._settings.command_timeout)
            if now >= self._deadline:
                self._close(TIMED_OUT)
            elif now >= self._ends_at:
                self._close(SESSION_OVER)

    def drain(self) -> None:
        """421 at once when idle, else after the current message."""
        self._draining = True
        if self._machine.is_idle():
            self._close(SHUTTING_DOWN)

    def abort(self) -> None:
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    # Messages

    def _handle(self, first: Message) -> None:
        """Hand messages over until one waits for the store; refusals are answered here."""
        machine = self._machine
        message: Message | None = first
        while message is not None:
            message_id, now_ms = self._admission.next_id()
            read = self._reception.read(message, message_id, self.client, machine.helo, machine.esmtp, now_ms)
            if isinstance(read, Reply):
                self._house.refused += 1
                message = machine.reply_to_data(read)
                continue
            reply = self._admission.submit(read, self._settled)
            if reply is None:
                return
            message = machine.reply_to_data(reply)

    def _settled(self, reply: Reply | None) -> None:
        """The store's answer to the message that this session waits for."""
        if self._closing:
            return
        if reply is None:
            self.abort()
            return
        machine = self._machine
        try:
            message = machine.reply_to_data(reply)
            if message is not None:
                self._handle(message)
            elif self._draining:
                machine.close(SHUTTING_DOWN)
        except Exception:
            log.exception("a session failed: %r", self)
            self._close(INTERNAL)
            return
        if self._heavy or machine.buffered > HEAVY:
            self._weigh()
        if self._input_stopped and not self._output_stopped:
            self._let_input_flow()
        if self._input_ended and machine.state is not _REPLY:
            self._finish()
        else:
            self._write()

    # Output, backpressure

    def _write(self) -> None:
        machine = self._machine
        if machine.state is _CLOSED:
            self._finish()
        elif self._transport is not None and not self._closing and (output := machine.take_output()):
            self._transport.write(output)

    def _close(self, reply: Reply) -> None:
        self._machine.close(reply)
        self._write()

    def _finish(self) -> None:
        """Write what is left and close; `check` aborts a client that does not read it."""
        if self._transport is None or self._closing:
            return
        self._closing = True
        if self._machine.is_foreign:
            log.info("closed a connection from %s: it sent HTTP or TLS where SMTP is spoken", self.client)
        self._deadline = self._clock() + CLOSING_TIME
        output = self._machine.take_output()
        if output:
            self._transport.write(output)
        self._transport.close()

    def _weigh(self) -> None:
        """Called where it keeps much, or did: stop the input while a message waits, or where the ration says so."""
        machine = self._machine
        kept = machine.buffered
        self._heavy = kept > HEAVY
        if machine.state is _REPLY and kept > BUFFER:
            self._stop_input()
        if not self._house.ration.weigh(self, kept):
            self._rationed = True
            self._stop_input()

    def read_on(self) -> None:
        """The ration's word."""
        self._rationed = False
        if not self._output_stopped:
            self._let_input_flow()

    def _stop_input(self) -> None:
        if self._transport is not None and not self._closing and not self._input_stopped:
            self._input_stopped = True
            self._transport.pause_reading()

    def _let_input_flow(self) -> None:
        if self._rationed or (self._machine.state is _REPLY and self._machine.buffered > BUFFER):
            return
        if self._transport is not None and not self._closing and self._input_stopped:
            self._input_stopped = False
            self._transport.resume_reading()
