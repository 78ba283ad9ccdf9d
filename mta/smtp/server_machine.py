"""The server side of one SMTP session as a machine without I/O: bytes in, messages and reply bytes out.

Only `<CR><LF>` ends a line and only `<CR><LF>.<CR><LF>` ends a message (RFC 5321 2.3.8, 4.1.1.4). The replies depend on
the bytes alone, never on their division into segments. While a message waits for its reply, the machine keeps further
input and answers none of it, so replies keep the order of the commands (RFC 2920).
"""

from collections.abc import Callable
from typing import Final

import msgspec

from mta.model.injection import Hold
from mta.model.outcomes import Reply
from mta.smtp import replies
from mta.smtp.command_lines import COMMAND_LINE, KEPT_OF_A_LINE, is_of_http, is_of_tls, objection
from mta.smtp.grammar import plain_envelope
from mta.smtp.server_session import Limits, ServerSession, State, Trust
from mta.smtp.transparency import END_OF_DATA
from mta.smtp.verbs import NOT_OFFERED, VERBS

_SHORT_LINE: Final = COMMAND_LINE - 2  # octets without CRLF; `objection` may have a complaint about longer lines
_OF_DATA: Final = 2  # octets of the CRLF behind DATA, which is kept until content follows
_PERMANENT: Final = ord("5")  # first octet of a reply that counts as an error

_COMMAND, _DATA, _REPLY, _CLOSED = State.COMMAND, State.DATA, State.REPLY, State.CLOSED


class Message(msgspec.Struct, gc=False):
    """A message that was received completely."""

    sender: str  # "" is the null sender
    recipients: tuple[str, ...]
    content: bytes  # dots unstuffed, every line ends with CRLF
    body: str  # the BODY parameter, "" = none given
    hold: Hold | None = None


