"""The fork server: a process with one thread that has imported the programs of a node's processes, and forks them.

It is started with the descriptor of a socket and the modules that it imports. The supervisor writes one request to the
socket for each child, with the descriptors of the child, and reads the child's pid. A child is forked twice, so that
its parent is the supervisor (a subreaper), which alone waits for it, and which it outlives no longer than it drains.
The fork server ends when the supervisor closes the socket or dies; the children live on without it.
"""

import fcntl
import gc
import importlib
import importlib.util
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, NoReturn

import msgspec
from setproctitle import setproctitle

from mta.runtime import child

DESCRIPTORS: Final = 200  # of one packet; the system takes 253
_PACKET: Final = 1 << 16  # bytes
_STDERR: Final = 2


class Request(msgspec.Struct, frozen=True, array_like=True):
    """A child to fork. One with many descriptors takes several packets; the last one is `complete`."""

    module: str
    numbers: tuple[int, ...]  # that the descriptors of this packet get in the child, in their order
    complete: bool


def program_of(module: str) -> Callable[[child.Child], Awaitable[None]]:
    """The `main` of a module, or of the `__main__` of a package."""
    found = importlib.import_module(module)
    if hasattr(found, "__path__"):
        found = importlib.import_module(f"{module}.__main__")
    main: Callable[[child.Child], Awaitable[None]] = found.main
    return main


def serve(link: socket.socket) -> None:
    """Fork what is asked for until the other end of the link is closed."""
    received: dict[int, int] = {}  # number in the child: number here
    while True:
        packet, descriptors, _, _ = socket.recv_fds(link, _PACKET, DESCRIPTORS)
        if not packet:
            return
        request = msgspec.msgpack.decode(packet, type=Request)
        received |= zip(request.numbers, descriptors, strict=True)
        if not request.complete:
            continue
        try:
            answer: int | str = _fork(request.module, received)
        except OSError as error:  # no memory, or too many processes
            answer = error.strerror or str(error)
        for descriptor in received.values():
            os.close(descriptor)
        received.clear()
        link.send(msgspec.msgpack.encode(answer))


def _fork(module: str, received: dict[int, int]) -> int:
    """The pid of a grandchild, whose parent is the subreaper once this returns. Raises OSError."""
    reading, writing = os.pipe()
    try:
        between = os.fork()
        if between == 0:
            _fork_again(module, received, writing)
        os.close(writing)
        writing = -1
        told = os.read(reading, 64)
        os.waitpid(between, 0)
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)
    answer: int | str = msgspec.msgpack.decode(told, type=int | str)
    if isinstance(answer, str):
        raise OSError(0, answer)
    return answer


def _fork_again(module: str, received: dict[int, int], telling: int) -> NoReturn:
    """The life of the process between: it forks the child, tells its pid, and ends."""
    answer: int | str
    try:
        answer = os.fork()
    except OSError as error:
        answer = error.strerror or str(error)
    if answer == 0:
        _live(module, received)
    os.write(telling, msgspec.msgpack.encode(answer))
    os._exit(0)


def _live(module: str, received: dict[int, int]) -> NoReturn:
    """The life of a child. It ends without taking the interpreter apart: the system takes its memory back anyway."""
    status = 1
    try:
        place(received)
        setproctitle(title(module))
        child.run(program_of(module))
        threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as the end of a program does
        status = 0
    except SystemExit as end:
        if isinstance(end.code, int):
            status = end.code
        elif end.code is not None:
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def title(module: str) -> str:
    """The name that `ps` shows for a process of the node that runs this module."""
    return f"floodgate: {module}"


def place(received: dict[int, int]) -> None:
    """Give each descriptor its number, and close all others but standard error."""
    highest = max(received)
    moved = {number: fcntl.fcntl(here, fcntl.F_DUPFD, highest + 1) for number, here in received.items()}
    for number, here in moved.items():
        os.dup2(here, number, inheritable=number <= _STDERR)
    _close_all_but({_STDERR, *received})


def _close_all_but(kept: Iterable[int]) -> None:
    begin = 0
    for end in (*sorted(kept), os.sysconf("SC_OPEN_MAX")):
        if begin < end:  # CPython takes an empty range for all descriptors
            os.closerange(begin, end)
        begin = end + 1


def begin(link: int, modules: Iterable[str]) -> NoReturn:
    """The life of the server: it imports the modules, and serves the link. It has only this descriptor and standard
    error of the process that it was forked from."""
    status = 1
    try:
        gc.disable()
        # Signals to the whole service are for the supervisor. On SIGHUP files are opened anew: a child that still
        # starts has none, and would die of it. A process in the background may write to its terminal.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTTOU):
            signal.signal(number, signal.SIG_IGN)
        if os.getpgrp() != os.getpid():
            os.setpgid(0, 0)  # the supervisor waits for any process of this group
        setproctitle(title("mta.runtime.fork_server"))
        nothing = os.open(os.devnull, os.O_RDWR)
        place({0: nothing, 1: nothing, link: link})
        for module in modules:
            program_of(module)
        gc.freeze()
        serve(socket.socket(fileno=link))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    begin(int(sys.argv[1]), sys.argv[2:])
