"""The source of a race: messages over a few SMTP connections to each node, and what was told of each."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from tests.races.plan import Mail

_LINE = 75  # octets
_PAUSE = 0.05  # seconds before a message that was refused for now is tried again


class Told(NamedTuple):
    """The result of a message: its id, or that its connection broke after the dot."""

    mail: Mail
    message: str  # "" = nobody knows whether it was accepted
    at: float  # Unix milliseconds


class Broken(Exception):
    """The connection ended."""

    def __init__(self, past_dot: bool, code: int = 0) -> None:
        self.past_dot = past_dot  # the reply to a message was due: nobody knows whether it was accepted
        self.code = code  # of the reply that says so


class Source:
    """`await source.run()` until every message was accepted, or its connection broke with its reply under way."""

    def __init__(
        self,
        servers: Iterable[tuple[str, int]],
        mails: Iterable[Mail],
        sessions: int = 4,
        heard: Callable[[Told], None] = lambda _: None,
    ) -> None:
        """`sessions` a server; `heard` is called with each message that is accepted."""
        self._servers = [server for server in servers for _ in range(sessions)]
        self._mails = iter(mails)
        self._heard = heard
        self.told: list[Told] = []
        self.refused = 0

    def add(self, mails: Iterable[Mail]) -> None:
        """For the next run."""
        self._mails = iter(mails)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for server in self._servers:
                group.create_task(self._session(server))

    async def _session(self, server: tuple[str, int]) -> None:
        mail = next(self._mails, None)
        while mail is not None:
            mail = await self._connection(server, mail)

    async def _connection(self, server: tuple[str, int], mail: Mail) -> Mail | None:
        """From `mail` on, while the connection lasts; the next octets to send."""
        try:
            reader, writer = await asyncio.open_connection(*server)
        except OSError:
            await asyncio.sleep(_PAUSE)
            return mail
        sending: Mail | None = mail
        try:
            await reply_of(reader)
            writer.write(b"EHLO source.example\r\n")
            await reply_of(reader)
            while sending is not None:
                await self._one(reader, writer, sending)
                sending = next(self._mails, None)
        except Broken as broken:
            if not broken.past_dot or sending is None:
                return sending
            self._tell(sending, "")
            return next(self._mails, None)
        finally:
            writer.close()
        return None

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mail: Mail) -> None:
        """Until it was answered 250."""
        commands = ["MAIL FROM:<from@example.org>", *(f"RCPT TO:<{to}>" for to in mail.recipients), "DATA"]
        while True:
            writer.write("".join(f"{command}\r\n" for command in commands).encode())
            replies = [await reply_of(reader) for _ in commands]
            if replies[-1][0] == 354:
                assert all(code == 250 for code, _ in replies[:-1]), replies
                writer.write(content(mail))
                code, text = await reply_of(reader, past_dot=True)
                if code == 250:
                    self._tell(mail, text.rpartition(" ")[2])
                    return
                replies.append((code, text))
            assert 400 <= replies[-1][0] < 500 or replies[-1][0] == 503, replies
            self.refused += 1
            await asyncio.sleep(_PAUSE)
            writer.write(b"RSET\r\n")
            await reply_of(reader)

    def _tell(self, mail: Mail, message: str) -> None:
        told = Told(mail, message, time.time() * 1000)
        self.told.append(told)
        self._heard(told)


def content(mail: Mail) -> bytes:
    lines = [*mail.headers, "From: from@example.org", f"To: {mail.recipients[0]}", "Subject: race", ""]
    lines += ["x" * _LINE] * (mail.size // _LINE) + ["."]
    return "".join(f"{line}\r\n" for line in lines).encode()


async def reply_of(reader: asyncio.StreamReader, past_dot: bool = False) -> tuple[int, str]:
    """Raises Broken: the connection ended, or says that it will (421)."""
    while True:
        try:
            line = (await reader.readuntil(b"\r\n")).decode()
        except (OSError, asyncio.IncompleteReadError):
            raise Broken(past_dot) from None
        if line[3:4] == " ":
            break
    if line.startswith("421"):
        raise Broken(False, 421)
    return int(line[:3]), line[4:].rstrip()
