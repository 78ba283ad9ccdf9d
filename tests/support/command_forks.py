"""The program `floodgate` as a fork of a process that has imported it: each command is a process of its own still, and
begins within milliseconds instead of a third of a second."""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

from mta.cli.main import COMMANDS, main

_APART = {"node", "demo"}  # they are started as users start them
_REQUEST = 1 << 20  # octets, at most


class Said(NamedTuple):
    """The end of a command."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def floodgate(*words: str, environ: Mapping[str, str], timeout: float = 30.0) -> Said:
    """Run `floodgate WORDS` to its end; raises TimeoutError."""
    with (
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line,
    ):
        line.settimeout(timeout)
        line.connect(_server())
        request = json.dumps({"words": words, "environ": dict(environ), "folder": os.getcwd()}).encode()
        socket.send_fds(line, [request], [out.fileno(), err.fileno()])
        pid = int(line.recv(32))
        try:
            status = int(line.recv(32))
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
        return Said(status, *texts)


@functools.cache
def _server() -> str:
    """The address of a server that ends with this process."""
    folder = tempfile.TemporaryDirectory(prefix="forks")
    address = str(pathlib.Path(folder.name) / "socket")
    words = [sys.executable, "-m", "tests.support.command_forks", address]
    server = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def end() -> None:
        server.kill()
        server.wait()
        folder.cleanup()

    atexit.register(end)
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    return address


def _serve(address: str) -> None:
    for name, (module, _) in COMMANDS.items():
        if name not in _APART:
            importlib.import_module(module)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.bind(address)
        server.listen()
        print("ready", flush=True)
        while sys.stdin not in select.select([server, sys.stdin], [], [])[0]:
            line, _ = server.accept()
            if os.fork() == 0:
                server.close()
                _answer(line)
            line.close()


def _answer(line: socket.socket) -> NoReturn:
    """In a process of its own: starts the command, and tells its number and its status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request, descriptors, _, _ = socket.recv_fds(line, _REQUEST, 2)
    pid = os.fork()
    if pid == 0:
        line.close()
        _become(json.loads(request), descriptors)
    line.send(str(pid).encode())
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(OSError):
        line.send(str(status).encode())
    os._exit(0)


def _become(request: dict[str, object], descriptors: list[int]) -> NoReturn:
    """The command itself."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, descriptor in enumerate((nothing, *descriptors)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(str(request["folder"]))
    os.environ.clear()
    os.environ.update(request["environ"])  # type: ignore[call-overload]
    status = 0
    try:
        main(request["words"], prog_name="floodgate")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        status = 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve(sys.argv[1])
