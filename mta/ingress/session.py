"""One client's SMTP connection: it drives a ServerMachine, enforces deadlines, and pauses reading."""

import asyncio
import enum
import logging
from collections.abc import Callable
from typing import Final, Protocol, cast

from mta.ingress.input_budget import HEAVY, InputBudget
from mta.model.outcomes import Reply
from mta.model.settings import SmtpSettings
from mta.ports.admission import SHUTTING_DOWN, Admission, Requester, Submission, Submissions
from mta.smtp.server_machine import Message, ServerMachine
from mta.smtp.server_session import Limits, State, Trust

log = logging.getLogger(__name__)

MOST_KEPT: Final = HEAVY  # octets of input kept while a message waits for its reply
CLOSING_TIME: Final = 10.0  # seconds that a client has to read the last reply

TIMED_OUT: Final = Reply(421, "4.4.2", "timeout, closing")
SESSION_OVER: Final = Reply(421, "4.4.2", "the session lasted too long, closing")
INTERNAL: Final = Reply(421, "4.3.0", "internal error, closing")


class SessionPhase(enum.Enum):
    """The phase of a connection; a connection never returns to an earlier one."""

    OPEN = "open"
    INPUT_ENDED = "the client sends nothing more, and waits for its replies"
    DRAINING = "the session ends after the current message"
    CLOSING = "the session writes its last reply"
    CLOSED = "closed"


class Pause(enum.Enum):
    """A reason not to read input."""

    OUTPUT = "the client does not read its replies"
    MESSAGE = "a message waits for its reply, and much input has followed it"
    BUDGET = "the input budget is used up"


_DATA, _REPLY, _MACHINE_CLOSED = State.DATA, State.REPLY, State.CLOSED
_OPEN, _INPUT_ENDED, _DRAINING = SessionPhase.OPEN, SessionPhase.INPUT_ENDED, SessionPhase.DRAINING
_CLOSING, _CLOSED = SessionPhase.CLOSING, SessionPhase.CLOSED


class SessionOwner(Protocol):
    """The listener, as its sessions see it."""

    settings: SmtpSettings
    hostname: str
    limits: Limits
    admission: Admission
    submissions: Submissions
    input_budget: InputBudget

    def session_closed(self, session: "SmtpSession") -> None:
        """The session's connection was closed or lost."""
        ...


