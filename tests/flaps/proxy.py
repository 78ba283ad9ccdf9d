"""A TCP proxy before the store that cuts connections at random bytes: drawn from a seed, by storms and calms."""

import asyncio
import random
import socket
import struct
import threading
from typing import Final

_SIZE: Final = 64 * 1024
# Bytes, both ways together, after which a connection is cut during a storm: while the client prepares it (about 300
# bytes), among its first calls, or later.
_REACHES: Final = ((0, 0), *[(1, 400)] * 5, *[(400, 4_000)] * 2, (4_000, 60_000), (60_000, 600_000))
_SLICED: Final = 0.3  # how much of what is carried goes in two pieces
_STORM: Final = (0.5, 3.0)  # seconds
_CALM: Final = (0.1, 1.0)
_RESET: Final = 0.5  # how many cuts are a RST, and no FIN


class CuttingProxy:
    """Listens from `start` to `stop` on a thread of its own; after `calm` it cuts nothing more."""

    def __init__(self, port: int, seed: int) -> None:
        """`port`: of the server on loopback."""
        self._server = port
        self._random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._storming = False
        self._pairs: set[_Pair] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self.port = 0
        self.cuts = self.connections = 0

    def start(self) -> "CuttingProxy":
        self._thread.start()
        self._call(self._listen())
        return self

    def storm(self) -> None:
        """From now on storms come and go."""

        async def begin() -> None:
            self._tasks.append(asyncio.ensure_future(self._weather()))

        self._call(begin())

    def calm(self) -> None:
        async def end() -> None:
            for task in self._tasks[1:]:
                task.cancel()
            self._storming = False
            for pair in self._pairs:
                pair.left = None

        self._call(end())

    def stop(self) -> None:
        async def end() -> None:
            for task in self._tasks:
                task.cancel()
            for pair in list(self._pairs):
                pair.cut(reset=False)
            await asyncio.gather(*self._tasks, return_exceptions=True)

        if self._thread.is_alive():
            self._call(end())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()

    def _call(self, work: object) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)  # type: ignore[arg-type]

    async def _listen(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._tasks.append(asyncio.ensure_future(server.serve_forever()))

    async def _weather(self) -> None:
        while True:
            self._storming = True
            for pair in self._pairs:
                pair.left = self._reach()
            await asyncio.sleep(self._random.uniform(*_STORM))
            self._storming = False
            for pair in self._pairs:
                pair.left = None
            await asyncio.sleep(self._random.uniform(*_CALM))

    def _reach(self) -> int:
        return self._random.randint(*self._random.choice(_REACHES))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            behind = await asyncio.open_connection("127.0.0.1", self._server)
        except OSError:
            writer.close()
            return
        pair = _Pair(writer, behind[1], self._reach() if self._storming else None)
        self._pairs.add(pair)
        try:
            ways = [self._carry(pair, reader, behind[1]), self._carry(pair, behind[0], writer)]
            await asyncio.gather(*ways)
        finally:
            self._pairs.discard(pair)

    async def _carry(self, pair: "_Pair", source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while not pair.is_cut:
                if pair.left == 0:
                    self.cuts += 1
                    pair.cut(reset=self._random.random() < _RESET)
                    return
                data = await source.read(_SIZE)
                if not data:
                    break
                if pair.left is not None:
                    data = data[: pair.left]
                    pair.left -= len(data)
                if self._storming and self._random.random() < _SLICED:
                    at = self._random.randint(0, len(data))
                    target.write(data[:at])
                    data = data[at:]
                    await asyncio.sleep(self._random.uniform(0, 0.002))
                target.write(data)
                await target.drain()
        except OSError:
            pass
        pair.cut(reset=False)


class _Pair:
    """Both connections of one client; `left`: bytes until it is cut, None: it is not."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter, left: int | None) -> None:
        self._writers = (client, server)
        self.left = left
        self.is_cut = False

    def cut(self, reset: bool) -> None:
        """With a RST (what was written and not read yet is lost), or with a FIN behind what was written."""
        self.is_cut = True
        for writer in self._writers:
            if not reset:
                writer.close()
                continue
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
