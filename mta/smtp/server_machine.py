"""The server side of one SMTP session as a machine without I/O: bytes in, messages and reply bytes out.

Only `<CR><LF>` ends a line and only `<CR><LF>.<CR><LF>` ends a message (RFC 5321 2.3.8, 4.1.1.4). What the machine says
depends on the bytes alone, never on how they were cut into segments. While a message waits for its reply, further input
is kept and nothing is answered, so replies keep the order of the commands (RFC 2920).
"""

import enum
from collections.abc import Callable

import msgspec

from mta.model.outcomes import Reply
from mta.smtp import replies
from mta.smtp.command_lines import COMMAND_LINE, KEPT_OF_A_LINE, is_of_http, is_of_tls, objection
from mta.smtp.data_phase import DataPhase
from mta.smtp.envelope import printable, read_recipient, read_sender
from mta.smtp.error_count import ErrorCount
from mta.smtp.recipient_list import RecipientList
from mta.smtp.transparency import END_OF_DATA

_SHORT_LINE = COMMAND_LINE - 2  # octets without CRLF that any command may have
_PERMANENT = ord("5")  # begins the replies that count as errors

_NOT_HERE = frozenset((b"EXPN", b"BDAT", b"STARTTLS", b"AUTH", b"ETRN", b"TURN", b"SEND", b"SOML", b"SAML"))


class State(enum.Enum):
    """What the machine waits for."""

    COMMAND = "waiting for a command"
    DATA = "receiving a message"
    REPLY = "waiting for the reply to a message"
    CLOSED = "closing"


# An enum's members cost a look-up through its class at each use, and these are used for every command.
_COMMAND, _DATA, _REPLY, _CLOSED = State.COMMAND, State.DATA, State.REPLY, State.CLOSED


class Message(msgspec.Struct, gc=False):
    """A message that was received to its end."""

    sender: str  # "" is the null sender
    recipients: tuple[str, ...]
    content: bytes  # dots unstuffed, every line ends with CRLF
    body: str  # the BODY parameter, "" = none given


