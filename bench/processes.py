"""The processes of a run: started as a user would start them, watched for CPU and memory, stopped by their own id."""

import json
import os
import queue
import secrets
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil

from bench.machine import floodgate_command

_READY_WITHIN = 60.0
_STOP_WITHIN = 60.0


class RunVoid(Exception):
    """The run says nothing, and why."""


class Child:
    """A process that speaks lines of JSON on its standard output."""

    def __init__(self, command: list[str], *, errors: Path, environment: dict[str, str] | None = None) -> None:
        self.name = " ".join(command[1:4])
        self._errors = errors.open("ab")
        self.errors_path = errors
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=os.environ | (environment or {}),
        )
        self._lines: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(b"")

    def answer(self, event: str, within: float) -> dict[str, Any]:
        """The next line whose `event` is that. Raises RunVoid when the process ended or nothing came in time."""
        deadline = time.monotonic() + within
        while True:
            try:
                line = self._lines.get(timeout=max(deadline - time.monotonic(), 0.001))
            except queue.Empty:
                raise RunVoid(f"{self.name}: no {event!r} within {within:.0f} s; {self._last_words()}") from None
            if not line:
                raise RunVoid(f"{self.name}: ended before {event!r}; {self._last_words()}")
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and record.get("event") == event:
                return record

    def ready(self, within: float) -> dict[str, Any]:
        """Its ready line; what does not get ready is stopped."""
        try:
            return self.answer("ready", within)
        except BaseException:
            self.stop(5.0)
            raise

    def ask(self, order: str, event: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(order.encode() + b"\n")
        self.process.stdin.flush()
        return self.answer(event, 30.0)

    def end_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def stop(self, within: float = _STOP_WITHIN) -> int:
        """SIGTERM, then SIGKILL when it does not end in time; the exit status."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(within)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._errors.close()
        return self.process.returncode

    def _last_words(self) -> str:
        text = self.errors_path.read_text(errors="replace").strip().splitlines()
        return f"its log ends: {' | '.join(text[-5:])}" if text else "it said nothing"


class Sink(Child):
    """The benchmark's destination."""

    def __init__(self, errors: Path) -> None:
        super().__init__([sys.executable, "-m", "bench.sink"], errors=errors)
        self.address = str(self.ready(20.0)["listen"])

    def account(self) -> dict[str, Any]:
        """Ends it and returns the whole account."""
        self.end_input()
        whole = self.answer("end", 30.0)
        self.stop()
        return whole


class Node(Child):
    """One embedded Floodgate node over a fresh data directory."""

    def __init__(self, data_dir: Path, workers: int, route: str, errors: Path, extra: list[str]) -> None:
        self.data_dir = data_dir
        self.token = secrets.token_hex(16)
        settings = [f"delivery.route={route}", "smtp.listen=127.0.0.1:0", "api.listen=127.0.0.1:0", *extra]
        command = [*floodgate_command(), "node", "--embedded", "--data-dir", str(data_dir), "--workers", str(workers)]
        for setting in settings:
            command += ["--set", setting]
        self.command = command
        super().__init__(command, errors=errors, environment={"FLOODGATE_ADMIN_TOKEN": self.token})
        ready = self.ready(_READY_WITHIN)
        self.smtp = str(ready["smtp"][0])
        self.api = str(ready["api"])

    def get(self, path: str) -> Any:
        request = urllib.request.Request(self.api + path, headers={"Authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def family(self) -> list[psutil.Process]:
        """The node and everything that it started."""
        try:
            whole = psutil.Process(self.process.pid)
            return [whole, *whole.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


def server_version(processes: list[psutil.Process]) -> str:
    """What the embedded server among `processes` says of itself; empty when none is there."""
    for process in processes:
        if "valkey" in process.name() or "redis" in process.name():
            said = subprocess.run([process.exe(), "--version"], capture_output=True, text=True, check=False)
            return said.stdout.strip()
    return ""


def usage(processes: list[psutil.Process]) -> dict[str, dict[str, float]]:
    """CPU seconds (user and system) and peak resident MiB so far, by role; roles that run twice are numbered."""
    found: dict[str, dict[str, float]] = {}
    for process in processes:
        try:
            times = process.cpu_times()
            role = _role(process.cmdline(), process.name())
            peak = _peak_mib(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        name, number = role, 1
        while name in found:
            number += 1
            name = f"{role} {number}"
        found[name] = {"cpu_seconds": round(times.user + times.system, 2), "peak_rss_mib": peak}
    return found


def spent(before: dict[str, dict[str, float]], after: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """What each role used between two looks."""
    return {
        role: {
            "cpu_seconds": round(use["cpu_seconds"] - before.get(role, {}).get("cpu_seconds", 0.0), 2),
            "peak_rss_mib": use["peak_rss_mib"],
        }
        for role, use in after.items()
    }


def _role(command: list[str], name: str) -> str:
    if "valkey" in name or "redis" in name:
        return "valkey"
    if "-m" in command[:-1]:
        module = command[command.index("-m") + 1]
        return "node" if module == "mta.cli.main" else module.removeprefix("mta.runtime.").removeprefix("mta.")
    return "node" if "node" in command else name


def _peak_mib(process: psutil.Process) -> float:
    try:
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
    except OSError:
        pass
    return round(float(process.memory_info().rss) / 2**20, 1)
