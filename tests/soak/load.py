"""The load of a soak: each message is offered once, at its time, and what the client was told is kept."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from tests.races.source import Broken, content, reply_of
from tests.soak.plan import Mail

_SILENCE = 60.0  # seconds without an answer
_TOO_LATE = 1.0  # seconds behind its time: a message that no session was free for is left out
_PAUSE = 0.05  # seconds before the next connection

Server = Callable[[], tuple[str, int]]


class Told(NamedTuple):
    """The answer of the node to one message."""

    recipients: tuple[str, ...]
    tag: str
    code: int  # of the reply that ended it; 0 = the connection ended without one
    past_dot: bool  # the whole message had been sent
    message: str = ""  # its id, where it was accepted
    at: float = 0.0  # Unix milliseconds

    @property
    def accepted(self) -> bool:
        return self.past_dot and self.code == 250

    @property
    def unknown(self) -> bool:
        """Nobody can tell from the answer whether it was accepted."""
        return self.past_dot and not self.code


class Load:
    """`await load.run(seconds)`; messages of `mails` come at the times that it gives."""

    def __init__(self, servers: Sequence[Server], mails: Iterator[tuple[float, Mail]], sessions: int = 12) -> None:
        """`servers` are asked for their address before each connection; `sessions` a server."""
        self._servers = [server for server in servers for _ in range(sessions)]
        self._mails = mails
        self._begun = 0.0  # loop time
        self._until = 0.0  # seconds from then
        self.told: list[Told] = []
        self.left_out = 0
        self.silent = 0  # answers that did not come within a minute

    async def run(self, seconds: float) -> None:
        self._begun = asyncio.get_running_loop().time()
        self._until = seconds
        async with asyncio.TaskGroup() as group:
            for server in self._servers:
                group.create_task(self._session(server))

    def counts(self) -> dict[str, int]:
        """How many messages were accepted, refused, never finished, and answered with nothing."""
        told = self.told
        return {
            "accepted": sum(one.accepted for one in told),
            "refused": sum(one.code >= 400 for one in told),
            "cut before their dot": sum(not one.code and not one.past_dot for one in told),
            "without a reply to their dot": sum(one.unknown for one in told),
        }

    async def _next(self) -> Mail | None:
        """The next message, at its time; None when the time is over."""
        loop = asyncio.get_running_loop()
        while True:
            at, mail = next(self._mails)
            ahead = self._begun + at - loop.time()
            if at >= self._until:
                return None
            if ahead > -_TOO_LATE:
                await asyncio.sleep(max(0.0, ahead))
                return mail
            self.left_out += 1

    async def _session(self, server: Server) -> None:
        mail = await self._next()
        while mail is not None:
            mail = await self._connection(server, mail)

    async def _connection(self, server: Server, mail: Mail | None) -> Mail | None:
        """From `mail` on, while the connection lasts; the next octets to send."""
        try:
            reader, writer = await asyncio.open_connection(*server())
        except OSError:
            await asyncio.sleep(_PAUSE)
            return mail
        try:
            try:
                await self._reply(reader)
                writer.write(b"EHLO source.example\r\n")
                await self._reply(reader)
            except Broken:
                await asyncio.sleep(_PAUSE)
                return mail
            while mail is not None:
                goes_on = await self._one(reader, writer, mail)
                mail = await self._next()
                if not goes_on:
                    return mail
        finally:
            writer.close()
        return None

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mail: Mail) -> bool:
        """Whether the connection can go on after it."""
        commands = ["MAIL FROM:<from@example.org>", *(f"RCPT TO:<{to}>" for to in mail.recipients), "DATA"]
        past_dot = told = False
        try:
            writer.write("".join(f"{command}\r\n" for command in commands).encode())
            code, text = max([await self._reply(reader) for _ in commands], key=lambda reply: reply[0])
            if code == 354:
                writer.write(content(mail))
                past_dot = True
                code, text = await self._reply(reader, past_dot=True)
            self._tell(mail, code, past_dot, text.rpartition(" ")[2] if code == 250 else "")
            told = True
            if code != 250:
                writer.write(b"RSET\r\n")
                await self._reply(reader)
        except Broken as broken:
            if not told:
                self._tell(mail, broken.code, past_dot)
            return False
        return True

    async def _reply(self, reader: asyncio.StreamReader, past_dot: bool = False) -> tuple[int, str]:
        try:
            async with asyncio.timeout(_SILENCE):
                return await reply_of(reader, past_dot)
        except TimeoutError:
            self.silent += 1
            raise Broken(past_dot) from None

    def _tell(self, mail: Mail, code: int, past_dot: bool, message: str = "") -> None:
        self.told.append(Told(mail.recipients, mail.tag, code, past_dot, message, time.time() * 1000))
