"""The program `floodgate` as a fork of a process that has imported it: each command is a process of its own still, and
begins within milliseconds instead of a third of a second; a node takes half of the processor time to start."""

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
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, NoReturn

from setproctitle import setproctitle

from mta.cli.main import COMMANDS, main

_APART: Final = {"node", "demo"}  # commands that import what no client does
_CLIENTS: Final = "clients"
_NODES: Final = "nodes"
_REQUEST: Final = 1 << 20  # octets, at most


class Said(NamedTuple):
    """The end of a command."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Fork:
    """A program that runs, as `subprocess.Popen` shows one. Only the server knows when it ends, and tells it."""

    def __init__(self, words: Sequence[str], environ: Mapping[str, str], out: int, err: int) -> None:
        """`floodgate WORDS` in the folder of this process, with these descriptors."""
        self.returncode: int | None = None
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.settimeout(60.0)
        self._line.connect(_server(_NODES if words[0] in _APART else _CLIENTS))
        request = json.dumps({"words": words, "environ": dict(environ), "folder": os.getcwd()}).encode()
        socket.send_fds(self._line, [request], [out, err])
        self.pid = int(self._line.recv(32))

    def wait(self, timeout: float | None = None) -> int:
        """Its status. Raises TimeoutError."""
        if self.returncode is None:
            self._line.settimeout(timeout)
            try:
                self.returncode = int(self._line.recv(32))
            except BlockingIOError:
                raise TimeoutError from None
            self._line.close()
        return self.returncode

    def poll(self) -> int | None:
        """Its status, None while it runs."""
        with contextlib.suppress(TimeoutError):
            return self.wait(0)
        return None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended, and the server is about to tell
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def floodgate(*words: str, environ: Mapping[str, str], timeout: float = 60.0) -> Said:
    """Run `floodgate WORDS` to its end; raises TimeoutError."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        program = Fork(words, environ, out.fileno(), err.fileno())
        try:
            status = program.wait(timeout)
        except TimeoutError:
            program.kill()
            raise
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
        return Said(status, *texts)


@functools.cache
def _server(kind: str) -> str:
    """The address of a server that ends with this process."""
    folder = tempfile.TemporaryDirectory(prefix="forks")
    address = str(pathlib.Path(folder.name) / "socket")
    words = [sys.executable, "-m", "tests.support.command_forks", kind, address]
    server = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def end() -> None:
        server.kill()
        server.wait()
        folder.cleanup()

    atexit.register(end)
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    return address


def _import_clients() -> None:
    for name, (module, _) in COMMANDS.items():
        if name not in _APART:
            importlib.import_module(module)


def _import_nodes() -> None:
    """The modules that a node and its fork server import when a node starts."""
    from mta.model.settings import NodeSettings, Settings
    from mta.runtime.fork_server import program_of
    from mta.runtime.supervisor import first_programs

    importlib.import_module(COMMANDS["node"][0])
    for module in first_programs(Settings(node=NodeSettings(data_dir="/nowhere"))):
        program_of(module)


def _serve(kind: str, address: str) -> None:
    gc.disable()
    {_CLIENTS: _import_clients, _NODES: _import_nodes}[kind]()
    gc.freeze()
    gc.enable()
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
    setproctitle(f"floodgate {' '.join(request['words'])}")  # type: ignore[arg-type]
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
    _serve(*sys.argv[1:])
