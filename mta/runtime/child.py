"""A child process of the node: the supervisor tells it its settings over a pipe, and closes the pipe to drain it."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import msgspec
import uvloop

from mta.ingress.worker_loads import LoadSlot
from mta.model.settings import Settings
from mta.runtime.collector import collect_from_now_on
from mta.runtime.heartbeat import Heartbeat
from mta.runtime.worker_memory import WorkerMemory
from mta.timing.clock import process_clock

log = logging.getLogger(__name__)

CLOCK_LOOK: Final = 1.0  # seconds between two looks at the host's clock


class Boot(msgspec.Struct, frozen=True):
    """The first line of a child's standard input, as JSON: its settings, and the descriptors that it inherits."""

    settings: Settings
    redis_url: str
    sockets: tuple[int, ...] = ()  # listening sockets, inherited
    load_slot: LoadSlot | None = None  # among the workers that share those sockets
    heartbeat: int = -1  # descriptor of the memory that holds its heartbeat; -1 = the supervisor does not watch it
    memory: WorkerMemory | None = None  # that a worker shares with the others
    clock_offset: float | None = None  # of the node's time of day (`timing.clock`); None = the host's clock


class Child:
    """The child's side of its talk with the supervisor."""

    def __init__(self, boot: Boot) -> None:
        self.boot = boot
        self.settings = boot.settings
        self.stopping = asyncio.Event()
        self.reopen: list[Callable[[], None]] = []
        self.failed = False

    def listeners(self) -> list[socket.socket]:
        return [socket.socket(fileno=fd) for fd in self.boot.sockets]

    def ready(self) -> None:
        """Tell the supervisor, once, that everything this process listens on answers."""
        os.write(1, b"ready\n")

    async def unless_stopped(self, waiting: Coroutine[Any, Any, None]) -> None:
        """Return when `waiting` has returned, or when the process is told to stop."""
        waits = [asyncio.ensure_future(waiting), asyncio.ensure_future(self.stopping.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

    def essential(self, task: asyncio.Task[Any]) -> asyncio.Task[Any]:
        """When this task ends by itself, the process drains and exits with status 1, and the supervisor starts another
        one."""
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled() or self.stopping.is_set():
            return
        log.critical("%s ended by itself", task.get_name(), exc_info=task.exception())
        self.failed = True
        self.stopping.set()

    def hang_up(self) -> None:
        for reopen in self.reopen:
            reopen()


def run(main: Callable[[Child], Awaitable[None]]) -> None:
    """Run a child process to its end: exit 0 when it was told to stop, 1 when it failed."""
    collect_from_now_on()
    logging.basicConfig(
        stream=sys.stderr,
        level=os.environ.get("FLOODGATE_LOG", "INFO"),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    # A signal to the whole process group is for the supervisor, which closes the pipe of this child when its turn has
    # come to drain.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, 65536)
        if not piece:
            sys.exit("this is a part of `floodgate node`, which starts it")
        line += piece
    boot = msgspec.json.decode(line, type=Boot)
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_main(main, boot))


async def _main(main: Callable[[Child], Awaitable[None]], boot: Boot) -> None:
    loop = asyncio.get_running_loop()
    child = Child(boot)
    if boot.heartbeat >= 0:
        Heartbeat.start(boot.heartbeat)
    if boot.clock_offset is not None:
        process_clock.anchor(boot.clock_offset)
    _follow_clock(loop)
    loop.add_signal_handler(signal.SIGHUP, child.hang_up)
    pipe = await loop.connect_read_pipe(lambda: _Pipe(child.stopping), os.fdopen(0, "rb", buffering=0))
    try:
        await main(child)
    finally:
        pipe[0].close()
    if child.failed:
        sys.exit(1)


def _follow_clock(loop: asyncio.AbstractEventLoop) -> None:
    """Follow the small steps of the host's clock. The supervisor logs its jumps, for the whole node."""
    process_clock.follow()
    loop.call_later(CLOCK_LOOK, _follow_clock, loop)


class _Pipe(asyncio.Protocol):
    """The supervisor closes its end to drain this process; the kernel closes it when the supervisor dies."""

    def __init__(self, closed: asyncio.Event) -> None:
        self._closed = closed

    def eof_received(self) -> None:
        self._closed.set()

    def connection_lost(self, error: Exception | None) -> None:
        self._closed.set()


def boot_line(
    settings: Settings,
    redis_url: str,
    sockets: tuple[int, ...],
    load_slot: LoadSlot | None,
    heartbeat: int,
    memory: WorkerMemory | None = None,
) -> bytes:
    """The line for a child, which counts its time of day as this process does."""
    boot: Any = Boot(settings, redis_url, sockets, load_slot, heartbeat, memory, process_clock.offset)
    return msgspec.json.encode(boot) + b"\n"
