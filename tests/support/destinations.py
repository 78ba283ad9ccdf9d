"""Destinations that others wrote: aiosmtpd, and Postfix's smtp-sink as a process."""

import asyncio
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from typing import Any, NamedTuple

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP

from tests.support.conditions import PATIENCE
from tests.support.needs import tool
from tests.support.valkey import free_port


class Arrived(NamedTuple):
    """One transaction; of smtp-sink's the line ends are restored."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    parameters: tuple[str, ...] = ()  # of MAIL


class _Wide(SMTP):
    line_length_limit = 1 << 22  # its reader gives up on longer lines


class _Controller(Controller):
    def factory(self) -> SMTP:
        return _Wide(self.handler, loop=self.loop, data_size_limit=0, decode_data=False, ident="aiosmtpd")


class AiosmtpdServer:
    """Records each transaction by its first recipient."""

    def __init__(self) -> None:
        self.arrived: list[Arrived] = []
        self._lock = threading.Lock()
        self._controller = _Controller(self, hostname="127.0.0.1", port=free_port(), ready_timeout=PATIENCE)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._controller.port}"

    def start(self) -> None:
        self._controller.start()

    def stop(self) -> None:
        self._controller.stop()

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:
        arrived = Arrived(
            envelope.mail_from, tuple(envelope.rcpt_tos), bytes(envelope.original_content), tuple(envelope.mail_options)
        )
        with self._lock:
            self.arrived.append(arrived)
        await asyncio.sleep(0)
        return "250 2.0.0 taken"

    def taken(self) -> list[Arrived]:
        with self._lock:
            return list(self.arrived)


class SmtpSink:
    """Postfix's smtp-sink with a dump file for each transaction, in a folder that its user may write."""

    def __init__(self, *options: str) -> None:
        self._options = options
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="smtp-sink-"))
        self._folder.chmod(0o777)
        words = [tool("smtp-sink") or "smtp-sink", *self._options, "-d", f"{self._folder}/m."]
        if os.geteuid() == 0:
            words += ["-u", "nobody"]
        self._process = subprocess.Popen([*words, self.address, "100"])
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port), 1).close()
                return
            except OSError:
                assert time.monotonic() < deadline
                assert self._process.poll() is None, "smtp-sink ended"
                time.sleep(0.02)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(60)
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def files(self) -> int:
        return sum(1 for _ in self._folder.iterdir())

    def taken(self) -> list[Arrived]:
        """Once it is at rest: a file is there from its MAIL on."""
        return [_read_dump(path.read_bytes()) for path in sorted(self._folder.iterdir())]


def _read_dump(dump: bytes) -> Arrived:
    """`X-` lines for the session and the envelope, its own Received of three lines, the message with LF line ends,
    and the line end that belonged to the final dot."""
    lines = dump.split(b"\n")
    said: dict[bytes, list[str]] = {}
    while lines[0].startswith((b"X-Client-", b"X-Helo-", b"X-Mail-", b"X-Rcpt-")):
        name, _, value = lines.pop(0).partition(b": ")
        said.setdefault(name, []).append(value.decode())
    trace = [lines.pop(0) for _ in range(3)]
    assert trace[0].startswith(b"Received: from "), dump[:500]
    assert all(line.startswith(b"\t") for line in trace[1:]), dump[:500]
    assert lines[-2:] == [b"", b""], dump[-200:]
    sender, _, parameters = f"{said[b'X-Mail-Args'][0]} ".partition("> ")
    recipients = tuple(address[1:-1] for address in said[b"X-Rcpt-Args"])
    return Arrived(sender[1:], recipients, b"\r\n".join(lines[:-1]), tuple(parameters.split()))
