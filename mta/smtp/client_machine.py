"""The sending side of SMTP, without I/O: one transaction after the other on a connection, pipelined or not.

A transaction is a list of states with two cursors: the commands sent, and the commands answered (RFC 2920). The owner
writes the output, feeds the bytes that it reads, looks at the rules at `Step.LOOK`, and sends the body itself.
"""

import enum
from collections.abc import Sequence

from mta.model.outcomes import Reply
from mta.model.phases import Phase
from mta.smtp.reply_parser import ReplyParser


class Step(enum.Enum):
    """The next action of the owner."""

    WAIT = "wait"  # for more replies
    SEND = "send"  # write `output`
    LOOK = "look"  # 354: the last look, then the body, then `dot_sent`
    DONE = "done"  # the transaction has its results; look at `broken` before the next


# To look a member up at its class takes ten times as long.
_RSET, _MAIL, _RCPT, _DATA, _BODY, _DOT = Phase.RSET, Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.BODY, Phase.DOT
_WAIT, _SEND, _LOOK, _DONE = Step.WAIT, Step.SEND, Step.LOOK, Step.DONE
_ONE_RECIPIENT = [_MAIL, _RCPT, _DATA]  # the states of a transaction with one recipient, without a RSET


class Extensions:
    """The extensions of the server that matter to transactions."""

    __slots__ = ("eight_bit", "pipelining", "size")

    def __init__(self, pipelining: bool = False, eight_bit: bool = False, size: int | None = None) -> None:
        self.pipelining = pipelining
        self.eight_bit = eight_bit
        self.size = size  # None = SIZE is not offered, 0 = offered without a limit (RFC 1870)


