"""The supervisor's side of the fork server: it starts the server, asks it for children, and waits for their ends."""

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Collection
from typing import Final

import msgspec

from mta.runtime.fork_server import DESCRIPTORS, Request, begin

log = logging.getLogger(__name__)

_PATIENCE: Final = 60.0  # seconds for one answer; the first one waits for the imports
_ENDS: Final = 5.0  # seconds that the fork server has to end
_PR_SET_CHILD_SUBREAPER: Final = 36


class ForkedChild:
    """A child of this process that the fork server forked."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.stdout = asyncio.StreamReader()
        self._pipes: list[asyncio.BaseTransport] = []
        self._stdin: asyncio.WriteTransport | None = None
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def connect(self, stdin: int, stdout: int) -> None:
        """Take over this process's ends of its pipes."""
        loop = asyncio.get_running_loop()
        self._stdin, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(stdin, "wb", buffering=0))
        heard = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self.stdout), os.fdopen(stdout, "rb", buffering=0)
        )
        self._pipes += [self._stdin, heard[0]]

    @property
    def has_ended(self) -> bool:
        return self._ended.done()

    def ended(self, status: int) -> None:
        """It was waited for."""
        self._ended.set_result(status)
        for pipe in self._pipes:
            pipe.close()

    async def wait(self) -> int:
        """Its exit status; the negative number of the signal that killed it."""
        return await asyncio.shield(self._ended)

    def write(self, data: bytes) -> None:
        if self._stdin is not None and not self._stdin.is_closing():
            self._stdin.write(data)

    def close_stdin(self) -> None:
        if self._stdin is not None:
            self._stdin.close()

    def send_signal(self, number: signal.Signals) -> None:
        if not self.has_ended:  # its pid is its own until it was waited for
            os.kill(self.pid, number)


class ForkClient:
    """The fork server of a node, started anew when it has died, and the children that it forked."""

    def __init__(self, modules: Collection[str]) -> None:
        """The server imports `modules`; a child that runs another one imports what it lacks."""
        self._modules = modules
        self._server = 0  # pid of the one that was started last
        self._link: socket.socket | None = None
        self._groups: set[int] = set()  # process groups of the servers so far, which their children share
        self._watches = False
        self._children: dict[int, ForkedChild] = {}
        self._turn = asyncio.Lock()  # one request at a time
        self._early: dict[int, int] = {}  # pid: status, of those that ended while a request was under way
        self._gone = asyncio.Event()  # the server that was started last has ended
        self._closing = False

    def begin(self) -> None:
        """Fork the server from this process, which has neither an event loop nor a second thread yet: so it has what
        is imported here already, and imports the rest while this process goes on. Raises OSError."""

        def forked(link: int) -> int:
            pid = os.fork()
            if pid == 0:
                begin(link, self._modules)
            os.setpgid(pid, pid)  # the server does so, too, and neither knows who is first
            return pid

        self._start(forked)

    def _start(self, start: Callable[[int], int]) -> None:
        """`start` is called with the server's end of the link."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            try:
                self._server = start(theirs.fileno())
            except BaseException:
                ours.close()
                raise
        self._link = ours
        self._groups.add(self._server)
        self._gone.clear()

    def _spawn(self, link: int) -> int:
        """Start a server that imports everything itself, since this process has an event loop."""
        os.set_inheritable(link, True)
        words = (sys.executable, "-P", "-m", "mta.runtime.fork_server", str(link), *self._modules)
        return os.posix_spawn(sys.executable, words, os.environ, setpgroup=0)

    def _watch(self) -> None:
        """Hear of the ends of processes, also of those that have ended already."""
        if not self._watches:
            self._watches = True
            _adopt(True)
            asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)
            self._reap()

    async def fork(self, module: str, inherited: Collection[int]) -> ForkedChild:
        """A child that runs `module` and has the descriptors `inherited`, under their numbers. Raises OSError."""
        (stdin, to_child), (from_child, stdout) = os.pipe(), os.pipe()
        numbers = {0: stdin, 1: stdout} | {number: number for number in inherited}
        async with self._turn:
            self._watch()
            try:
                pid = await self._ask(module, numbers)
            except BaseException:
                os.close(to_child)
                os.close(from_child)
                raise
            finally:
                os.close(stdin)
                os.close(stdout)
            forked = self._children[pid] = ForkedChild(pid)
            await forked.connect(to_child, from_child)
            early, self._early = self._early, {}
            if pid in early:
                self._has_ended(pid, early[pid])
            return forked

    async def _ask(self, module: str, numbers: dict[int, int]) -> int:
        """The pid. A server that has died is replaced. Raises OSError."""
        if self._link is None:
            self._start(self._spawn)
        try:
            async with asyncio.timeout(_PATIENCE):
                answer = await self._talk(module, numbers)
        except BaseException as error:
            # The answer may still come: nobody may take it for that to the next request.
            self._lose()
            if isinstance(error, TimeoutError):
                raise OSError(0, f"the fork server does not answer for {_PATIENCE:.0f} s") from None
            if isinstance(error, ConnectionError):
                raise OSError(0, "the fork server has ended") from None
            raise
        if isinstance(answer, str):
            raise OSError(0, f"the fork server cannot fork: {answer}")
        return answer

    async def _talk(self, module: str, numbers: dict[int, int]) -> int | str:
        assert self._link is not None
        items = list(numbers.items())
        for at in range(0, len(items), DESCRIPTORS):
            part = items[at : at + DESCRIPTORS]
            request = Request(module, tuple(number for number, _ in part), at + DESCRIPTORS >= len(items))
            socket.send_fds(self._link, [msgspec.msgpack.encode(request)], [here for _, here in part])
        answer = await asyncio.get_running_loop().sock_recv(self._link, 4096)
        if not answer:
            raise ConnectionResetError
        return msgspec.msgpack.decode(answer, type=int | str)

    def _lose(self) -> None:
        """End the server; the next child has another one started."""
        link, self._link = self._link, None
        if link is not None:
            link.close()
        self._kill()

    def _kill(self) -> None:
        if not self._gone.is_set():
            os.kill(self._server, signal.SIGKILL)

    def _reap(self) -> None:
        """Wait for the server, the children, and orphans of theirs, as far as they have ended."""
        for group in tuple(self._groups):
            try:
                while (found := os.waitpid(-group, os.WNOHANG))[0]:
                    self._has_ended(found[0], os.waitstatus_to_exitcode(found[1]))
            except ChildProcessError:  # nobody of this group is left
                self._groups.discard(group)

    def _has_ended(self, pid: int, status: int) -> None:
        forked = self._children.pop(pid, None)
        if forked is not None:
            forked.ended(status)
        elif pid == self._server:
            self._gone.set()
            if not self._turn.locked():  # else the request under way finds out
                self._lose()
            if not self._closing:
                log.error("the fork server (pid %d) ended with status %d; another is started when needed", pid, status)
        elif self._turn.locked():
            self._early[pid] = status

    async def close(self) -> None:
        """End the server, which has nothing to finish. Called when the children have ended."""
        self._closing = True
        if self._server:
            self._watch()
            self._lose()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ENDS):
                    await self._gone.wait()
        if self._watches:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)
            _adopt(False)


def _adopt(adopts: bool) -> None:
    """Whether descendants of this process whose parent ends become its children."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(adopts))
