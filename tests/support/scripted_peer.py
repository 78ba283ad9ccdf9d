"""A destination that is told byte by byte what to answer, on a thread of its own: each act is one segment on the wire.

It answers like an ordinary server but for what its script says; the acts for a phase replace the usual answer there.
"""

import asyncio
import re
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from typing import NamedTuple

CLOSE = "close"  # FIN
RESET = "reset"  # RST
SILENT = "silent"  # never answer, keep the connection
USUAL = "usual"  # what an ordinary server answers here


class Pieces(NamedTuple):
    """Bytes in segments of `size` octets."""

    data: bytes
    size: int


class Wait(NamedTuple):
    """Say nothing for a while."""

    seconds: float


class Read(NamedTuple):
    """In the body: take that many octets before going on."""

    octets: int


Act = bytes | str | Pieces | Wait | Read
Script = Mapping[str, Sequence[Act]]  # by GREETING, EHLO, HELO, STARTTLS, MAIL, RCPT, DATA, BODY, DOT, RSET, QUIT

EHLO_LINES = ("peer.example", "PIPELINING", "SIZE 104857600", "8BITMIME", "ENHANCEDSTATUSCODES")
_RECEIVE_BUFFER = 64 * 1024  # so that a peer which does not read is noticed within a large message


class _Over(Exception):
    pass


class ScriptedPeer:
    """Listens from `start` to `stop`. `copies` counts messages that came with their dot, by first recipient; `commands`
    are all commands by connection. `later` is the script from the second connection on, when it differs."""

    def __init__(
        self,
        script: Script,
        *,
        later: Script | None = None,
        extensions: Sequence[str] = EHLO_LINES[1:],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.script = script
        self.later = later
        self.extensions = extensions
        self.tls = tls
        self.port = 0
        self.copies: list[bytes] = []
        self.commands: list[list[str]] = []
        self.octets = 0  # read so far
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def verbs(self, connection: int) -> list[str]:
        return [line.partition(" ")[0].upper() for line in self.commands[connection]]

    async def listen(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._server = await asyncio.start_server(self._serve, sock=listener)
        self.port = listener.getsockname()[1]

    async def close(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        commands: list[str] = []
        self.commands.append(commands)
        script = self.script if len(self.commands) == 1 or self.later is None else self.later
        try:
            await _Session(self, script, reader, writer, commands).run()
        except (_Over, OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()


class _Session:
    def __init__(
        self,
        peer: ScriptedPeer,
        script: Script,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        commands: list[str],
    ) -> None:
        self._peer, self._script, self._reader, self._writer, self._commands = peer, script, reader, writer, commands
        self._buffer = bytearray()
        self._encrypted = False
        self._begun = self._taken = False  # a sender, a recipient was accepted

    async def run(self) -> None:
        await self._act("GREETING", b"220 peer.example ESMTP\r\n")
        while line := await self._line():
            words = line.decode("latin-1").rstrip("\r\n")
            self._commands.append(words)
            verb = words.partition(" ")[0].upper()
            if verb == "EHLO":
                await self._act("EHLO", self._extensions())
            elif verb == "DATA":
                said = await self._act("DATA", b"354 go on\r\n" if self._taken else b"503 5.5.1 no recipient\r\n")
                if re.search(rb"^354", said, re.MULTILINE) is not None:
                    await self._body()
            elif verb == "QUIT":
                await self._act("QUIT", b"221 2.0.0 bye\r\n")
                return
            else:
                await self._ordinary(verb)
                if verb == "STARTTLS" and self._peer.tls is not None and "STARTTLS" not in self._script:
                    await self._writer.start_tls(self._peer.tls)
                    self._encrypted = True

    async def _ordinary(self, verb: str) -> None:
        usual = b"220 2.0.0 go\r\n" if verb == "STARTTLS" else b"250 2.1.5 ok\r\n"
        if verb == "RCPT" and not self._begun:
            usual = b"503 5.5.1 no sender\r\n"
        yes = self._says_yes(await self._act(verb, usual))
        if verb == "MAIL":
            self._begun, self._taken = yes, False
        elif verb == "RCPT":
            self._taken = self._taken or (yes and self._begun)

    def _extensions(self) -> bytes:
        offered = ["peer.example", *self._peer.extensions]
        if (self._peer.tls is not None or "STARTTLS" in self._script) and not self._encrypted:
            offered.append("STARTTLS")
        return b"".join(b"250-%s\r\n" % text.encode() for text in offered[:-1]) + b"250 %s\r\n" % offered[-1].encode()

    async def _body(self) -> None:
        """A client may send commands behind the dot: they stay in the buffer."""
        for act in self._script.get("BODY", ()):
            if isinstance(act, Read):
                while len(self._buffer) < act.octets:
                    await self._more()
            else:
                await self._do(act, b"")
        start = 0
        while not self._buffer.startswith(b".\r\n") and (end := self._buffer.find(b"\r\n.\r\n", start)) < 0:
            start = max(0, len(self._buffer) - 4)
            await self._more()
        size = 3 if self._buffer.startswith(b".\r\n") else end + 5
        if self._taken:
            self._peer.copies.append(bytes(self._buffer[:size]))
        del self._buffer[:size]
        await self._act("DOT", b"250 2.0.0 taken\r\n" if self._taken else b"554 5.5.1 no recipient\r\n")
        self._begun = self._taken = False

    async def _line(self) -> bytes:
        """The next line with its end; b"" = the client closes."""
        while (end := self._buffer.find(b"\n")) < 0:
            try:
                await self._more()
            except _Over:
                return b""
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        return line

    async def _more(self) -> None:
        data = await self._reader.read(16384)
        if not data:
            raise _Over
        self._peer.octets += len(data)
        self._buffer += data

    async def _act(self, phase: str, usual: bytes) -> bytes:
        """The reply that was sent."""
        said = b""
        for act in self._script.get(phase, (USUAL,)):
            said += await self._do(act, usual)
        return said

    def _says_yes(self, said: bytes) -> bool:
        return re.search(rb"^2[0-9]{2}(?: |\r?$)", said, re.MULTILINE) is not None

    async def _do(self, act: Act, usual: bytes) -> bytes:
        if act == CLOSE:
            raise _Over
        if act == RESET:
            self._writer.transport.abort()
            raise _Over
        if act == SILENT:
            while await self._reader.read(65536):
                pass
            raise _Over
        if isinstance(act, Wait):
            await asyncio.sleep(act.seconds)
            return b""
        assert not isinstance(act, Read)
        data = act.data if isinstance(act, Pieces) else usual if isinstance(act, str) else act
        size = act.size if isinstance(act, Pieces) else len(data)
        for at in range(0, len(data), size):
            self._writer.write(data[at : at + size])
            await self._writer.drain()
            if size < len(data):
                await asyncio.sleep(0.0005)  # a segment of its own
        return data


class Peers:
    """A loop on a thread for any number of peers."""

    def __init__(self, *peers: ScriptedPeer) -> None:
        self._peers = peers
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> "Peers":
        self._thread.start()
        self._run(self._listen())
        return self

    def stop(self) -> None:
        if not self._thread.is_alive():
            return
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()

    async def _listen(self) -> None:
        for peer in self._peers:
            await peer.listen()

    async def _close(self) -> None:
        for peer in self._peers:
            await peer.close()

    def _run(self, work: "asyncio._CoroutineLike[None]") -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(60)  # type: ignore[arg-type]