class ServerMachine:
    """`receive` bytes, hand on the Message it returns, answer it with `reply_to_data`, write `take_output`."""

    __slots__ = (
        "_body",
        "_buffer",
        "_data_phase",
        "_errors",
        "_extensions",
        "_front",
        "_gate",
        "_hostname",
        "_max_size",
        "_may_relay",
        "_output",
        "_position",
        "_recipients",
        "_sender",
        "esmtp",
        "helo",
        "is_foreign",
        "progress",
        "state",
    )

    def __init__(
        self,
        hostname: str,
        *,
        max_message_size: int,
        max_recipients: int,
        max_errors: int,
        may_relay: bool,
        normalizes: bool = False,
        gate: Callable[[], Reply | None] | None = None,
    ) -> None:
        """`may_relay`: whether this client may send anywhere. `normalizes`: a bare CR or LF in its messages becomes
        CRLF; else they are refused. `gate` is asked at each MAIL: why none is taken now."""
        self.state = _COMMAND
        self.helo = ""  # "" = no EHLO or HELO yet
        self.esmtp = False
        self.is_foreign = False  # the client speaks HTTP or TLS
        self.progress = 0  # commands and messages that were read to their end
        self._hostname = hostname
        self._max_size = max_message_size
        self._data_phase = DataPhase(max_message_size, normalizes)
        self._may_relay = may_relay
        self._gate = gate
        self._buffer = bytearray()
        self._position = 0  # of the line being read; in DATA of the CRLF before the content
        self._front: bytes | None = None  # the first octets of an over-long line; what followed them was thrown away
        self._output: list[bytes] = []
        self._errors = ErrorCount(max_errors)
        self._sender: str | None = None
        self._recipients = RecipientList(max_recipients)
        self._body = ""
        self._extensions = replies.render_extensions(hostname, max_message_size)

    def __repr__(self) -> str:
        return (
            f"<ServerMachine {self.state.value}: helo={self.helo!r} recipients={len(self._recipients)}"
            f" buffered={self.buffered} errors={self._errors.errors}>"
        )

    @property
    def buffered(self) -> int:
        """Octets of input that were not used yet."""
        return len(self._buffer)

    def is_idle(self) -> bool:
        """Nothing of a transaction or a command has been read."""
        return self.state is _COMMAND and self._sender is None and not self._buffer

    def greet(self) -> None:
        self._output.append(f"220 {self._hostname} ESMTP\r\n".encode())

    def receive(self, data: bytes) -> Message | None:
        """Take a segment; a message that it completes is returned and waits for `reply_to_data`."""
        state = self.state
        buffer = self._buffer
        if state is _COMMAND and not buffer and 0 <= data.find(b"\r\n") == len(data) - 2:
            # One command, as clients that do not pipeline send them: nothing is to be gathered.
            self._take_line(data[:-2])
            if self.state is _DATA:
                buffer += b"\r\n"
            return None
        if state is _CLOSED:
            return None
        buffer += data
        return None if state is _REPLY else self._advance()

    def reply_to_data(self, reply: Reply) -> Message | None:
        """Answer the message and go on with the input that came meanwhile, which may complete the next one."""
        if self.state is not _REPLY:
            return None
        self.state = _COMMAND
        self.reset_transaction()
        if 200 <= reply.code < 300:
            self._errors.forget()
        self._say(reply)
        return self._advance() if self._buffer and self.state is _COMMAND else None

    def close(self, reply: Reply) -> None:
        """Say a last reply (421) and take nothing more."""
        if self.state is not _CLOSED:
            self._say(reply)
            self._end()

    def take_output(self) -> bytes:
        """The replies since the last call, in order."""
        output = self._output
        if not output:
            return b""
        joined = output[0] if len(output) == 1 else b"".join(output)
        output.clear()
        return joined

    def reset_transaction(self) -> None:
        """Forget sender, recipients and content: the one way out of every transaction."""
        self._sender = None
        self._recipients.clear()
        self._body = ""

    def _say(self, reply: Reply) -> None:
        self._output.append(replies.render(reply))
        if reply.code == 421:  # RFC 5321 3.8: the channel closes
            self._end()

    def _end(self) -> None:
        self.state = _CLOSED
        self.reset_transaction()
        self._buffer.clear()
        self._position = 0

    def _advance(self) -> Message | None:
        buffer = self._buffer
        message = None
        while message is None and self._position < len(buffer):
            if self.state is _COMMAND:
                end = buffer.find(b"\r\n", self._position)
                if end < 0:
                    self._keep_line_bounded()
                    break
                line = bytes(buffer[self._position : end])
                self._position = end + 2
                self._take_line(line)
                if self.state is _DATA:
                    self._position = end  # this line's CRLF may begin the end of data
            elif self.state is _DATA:
                end = self._data_phase.find_end(buffer, self._position)
                if end < 0:
                    self._position = self._data_phase.keep_bounded(buffer, self._position)
                    break
                message = self._take_message(end)
            else:
                break
        if self._position:
            del buffer[: self._position]
            self._position = 0
        return message

    # Commands

    def _keep_line_bounded(self) -> None:
        """Throw away the octets of an over-long line: its one reply is due at its end, which of TLS never comes."""
        buffer = self._buffer
        start = self._position
        if self._front is None and is_of_tls(buffer, start):
            self._refuse_protocol()
        elif len(buffer) - start > KEPT_OF_A_LINE:
            if self._front is None:
                self._front = bytes(buffer[start : start + COMMAND_LINE])
            self._position = len(buffer) - buffer.endswith(b"\r")

    def _take_line(self, line: bytes) -> None:
        self.progress += 1
        verb = line[:5].rstrip(b" ").upper()  # each that is known has four letters
        command = _VERBS.get(verb)
        answer: bytes | None = None
        if self._front is not None or len(line) > _SHORT_LINE or b"\r" in line or b"\n" in line:
            answer = objection(line, verb, self._front is not None)
        if answer is None:
            if command is not None:
                answer = command(self, line[5:].rstrip(b" "))
            else:
                word = line.partition(b" ")[0].upper()
                answer = replies.NOT_IMPLEMENTED if word in _NOT_HERE else replies.UNKNOWN_COMMAND
        if answer is None:
            return
        if answer[0] == _PERMANENT:
            front, self._front = self._front or line, None
            if is_of_tls(front) or is_of_http(front, front[:5].rstrip(b" ").upper() in _VERBS):
                self._refuse_protocol()
                return
            if self._errors.add_error():
                self._say(replies.TOO_MANY_ERRORS)
                return
        self._output.append(answer)

    def _refuse_protocol(self) -> None:
        """Close at once: the commands of SMTP that may follow are not this client's, but in the body of a request that
        somebody made it send."""
        self.is_foreign = True
        self._output.append(replies.NOT_SMTP)
        self._end()

    def _is_junk(self) -> bool:
        """Count a command that moves no mail; whether the session is now to be closed for it."""
        is_full = self._errors.add_junk()
        if is_full:
            self._say(replies.TOO_MANY_ERRORS)
        return is_full

    def _hello(self, argument: bytes, answer: bytes, esmtp: bool) -> bytes | None:
        name = printable(argument)
        if name is None:
            return replies.BAD_OCTETS
        if not name:
            return replies.NEEDS_NAME
        if is_of_http(b" " + argument, True):
            self._refuse_protocol()
            return None
        if self._is_junk():
            return None
        self.reset_transaction()
        self.helo = name
        self.esmtp = esmtp
        return answer

    def _ehlo(self, argument: bytes) -> bytes | None:
        return self._hello(argument, self._extensions, True)

    def _helo(self, argument: bytes) -> bytes | None:
        return self._hello(argument, f"250 {self._hostname}\r\n".encode(), False)

    def _mail(self, argument: bytes) -> bytes | None:
        if not self.helo:
            return replies.HELLO_FIRST
        if self._sender is not None:
            return replies.NESTED_MAIL
        told = read_sender(argument, self.esmtp, self._max_size)
        if isinstance(told, bytes):
            return told
        if self._gate is not None:
            closed = self._gate()
            if closed is not None:
                self._say(closed)
                return None
        self._sender, self._body = told
        return replies.SENDER_OK

    def _rcpt(self, argument: bytes) -> bytes:
        if self._sender is None:
            return replies.MAIL_FIRST
        recipient = read_recipient(argument)
        if isinstance(recipient, bytes):
            return recipient
        if not self._may_relay:
            return replies.RELAY_DENIED
        if "@" not in recipient:
            recipient = f"{recipient}@{self._hostname}"
        return replies.RECIPIENT_OK if self._recipients.add(recipient) else replies.TOO_MANY_RECIPIENTS

    def _data(self, argument: bytes) -> bytes:
        if argument:
            return replies.NO_ARGUMENT
        if self._sender is None:
            return replies.MAIL_FIRST
        if not self._recipients.mailboxes:
            return replies.NO_RECIPIENTS
        self.state = _DATA
        self._data_phase.begin()
        return replies.SEND_DATA

    def _rset(self, argument: bytes) -> bytes | None:
        if argument:
            return replies.NO_ARGUMENT
        if self._is_junk():
            return None
        self.reset_transaction()
        return replies.OK

    def _noop(self, argument: bytes) -> bytes | None:
        return self._small_talk(argument, replies.OK)

    def _help(self, argument: bytes) -> bytes | None:
        return self._small_talk(argument, replies.HELP)

    def _vrfy(self, argument: bytes) -> bytes | None:
        if not argument:
            return replies.NEEDS_ARGUMENT
        return self._small_talk(argument, replies.CANNOT_VERIFY)

    def _small_talk(self, argument: bytes, answer: bytes) -> bytes | None:
        """The answer to a command that takes any argument and moves no mail."""
        if printable(argument) is None:
            return replies.BAD_OCTETS
        if argument and is_of_http(b" " + argument, True):
            self._refuse_protocol()
            return None
        return None if self._is_junk() else answer

    def _quit(self, argument: bytes) -> None:
        self._output.append(replies.GOODBYE)
        self._end()

    # Content

    def _take_message(self, end: int) -> Message | None:
        """The content before the end of data at `end`; None: it is refused, and that was said."""
        self.progress += 1
        content, refusal = self._data_phase.content(self._buffer, self._position, end)
        self._position = end + len(END_OF_DATA)
        self.state = _COMMAND
        if refusal is not None:
            self.reset_transaction()
            self._output.append(refusal)
            if refusal is replies.BARE_IN_DATA:
                self._say(replies.BARE_CLOSING)  # commands behind it may be a part of what it was meant to smuggle
            return None
        self.state = _REPLY
        return Message(self._sender or "", tuple(self._recipients.mailboxes), content, self._body)


_VERBS: dict[bytes, Callable[[ServerMachine, bytes], bytes | None]] = {
    b"MAIL": ServerMachine._mail,
    b"RCPT": ServerMachine._rcpt,
    b"DATA": ServerMachine._data,
    b"EHLO": ServerMachine._ehlo,
    b"HELO": ServerMachine._helo,
    b"RSET": ServerMachine._rset,
    b"NOOP": ServerMachine._noop,
    b"VRFY": ServerMachine._vrfy,
    b"HELP": ServerMachine._help,
    b"QUIT": ServerMachine._quit,
}
