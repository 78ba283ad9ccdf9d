"""A network between a node and its store: a process that passes octets on, until it is told or stopped.

`python -m tests.races.relay PORT` prints the port on which it listens. Lines on its standard input: "cut" ends every
connection and each new one, "flap" resets each connection after a random number of the store's octets, in the middle of
an answer too, and "mend" ends both.
"""

import asyncio
import contextlib
import enum
import os
import random
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_MOST_OCTETS = 3000  # of the store, before a connection that flaps is reset
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST


class Network(enum.StrEnum):
    """The state of the relay."""

    WHOLE = "mend"
    CUT = "cut"
    FLAPPING = "flap"


class RelayProcess:
    """`with running(relay): relay.url`; `stall` keeps every octet back, `resume` lets them go on.

    `become` returns once it is so; it must not be called while the relay is stalled.
    """

    def __init__(self, port: int) -> None:
        self._words = [sys.executable, "-m", "tests.races.relay", str(port)]
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def start(self) -> "RelayProcess":
        self._process = subprocess.Popen(
            self._words, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.url = f"redis://127.0.0.1:{int(self._line())}"
        return self

    def become(self, network: Network) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{network}\n")
        self._process.stdin.flush()
        assert self._line() == f"{network}\n"

    def _line(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout.readline()

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


class _Relay:
    def __init__(self, port: int) -> None:
        self._port = port
        self._ends: set[asyncio.StreamWriter] = set()
        self.network = Network.WHOLE

    def become(self, network: Network) -> None:
        self.network = network
        if network is not Network.WHOLE:
            for end in self._ends:
                _reset(end)

    async def session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = {writer}
        try:
            if self.network is not Network.CUT:
                store_reader, store_writer = await asyncio.open_connection("127.0.0.1", self._port)
                ends.add(store_writer)
                self._ends |= ends
                await asyncio.gather(self._pump(reader, store_writer), self._pump(store_reader, writer, of_store=True))
        except OSError:
            pass
        finally:
            self._ends -= ends
            for end in ends:
                end.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, of_store: bool = False) -> None:
        left = random.randrange(_MOST_OCTETS)
        with contextlib.suppress(OSError):
            while piece := await reader.read(65536):
                if of_store and self.network is Network.FLAPPING:
                    writer.write(piece[:left])
                    left -= len(piece)
                    if left <= 0:
                        _reset(writer)
                        return
                else:
                    writer.write(piece)
                await writer.drain()
        writer.close()


def _reset(end: asyncio.StreamWriter) -> None:
    link: socket.socket | None = end.get_extra_info("socket")
    if link is not None and not end.is_closing():
        with contextlib.suppress(OSError):
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    end.transport.abort()


async def _serve(port: int) -> None:
    relay = _Relay(port)
    server = await asyncio.start_server(relay.session, "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    while word := await loop.run_in_executor(None, sys.stdin.readline):
        relay.become(Network(word.strip()))
        print(word, end="", flush=True)


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
