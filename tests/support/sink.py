"""A destination for tests that answers by script and records what it received, when, and on which connection."""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from typing import Self

import msgspec

from tests.support.conditions import PATIENCE, shown, told

DROP = "drop"  # close without a reply
RESET = "reset"  # close with RST
STALL = "stall"  # never answer
HOLD = "hold"  # answer when `Sink.release` says what

Answer = str  # "250 2.0.0 ok", several lines joined by CRLF, or DROP, RESET, STALL, HOLD; "\udc80" is byte 80


class Received(msgspec.Struct):
    """One message that the sink took (or refused at its dot); times are Unix seconds."""

    connection: int
    sender: str
    recipients: list[str]
    mail_at: float
    dot_at: float = 0.0
    body: bytes = b""
    taken: bool = False
    tls: bool = False
    peer: str = ""
    parameters: str = ""


class Sink:
    """`async with Sink() as sink: ...; sink.received`. `script` maps a verb ("GREETING", "EHLO", "HELO", "STARTTLS",
    "MAIL", "RCPT", "DATA", ".", "RSET", "QUIT") to an answer, or to a function of (connection number, argument) that
    gives one or None for the usual; `recipients` maps an address to its answer."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        extensions: tuple[str, ...] = ("PIPELINING", "SIZE 10485760", "8BITMIME", "ENHANCEDSTATUSCODES"),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.extensions = extensions
        self.script: dict[str, Answer | Callable[[int, str], Answer | None]] = {}
        self.recipients: dict[str, Answer] = {}
        self.received: list[Received] = []
        self.begun: list[Received] = []  # every MAIL that was accepted
        self.commands: list[tuple[int, str]] = []
        self.connections = 0
        self.open = 0
        self.most_open = 0
        self.reads: list[bytes] = []
        self._tls = tls
        self._sessions: set[_Session] = set()
        self._changed = asyncio.Event()

    @property
    def taken(self) -> list[Received]:
        return [message for message in self.received if message.taken]

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Session(self), self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def receive_buffer(self, size: int) -> None:
        """The bytes that the system takes for each later connection before they are read here."""
        self._server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)

    async def stop(self) -> None:
        """Stop listening, and cut every connection."""
        self._server.close()
        for session in list(self._sessions):
            session.cut()

    async def until(self, condition: Callable[["Sink"], bool], within: float = PATIENCE) -> None:
        """Wait until the condition holds; asked again whenever something happened here."""

        async def wait() -> None:
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()

        try:
            await asyncio.wait_for(wait(), within)
        except TimeoutError:
            seen = f"open: {self.open}, commands: {shown(self.commands[-20:])}, received: {shown(self.received[-20:])}"
            raise AssertionError(f"not within {within} s\n{told(condition, False, ask=False)}\n{seen}") from None

    def release(self, answer: Answer) -> int:
        """Give `answer` to every command that is answered by HOLD so far; how many there were."""
        held = [session for session in self._sessions if session.held]
        for session in held:
            session.release(answer)
        return len(held)

    def changed(self) -> None:
        self._changed.set()

    def answer(self, verb: str, connection: int, argument: str) -> Answer | None:
        scripted = self.script.get(verb)
        return scripted(connection, argument) if callable(scripted) else scripted


class _Session(asyncio.Protocol):
    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._buffer = b""
        self._message: Received | None = None
        self._in_data = False
        self._stalled = False
        self._tls = False
        self._upgrading = False
        self.held = False
        self._at_dot: Received | None = None  # whose final answer is held
        self._waits = ("", "")  # the command whose answer is held

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        if self._upgrading:
            return
        sink = self._sink
        sink.connections += 1
        sink.open += 1
        sink.most_open = max(sink.open, sink.most_open)
        sink._sessions.add(self)
        self._number = sink.connections
        self._say(sink.answer("GREETING", self._number, "") or "220 sink.example ESMTP")
        sink.changed()

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._sink._sessions:
            self._sink.open -= 1
            self._sink._sessions.discard(self)
            self._sink.changed()

    def cut(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._sink.reads.append(data)
        self._buffer += data
        while not self._stalled and not self._upgrading:
            if self._in_data:
                if not self._take_body():
                    break
                continue
            line, separator, rest = self._buffer.partition(b"\r\n")
            if not separator:
                break
            self._buffer = rest
            self._command(line.decode("utf-8", "replace"))
        self._sink.changed()

    def _take_body(self) -> bool:
        if self._buffer.startswith(b".\r\n"):
            body, self._buffer = b"", self._buffer[3:]
        else:
            end = self._buffer.find(b"\r\n.\r\n")
            if end < 0:
                return False
            body, self._buffer = self._buffer[: end + 2], self._buffer[end + 5 :]
        self._in_data = False
        message = self._message
        assert message is not None
        self._message = None
        lines = body.split(b"\r\n")
        message.body = b"\r\n".join([line[1:] if line.startswith(b".") else line for line in lines])
        message.dot_at = time.time()
        answer = self._sink.answer(".", self._number, message.recipients[0] if message.recipients else "")
        answer = answer or ("250 2.0.0 taken" if message.recipients else "554 5.5.1 no valid recipients")
        message.taken = answer.rpartition("\r\n")[2].startswith("2")
        self._sink.received.append(message)
        self._at_dot = message if answer == HOLD else None
        self._say(answer)
        return True

    def release(self, answer: Answer) -> None:
        self.held = self._stalled = False
        if self._at_dot is not None:
            self._at_dot.taken = answer.startswith("2")
            self._at_dot = None
        elif answer.startswith("2"):
            self._usual(*self._waits)
        self._say(answer)
        self.data_received(b"")

    def _command(self, line: str) -> None:
        sink = self._sink
        verb, _, argument = line.partition(" ")
        verb = verb.upper()
        sink.commands.append((self._number, line))
        answer = sink.answer(verb, self._number, argument)
        if verb == "RCPT" and answer is None:
            answer = sink.recipients.get(_address(argument))
        if verb == "EHLO" and answer is None:
            offered = list(sink.extensions)
            if sink._tls is not None and not self._tls:
                offered.append("STARTTLS")
            lines = ["sink.example", *offered]
            answer = "\r\n".join([f"250-{text}" for text in lines[:-1]] + [f"250 {lines[-1]}"])
        if verb == "STARTTLS" and answer is None and sink._tls is not None:
            self._say("220 2.0.0 go ahead")
            self._upgrading = True
            self._buffer = b""  # what came before TLS counts for nothing
            self._upgrade = asyncio.ensure_future(self._start_tls(sink._tls))
            return
        if answer == HOLD:
            self._waits = verb, argument
        self._say(answer if answer is not None else self._usual(verb, argument))

    def _usual(self, verb: str, argument: str) -> Answer:
        if verb == "MAIL":
            peer = self._transport.get_extra_info("peername")[0]
            parameters = argument.partition("> ")[2]
            self._message = Received(
                self._number, _address(argument), [], time.time(), tls=self._tls, peer=peer, parameters=parameters
            )
            self._sink.begun.append(self._message)
            return "250 2.1.0 ok"
        if verb == "RCPT":
            if self._message is None:
                return "503 5.5.1 no MAIL"
            self._message.recipients.append(_address(argument))
            return "250 2.1.5 ok"
        if verb == "DATA":
            if self._message is None or not self._message.recipients:
                return "503 5.5.1 no recipients"
            self._in_data = True
            return "354 go on"
        if verb == "RSET":
            self._message = None
        if verb == "QUIT":
            return "221 2.0.0 bye"
        return "250 2.0.0 ok" if verb in ("HELO", "RSET", "NOOP") else "500 5.5.2 unknown"

    async def _start_tls(self, context: ssl.SSLContext) -> None:
        try:
            transport = await asyncio.get_running_loop().start_tls(self._transport, self, context, server_side=True)
        except (OSError, ssl.SSLError):
            return
        assert transport is not None
        self._transport = transport
        self._tls = True
        self._upgrading = False
        self.data_received(b"")  # may have come with the end of the handshake

    def _say(self, answer: Answer) -> None:
        if answer in (STALL, HOLD):
            self._stalled = True
            self.held = answer == HOLD
        elif answer == DROP:
            self._transport.close()
            self._stalled = True
        elif answer == RESET:
            self._transport.abort()
            self._stalled = True
        else:
            if answer.startswith("354"):
                self._in_data = True
                self._message = self._message or Received(self._number, "", [], time.time())
            self._transport.write(answer.encode("utf-8", "surrogateescape") + b"\r\n")
            if answer.startswith(("221", "421")):
                self._transport.close()
                self._stalled = True


def _address(argument: str) -> str:
    return argument.partition("<")[2].partition(">")[0]