class ClientMachine:
    """Transactions on one connection. `broken` says why the connection cannot be used again ("" = it can), and
    `unintelligible` whether that is because the server does not speak the protocol.

    A reply that comes before its command was sent is the answer all the same when it is a 4xx or 5xx (`early`): the
    transaction ends with it. An early 2xx or 3xx cannot answer anything, and breaks the connection."""

    __slots__ = (
        "_abandoned",
        "_accepted",
        "_broke_in",
        "_commands",
        "_lone",
        "_parser",
        "_sent",
        "_states",
        "broken",
        "data",
        "early",
        "extensions",
        "final",
        "goodbye",
        "mail",
        "mail_command",
        "needs_reset",
        "output",
        "progress",
        "rcpts",
        "unintelligible",
    )

    def __init__(self, extensions: Extensions) -> None:
        self.extensions = extensions
        self._parser = ReplyParser()
        self._states: list[Phase] = []
        self._commands: list[bytes] = []
        self._sent = 0
        self.progress = 0  # replies of the running transaction that have been read
        self._accepted = 0
        self._lone = False
        self._abandoned = False
        self.output = b""
        self._broke_in: Phase | None = None
        self.broken = ""
        self.unintelligible = False
        self.early: Reply | None = None
        self.goodbye: Reply | None = None  # a 421, wherever it came
        self.needs_reset = False
        self.mail: Reply | None = None
        self.mail_command = ""  # of the running transaction
        self.rcpts: list[Reply] = []
        self.data: Reply | None = None
        self.final: Reply | None = None

    def begin(self, sender: str, recipients: list[str], size: int, eight_bit: bool) -> bytes:
        """Begin a transaction. Returns the bytes to write first. Addresses are ASCII without control characters; `size`
        is that of the content."""
        extensions = self.extensions
        mail = f"MAIL FROM:<{sender}>"
        if extensions.size is not None:
            mail += f" SIZE={size}"
        if eight_bit and extensions.eight_bit:
            mail += " BODY=8BITMIME"
        self.mail_command = mail
        self.mail = self.data = self.final = None
        self.rcpts = []
        self.progress = self._accepted = 0
        self._lone = self._abandoned = False
        if extensions.pipelining and not self.needs_reset:
            count = len(recipients)
            if count == 1:
                self._states = _ONE_RECIPIENT.copy()
                self._sent = 3
                return f"{mail}\r\nRCPT TO:<{recipients[0]}>\r\nDATA\r\n".encode("ascii")
            self._states = [_MAIL, *[_RCPT] * count, _DATA]
            self._sent = count + 2
            lines = "".join([f"RCPT TO:<{recipient}>\r\n" for recipient in recipients])
            return f"{mail}\r\n{lines}DATA\r\n".encode("ascii")
        commands = [f"{mail}\r\n", *[f"RCPT TO:<{recipient}>\r\n" for recipient in recipients], "DATA\r\n"]
        self._states = [_MAIL, *[_RCPT] * len(recipients), _DATA]
        if self.needs_reset:
            commands.insert(0, "RSET\r\n")
            self._states.insert(0, _RSET)
        self._commands = [command.encode("ascii") for command in commands]
        if extensions.pipelining:
            self._sent = len(self._states)
            return b"".join(self._commands)
        self._sent = 1
        return self._commands[0]

    def receive(self, data: bytes) -> Step:
        """Process bytes of the server. Returns one step; SEND, LOOK and DONE wait for the owner to act."""
        step = _WAIT
        replies = self._parser.feed(data)
        if len(replies) == self._sent == 3 and self.progress == 0 and self._states == _ONE_RECIPIENT:
            # Nearly every transaction is answered so: yes, in one piece, to commands that were sent together.
            mail, rcpt, body = replies
            if mail.code == rcpt.code == 250 and body.code == 354 and not self._parser.fault:
                self.mail, self.data = mail, body
                self.rcpts.append(rcpt)
                self.progress = 3
                self._accepted = 1
                return _LOOK
        for reply in replies:
            if step is _DONE:
                return self._unasked(reply)
            if step is not _WAIT or self.progress >= self._sent:
                return self._early(reply)
            step = self._advance(reply)
            if self.broken:
                return _DONE
        if self._parser.fault:
            return self._misunderstood(self._parser.fault)
        return step

    def unsolicited(self, data: bytes) -> None:
        """Process bytes that came while no command was open: a 421, or garbage. Both end the connection."""
        replies = self._parser.feed(data)
        if replies:
            self._unasked(replies[0])
        elif self._parser.fault:
            self._misunderstood(self._parser.fault)

    def ended(self) -> None:
        """The server sends nothing more: bytes that are no complete reply break the connection."""
        self._parser.end()
        if self._parser.fault:
            self._misunderstood(self._parser.fault)

    def dot_sent(self) -> None:
        """The owner has written the body and its dot: the reply to them is due."""
        self._states.append(_DOT)
        self._sent += 1

    def abandon(self) -> bool:
        """Abandon the transaction. True: DATA was not sent, so after the outstanding replies (`Step.DONE`) and a RSET
        the connection can be used again. False: only closing the connection abandons the transaction."""
        if self.broken or self._sent == len(self._states):
            return False
        self._abandoned = True
        return True

    @property
    def phase(self) -> Phase:
        """The command of the next reply. On a broken connection, the command whose reply broke it."""
        if self._broke_in is not None:
            return self._broke_in
        if self.progress < len(self._states):
            return self._states[self.progress]
        return _BODY if self.data is not None else _MAIL

    @property
    def refusals(self) -> Sequence[Reply]:
        """The replies that refuse the message for every recipient before its body: to MAIL, to all RCPTs, or to DATA.
        None = a recipient may still get it."""
        mail, data, rcpts = self.mail, self.data, self.rcpts
        if mail is None:
            return ()
        if mail.code >= 400:
            return (mail,)
        if not self._accepted and len(rcpts) == self._states.count(_RCPT):
            return rcpts
        return (data,) if data is not None and data.code >= 400 else ()

    def _advance(self, reply: Reply) -> Step:
        state = self._states[self.progress]
        code = reply.code
        if 300 <= code < 400 and state is not _DATA:
            return self._misunderstood(f"unexpected reply {code} when {state.value}")
        if code == 421:
            self.goodbye = reply
            self._broke_in = state
        self.progress += 1
        if state is _RCPT:
            self.rcpts.append(reply)
            if code < 300:
                self._accepted += 1
        elif state is _MAIL:
            self.mail = reply
        elif state is _DATA:
            self.data = reply
        elif state is _DOT and not self._lone:
            self.final = reply
        if code == 421:
            return self._break("the server closes the session")
        if state is _DOT:
            self.needs_reset = self._lone
            return _DONE
        if state is _DATA:
            return self._data_answered(reply)
        if state is _RSET:
            if code != 250:
                return self._break("the server refuses RSET")
            self.needs_reset = False
        if self.progress < self._sent:
            return _WAIT
        return self._next_command()

    def _data_answered(self, reply: Reply) -> Step:
        taken = self.mail is not None and 200 <= self.mail.code < 300
        if reply.code == 354:
            if taken and self._accepted:
                return _LOOK
            # RFC 2920 3.1: no recipient will get the message, and the server waits for one.
            self._lone = True
            self.dot_sent()
            self.output = b".\r\n"
            return _SEND
        if reply.code < 400:
            self._broke_in = _DATA
            return self._misunderstood(f"unexpected reply {reply.code} when {_DATA.value}")
        self.needs_reset = taken
        return _DONE

    def _next_command(self) -> Step:
        """Without pipelining: the next command, or the end of the transaction if no recipient can get the message."""
        refused = self.mail is not None and self.mail.code >= 400
        nobody = self._states[self.progress] is _DATA and not self._accepted
        if self._abandoned or refused or nobody:
            self.needs_reset = self.mail is not None and not refused
            return _DONE
        self.output = self._commands[self._sent]
        self._sent += 1
        return _SEND

    def _early(self, reply: Reply) -> Step:
        """A reply came before its command was sent."""
        if reply.code < 400:
            return self._misunderstood(f"the server answers {reply.code} before it was asked")
        self.early = reply
        if reply.code == 421:
            self.goodbye = reply
        return self._break("the server refuses before it was asked")

    def _unasked(self, reply: Reply) -> Step:
        """A reply came although no command waits for one."""
        if reply.code == 421:
            self.goodbye = reply
            return self._break("the server closes the session")
        return self._misunderstood("the server sent a reply without a command")

    def _misunderstood(self, why: str) -> Step:
        self.unintelligible = self.unintelligible or not self.broken
        return self._break(why)

    def _break(self, why: str) -> Step:
        if self._broke_in is None:
            self._broke_in = self.phase
        self.broken = self.broken or why
        return _DONE