class ServerMachine(ServerSession):
    """The owner calls `receive` with bytes, submits the Message that it returns, gives the reply to `reply_to_data`,
    and writes the bytes of `take_output`."""

    __slots__ = ("_cut_line", "_position", "buffer", "progress")

    def __init__(
        self,
        hostname: str,
        trust: Trust,
        limits: Limits,
        refusal: Callable[[], Reply | None] | None = None,
    ) -> None:
        """Each MAIL calls `refusal`, which returns a reply while no message may come."""
        super().__init__(hostname, trust, limits, refusal)
        self.progress = 0  # number of complete commands and messages
        self.buffer = bytearray()  # input that is not processed yet
        self._position = 0  # of the line being read; in DATA of the CRLF before the content
        self._cut_line: bytes | None = None  # the first octets of an over-long line; those that follow are discarded

    def __repr__(self) -> str:
        return (
            f"<ServerMachine {self.state.value}: helo={self.helo!r} recipients={len(self.recipients)}"
            f" buffered={self.buffered} errors={self.errors.errors}>"
        )

    @property
    def buffered(self) -> int:
        """Octets of input that the machine has not processed yet."""
        return len(self.buffer)

    def is_idle(self) -> bool:
        """Whether no transaction and no command has begun."""
        return self.state is _COMMAND and self.sender is None and not self.buffer

    def greet(self) -> None:
        self.output.append(f"220 {self.hostname} ESMTP\r\n".encode())

    def receive(self, data: bytes) -> Message | None:
        """Process a segment. Returns the message that it completes, which waits for `reply_to_data`."""
        state = self.state
        if state is _COMMAND and not self.buffer:
            if self._begin_plain(data):
                return None
            # Commands that come whole need no buffer.
            data = data[self._handle_lines(data, 0) :]
            if data == b"\r\n":  # of DATA: no content has come
                self.buffer += data
                return None
            state = self.state
        if state is _CLOSED or not data:
            return None
        if state is _DATA and len(self.buffer) == _OF_DATA and (content := self.data_phase.whole_content(data)):
            self.progress += 1
            self.buffer.clear()
            return self._message(content)
        self.buffer += data
        return None if state is _REPLY else self._advance()

    def reply_to_data(self, reply: Reply) -> Message | None:
        """Answer the message and process the input that came meanwhile. Returns the next message if that completes
        one."""
        if self.state is not _REPLY:
            return None
        self.state = _COMMAND
        self.reset_transaction()
        if 200 <= reply.code < 300:
            self.errors.forget()
        self.say(reply)
        return self._advance() if self.buffer and self.state is _COMMAND else None

    def close(self, reply: Reply) -> None:
        """Give a last reply (421) and ignore all further input."""
        if self.state is not _CLOSED:
            self.say(reply)
            self.end()

    def take_output(self) -> bytes:
        """The replies since the last call, in order."""
        joined = b"".join(self.output)
        self.output.clear()
        return joined

    def end(self) -> None:
        super().end()
        self.buffer.clear()
        self._position = 0

    def _advance(self) -> Message | None:
        buffer = self.buffer
        message = None
        while message is None and self._position < len(buffer):
            if self.state is _COMMAND:
                self._position = self._handle_lines(bytes(buffer), self._position)
                if self.state is _COMMAND:
                    self._discard_long_line()
                    break
            elif self.state is _DATA:
                end = self.data_phase.find_end(buffer, self._position)
                if end < 0:
                    self._position = self.data_phase.keep_bounded(buffer, self._position)
                    break
                message = self._take_message(end)
            else:
                break
        if self._position:
            del buffer[: self._position]
            self._position = 0
        return message

    # Commands

    def _begin_plain(self, data: bytes) -> bool:
        """Begin a transaction by a segment that is a plain envelope, as its lines would begin it. False: nothing was
        done."""
        if self.sender is not None or not self.helo or not self.trust.may_relay or self._cut_line is not None:
            return False
        envelope = plain_envelope(data)
        if envelope is None or (self.refusal is not None and self.refusal() is not None):
            return False
        self.progress += 3
        self.sender, recipient = envelope
        self.recipients.add(recipient)
        self.state = _DATA
        self.data_phase.begin()
        self.buffer += b"\r\n"  # of DATA: it may be the beginning of the end of data
        self.output.append(replies.ENVELOPE_OK)
        return True

    def _handle_lines(self, octets: bytes, start: int) -> int:
        """Handle the complete lines from `start` on, up to one after which no command may follow. Returns the position
        of the octets behind them; after DATA that of its CRLF, which may be the first octets of the end of data."""
        while self.state is _COMMAND:
            end = octets.find(b"\r\n", start)
            if end < 0:
                return start
            self._handle_line(octets[start:end])
            start = end + 2
        return start - 2 if self.state is _DATA else start

    def _discard_long_line(self) -> None:
        """Discard octets of an over-long line. The line gets one reply, at its end. TLS has no line end, so it is
        refused at once."""
        buffer = self.buffer
        start = self._position
        if self._cut_line is None and is_of_tls(buffer, start):
            self.refuse_protocol()
        elif len(buffer) - start > KEPT_OF_A_LINE:
            if self._cut_line is None:
                self._cut_line = bytes(buffer[start : start + COMMAND_LINE])
            self._position = len(buffer) - buffer.endswith(b"\r")

    def _handle_line(self, line: bytes) -> None:
        self.progress += 1
        verb = line[:5].rstrip(b" ").upper()  # all known verbs have four letters
        command = VERBS.get(verb)
        answer: bytes | None = None
        if self._cut_line is not None or len(line) > _SHORT_LINE or b"\r" in line or b"\n" in line:
            answer = objection(line, verb, self._cut_line is not None)
        if answer is None:
            if command is not None:
                answer = command(self, line[5:].rstrip(b" "))
            else:
                word = line.partition(b" ")[0].upper()
                answer = replies.NOT_IMPLEMENTED if word in NOT_OFFERED else replies.UNKNOWN_COMMAND
        if answer is None:
            return
        if answer[0] == _PERMANENT:
            front, self._cut_line = self._cut_line or line, None
            if is_of_tls(front) or is_of_http(front, front[:5].rstrip(b" ").upper() in VERBS):
                self.refuse_protocol()
                return
            if self.errors.add_error():
                self.say(replies.TOO_MANY_ERRORS)
                return
        self.output.append(answer)

    # Content

    def _take_message(self, end: int) -> Message | None:
        """The message whose end of data begins at `end`; None: the message is refused and answered."""
        self.progress += 1
        content, refusal = self.data_phase.content(self.buffer, self._position, end, self.trust.normalizes)
        self._position = end + len(END_OF_DATA)
        self.state = _COMMAND
        if refusal is not None:
            self.reset_transaction()
            self.output.append(refusal)
            if refusal is replies.BARE_IN_DATA:
                self.say(replies.BARE_CLOSING)  # commands that follow may be part of a smuggled message
            return None
        return self._message(content)

    def _message(self, content: bytes) -> Message:
        self.state = _REPLY
        body, hold = self.parameters
        return Message(self.sender or "", tuple(self.recipients.mailboxes), content, body, hold)
