"""An address that moves from one server to another, as the name of a primary does in a failover."""

import asyncio
import contextlib
from typing import Self


class MovingAddress:
    """`async with MovingAddress(port) as address:` hands octets on to that port of this machine, until it moves."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._ends: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._session, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self._cut()

    def move(self, target: int) -> None:
        """Every connection ends; the next ones lead to the other server."""
        self._target = target
        self._cut()

    def _cut(self) -> None:
        for end in self._ends:
            end.transport.abort()

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            there, onward = await asyncio.open_connection("127.0.0.1", self._target)
            self._ends |= {writer, onward}
            await asyncio.gather(_pump(reader, onward), _pump(there, writer))
            self._ends -= {writer, onward}
        writer.close()


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await source.read(65536):
            target.write(piece)
            await target.drain()
    target.close()