class SmtpSession(asyncio.Protocol):
    """Drives a ServerMachine. Only the transport, the listener and the reply to a message call it; it has no task."""

    def __init__(self, owner: SessionOwner, client: str, trust: Trust, clock: Callable[[], float]) -> None:
        """`client` is an IP address; `clock` is the loop's."""
        self.client = client
        self._owner = owner
        self._clock = clock
        self._transport: asyncio.Transport | None = None
        self._machine = ServerMachine(owner.hostname, trust, owner.limits, owner.admission.refusal)
        now = clock()
        self._ends_at = now + owner.settings.session_timeout
        self._deadline = now + owner.settings.command_timeout
        self._progress = 0  # `progress` of the machine when the deadline was set
        self._phase = _OPEN
        self._pauses: set[Pause] = set()
        self._heavy = False  # the input budget counts this session
        self._requester: Requester | None = None

    def __repr__(self) -> str:
        return f"<SmtpSession {self.client} {self._phase.value}: {self._machine!r}>"

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
                self._submit(message)
        except Exception:  # a bug costs this session only
            log.exception("a session failed: %r", self)
            self._close(INTERNAL)
            return
        if self._heavy or len(machine.buffer) > HEAVY:
            self._charge()
        if self._phase is _DRAINING and machine.is_idle():
            machine.close(SHUTTING_DOWN)
        if machine.output:
            self._write()

    def eof_received(self) -> bool:
        """The client sends nothing more. It may still wait for its replies; True keeps the transport open for them."""
        if self._phase is _OPEN:
            self._enter(_INPUT_ENDED)
        return self._machine.state is _REPLY and not self._is_ending

    def connection_lost(self, exc: Exception | None) -> None:
        self._enter(_CLOSED)
        self._transport = None
        self._owner.input_budget.charge(self, 0)
        self._owner.session_closed(self)

    def pause_writing(self) -> None:
        """The client does not read its replies: read no more of its commands."""
        self._pause(Pause.OUTPUT)

    def resume_writing(self) -> None:
        self._resume(Pause.OUTPUT)

    # The listener's calls

    def check(self, now: float) -> None:
        """Called about once a second: close the session when it is past its deadline.

        Commands do not read the clock. The first check after a command or message was completed sets the deadline for
        the next one. Partial input does not extend a deadline."""
        machine = self._machine
        if self._is_ending:
            if now >= self._deadline and self._transport is not None:
                self._transport.abort()
        elif machine.state is not _REPLY:
            if machine.progress != self._progress:
                self._progress = machine.progress
                settings = self._owner.settings
                self._deadline = now + (settings.data_timeout if machine.state is _DATA else settings.command_timeout)
            if now >= self._deadline:
                self._close(TIMED_OUT)
            elif now >= self._ends_at:
                self._close(SESSION_OVER)

    def drain(self) -> None:
        """End the session with 421: at once if it is idle, else after the current message."""
        if not self._is_ending:
            self._enter(_DRAINING)
        if self._machine.is_idle():
            self._close(SHUTTING_DOWN)

    def abort(self) -> None:
        self._enter(_CLOSED)
        if self._transport is not None:
            self._transport.abort()

    # Messages

    def _submit(self, first: Message) -> None:
        """Submit messages until one waits for the store. Answer those that the submission refuses at once."""
        machine, submissions = self._machine, self._owner.submissions
        message: Message | None = first
        while message is not None:
            submission = Submission(
                self._requester_now(), message.sender, message.recipients, message.content, message.hold
            )
            reply = submissions.submit(submission, self._answered)
            if reply is None:
                return
            message = machine.reply_to_data(reply)

    def _requester_now(self) -> Requester:
        """The client by its last EHLO or HELO; made once for many messages."""
        machine, requester = self._machine, self._requester
        protocol = "ESMTP" if machine.esmtp else "SMTP"
        if requester is None or requester.name != machine.helo or requester.protocol != protocol:
            requester = self._requester = Requester(self.client, machine.helo, protocol)
        return requester

    def _answered(self, reply: Reply | None) -> None:
        """The reply to the submitted message; None: its result is unknown, so the client gets no reply."""
        phase = self._phase
        if phase is _CLOSING or phase is _CLOSED:
            return
        if reply is None:
            self.abort()
            return
        machine = self._machine
        try:
            message = machine.reply_to_data(reply)
            if message is not None:
                self._submit(message)
            if self._phase is _DRAINING and machine.state is not _REPLY:
                machine.close(SHUTTING_DOWN)
        except Exception:
            log.exception("a session failed: %r", self)
            self._close(INTERNAL)
            return
        if self._heavy or len(machine.buffer) > HEAVY:
            self._charge()
        if self._pauses and not self._is_full_of_input:
            self._resume(Pause.MESSAGE)
        if self._phase is _INPUT_ENDED and machine.state is not _REPLY:
            self._finish()
        else:
            self._write()

    # Output and the end

    def _write(self) -> None:
        machine, phase = self._machine, self._phase
        if machine.state is _MACHINE_CLOSED:
            self._finish()
        elif phase is _CLOSING or phase is _CLOSED or self._transport is None:
            pass  # the last reply was written
        elif output := machine.take_output():
            self._transport.write(output)

    def _close(self, reply: Reply) -> None:
        self._machine.close(reply)
        self._write()

    def _finish(self) -> None:
        """Write the last replies and close the connection; `check` aborts it if the client does not read them."""
        if self._transport is None or self._is_ending:
            return
        self._enter(_CLOSING)
        if self._machine.is_foreign:
            log.info("closed a connection from %s: the client sent HTTP or TLS to the SMTP port", self.client)
        self._deadline = self._clock() + CLOSING_TIME
        output = self._machine.take_output()
        if output:
            self._transport.write(output)
        self._transport.close()

    @property
    def _is_ending(self) -> bool:
        return self._phase is _CLOSING or self._phase is _CLOSED

    def _enter(self, phase: SessionPhase) -> None:
        self._phase = phase
        log.debug("a session of %s: %s", self.client, phase.value)

    # Input

    @property
    def _is_full_of_input(self) -> bool:
        return self._machine.state is _REPLY and self._machine.buffered > MOST_KEPT

    def _charge(self) -> None:
        """Tell the input budget how much input this session keeps. Pause reading while a message waits and much input
        has followed it, or while the budget is used up."""
        kept = self._machine.buffered
        self._heavy = kept > HEAVY
        if self._is_full_of_input:
            self._pause(Pause.MESSAGE)
        if self._owner.input_budget.charge(self, kept):
            self._resume(Pause.BUDGET)
        else:
            self._pause(Pause.BUDGET)

    def resume(self) -> None:
        """Called by the input budget."""
        self._resume(Pause.BUDGET)

    def _pause(self, why: Pause) -> None:
        if self._transport is not None and not self._is_ending:
            if not self._pauses:
                self._transport.pause_reading()
            self._pauses.add(why)

    def _resume(self, why: Pause) -> None:
        if why in self._pauses:
            self._pauses.discard(why)
            if not self._pauses and self._transport is not None and not self._is_ending:
                self._transport.resume_reading()
