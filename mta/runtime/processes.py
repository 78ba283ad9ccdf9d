"""The child processes of a node: the supervisor has each forked, and again when it dies or hangs, and drains it."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from mta.ingress.worker_loads import LoadSlot
from mta.runtime.fork_client import ForkClient, ForkedChild
from mta.runtime.heartbeat import LOOK_EVERY, Heartbeat, StallWatch, new_memory
from mta.runtime.worker_memory import WorkerMemory
from mta.timing.backoff import Backoff

log = logging.getLogger(__name__)

_REPLACE_TIMEOUT: Final = 120.0  # seconds
_FIRST_PAUSE, _LAST_PAUSE = 0.1, 10.0  # seconds before a process that died is started again
_LONG_LIFE: Final = 30.0  # seconds that a process lived after which its death counts as a first one
_KILLED: Final = 5.0  # seconds to wait for the end of a process that was killed


class Role(NamedTuple):
    """A kind of process: the module that it runs, how many, which listening sockets and which memory it inherits, and
    the load slot of each."""

    module: str
    processes: int
    sockets: tuple[int, ...] = ()
    load_slots: tuple[LoadSlot, ...] = ()
    memory: WorkerMemory | None = None


class Process:
    """One child: started again with back-off when it dies, replaced when settings change, drained by closing its
    pipe."""

    def __init__(
        self,
        name: str,
        role: Role,
        forks: ForkClient,
        boot: Callable[[int], bytes],
        reaped: Callable[[int], None],
        lease: float,
    ) -> None:
        """`boot` makes the first line for the child, given the descriptor of its heartbeat. `reaped` is called with the
        pid of each child that has ended. `lease`: seconds that its event loop may stand still."""
        self._name = name
        self._role = role
        self._forks = forks
        self._boot = boot
        self._reaped = reaped
        self._lease = lease
        self._memory = new_memory()
        self._heartbeat = Heartbeat(self._memory)
        self._process: ForkedChild | None = None
        self._replacing = False
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self.ready = asyncio.Event()
        self._is_up = False  # the process that runs now has said that it is ready

    @property
    def pid(self) -> int | None:
        """None: none runs."""
        return None if self._process is None or self._process.has_ended else self._process.pid

    @property
    def _inherited(self) -> tuple[int, ...]:
        role = self._role
        shared = {slot.memory for slot in role.load_slots}
        if role.memory is not None:
            shared |= role.memory.descriptors
        return (self._memory, *role.sockets, *shared)

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._live(), name=self._name)

    @property
    def has_begun(self) -> bool:
        """False: it was never started."""
        return self._task is not None

    async def _live(self) -> None:
        backoff = Backoff(_FIRST_PAUSE, _LAST_PAUSE)
        while not self._stopping:
            started = time.monotonic()
            try:
                process = await self._spawn()
            except OSError as error:
                pause = backoff.failed()
                log.error("%s cannot be started: %s; tried again in %.1f s", self._name, error.strerror, pause)
                await asyncio.sleep(pause)
                continue
            if self._stopping:
                process.close_stdin()  # `drain` was called while it was being started
            end = await self._end_of(process)
            self._reaped(process.pid)
            if self._stopping or self._replacing:
                self._replacing = False
                continue
            if time.monotonic() - started > _LONG_LIFE:
                backoff.succeeded()
            pause = backoff.failed()
            log.error("%s (pid %d) %s; started again in %.1f s", self._name, process.pid, end, pause)
            await asyncio.sleep(pause)

    async def _end_of(self, process: ForkedChild) -> str:
        """Wait until the process has ended, and kill it if its event loop stands still. Answers how it ended, for the
        log."""
        hearing = asyncio.create_task(self._hear_ready(process))
        stalled = asyncio.create_task(self._until_it_stalls())
        ended = asyncio.create_task(process.wait())
        try:
            await asyncio.wait((stalled, ended), return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                return f"ended with status {ended.result()}"
            process.send_signal(signal.SIGKILL)
            await ended
            return f"was killed: its event loop stood still for {stalled.result():.0f} s, longer than delivery.lease"
        finally:
            for task in (hearing, stalled):
                task.cancel()

    async def _hear_ready(self, process: ForkedChild) -> None:
        if await process.stdout.readline() == b"ready\n":
            self.ready.set()
            self._is_up = True

    async def _until_it_stalls(self) -> float:
        """Return once its event loop has stood still for longer than the lease; the seconds for which it has."""
        watch = StallWatch(self._lease, self._heartbeat.read(), time.monotonic())
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if seconds := watch.look(self._heartbeat.read(), time.monotonic()):
                return seconds

    async def _spawn(self) -> ForkedChild:
        self._is_up = False
        self._process = process = await self._forks.fork(self._role.module, self._inherited)
        process.write(self._boot(self._memory))
        return process

    def drain(self) -> None:
        """Close its pipe, so that it finishes its work and ends. It gets the priority of the supervisor back, where the
        system allows that: on a busy machine a niced process takes a minute for its last tenth of a second."""
        self._stopping = True
        if self._process is not None:
            self._process.close_stdin()
        if self.pid is not None:
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self.pid, os.getpriority(os.PRIO_PROCESS, 0))

    async def replace(self) -> None:
        """Drain it, and start another one with the current settings."""
        self._replacing = True
        self.ready.clear()
        if self._process is not None:
            self._process.close_stdin()
        try:
            async with asyncio.timeout(_REPLACE_TIMEOUT):
                await self.ready.wait()
        except TimeoutError:
            log.error("%s was not replaced within %.0f s; it is killed", self._name, _REPLACE_TIMEOUT)
            self._kill()

    def hang_up(self) -> None:
        """Have it open its files anew. One that still starts opens them anyway, and would die of the signal."""
        if self._is_up and self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    async def gone(self, seconds: float) -> None:
        """Wait until it has drained. After `seconds` kill it, and wait `_KILLED` seconds more."""
        if self._task is None:
            return
        await asyncio.wait((self._task,), timeout=seconds)
        if not self._task.done():
            log.error("%s (pid %s) did not drain within %.0f s; it is killed", self._name, self.pid, seconds)
            self._kill()
            await asyncio.wait((self._task,), timeout=_KILLED)
        if not self._task.done():
            log.error("%s (pid %s) was killed and has not ended yet", self._name, self.pid)
            self._task.cancel()
        elif (error := self._task.exception()) is not None:
            log.error("the supervision of %s failed", self._name, exc_info=error)

    def _kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)


def start_when_asked(process: Process, listening: socket.socket) -> None:
    """Start it when the first client connects. The client waits in the backlog of the socket meanwhile."""
    loop = asyncio.get_running_loop()

    def asked() -> None:
        loop.remove_reader(listening)
        process.start()

    loop.add_reader(listening, asked)
