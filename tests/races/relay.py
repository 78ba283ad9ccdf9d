"""A network between a node and its store: a process that passes octets on, and that is stopped to cut the node off.

`python -m tests.races.relay PORT` prints the port on which it listens.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]


class RelayProcess:
    """`with running(relay): relay.url`; `stall` keeps every octet back, `resume` lets them go on."""

    def __init__(self, port: int) -> None:
        self._words = [sys.executable, "-m", "tests.races.relay", str(port)]
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def start(self) -> "RelayProcess":
        self._process = subprocess.Popen(self._words, cwd=_ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = f"redis://127.0.0.1:{int(self._process.stdout.readline())}"
        return self

    def stall(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _signal(self, which: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, which)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    writer.close()


async def _serve(port: int) -> None:
    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            store_reader, store_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pump(reader, store_writer), _pump(store_reader, writer))

    server = await asyncio.start_server(pass_on, "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
