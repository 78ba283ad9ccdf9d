"""A daemon that is not ours: started in the foreground, waited for, and stopped with all that it started."""

import contextlib
import os
import socket
import subprocess
import time
from pathlib import Path

import psutil

from bench.processes import RunVoid

_GREETS_WITHIN = 20.0
_STOPS_WITHIN = 15.0
_SESSION_STOPS_WITHIN = 3.0


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_seconds(family: list[psutil.Process]) -> float:
    """CPU that processes have used so far, with that of the children they outlived."""
    total = 0.0
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


class Daemon:
    """A process that greets SMTP clients; used as a context."""

    def __init__(
        self,
        command: list[str],
        port: int,
        log: Path,
        environment: dict[str, str] | None = None,
        output: Path | None = None,
    ) -> None:
        """`output`: where its standard output goes, if not to the log, too."""
        self._name = Path(command[0]).name
        self.smtp = f"127.0.0.1:{port}"
        self._log = log
        with log.open("ab") as said, (output or log).open("ab") as out:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=said,
                env=os.environ | (environment or {}),
                start_new_session=True,
            )
        try:
            self._wait_for_greeting(port)
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> "Daemon":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def family(self) -> list[psutil.Process]:
        """It and everything that it started and that still runs."""
        try:
            whole = psutil.Process(self._process.pid)
            return [whole, *whole.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def stop(self) -> None:
        """SIGTERM; SIGKILL for it and for whatever of its session is there afterwards."""
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOPS_WITHIN)
        deadline = time.monotonic() + _SESSION_STOPS_WITHIN
        while self._session() and time.monotonic() < deadline:
            time.sleep(0.05)
        for process in self._session():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()

    def _session(self) -> list[psutil.Process]:
        """The living processes of its session, whoever is their parent by now: the daemon and those that it started."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
                if os.getsid(process.pid) == self._process.pid and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def _wait_for_greeting(self, port: int) -> None:
        deadline = time.monotonic() + _GREETS_WITHIN
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RunVoid(f"{self._name} ended with status {self._process.returncode}; {self._last_words()}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5.0) as link:
                link.settimeout(5.0)
                if link.recv(512).startswith(b"220"):
                    link.sendall(b"QUIT\r\n")
                    return
            time.sleep(0.1)
        raise RunVoid(f"{self._name} did not greet within {_GREETS_WITHIN:.0f} s; {self._last_words()}")

    def _last_words(self) -> str:
        text = self._log.read_text(errors="replace").strip().splitlines()
        return f"its log ends: {' | '.join(text[-5:])}" if text else "it said nothing"
