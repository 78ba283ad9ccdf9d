"""The processes of a run: started as a user would start them, spoken to, stopped by their own id."""

import json
import os
import queue
import secrets
import subprocess
import sys
import threading
import time
import urllib.error
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

    def __init__(
        self,
        command: list[str],
        *,
        errors: Path,
        environment: dict[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.name = " ".join(command[1:4])
        self._errors = errors.open("ab")
        self.errors_path = errors
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=os.environ | (environment or {}),
            cwd=folder,
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
        """Its ready line; a process that does not get ready is stopped."""
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

    def __init__(self, errors: Path, *options: str) -> None:
        """`options`: those of `python -m bench.sink`."""
        super().__init__([sys.executable, "-m", "bench.sink", *options], errors=errors)
        self.address = str(self.ready(20.0)["listen"])

    def stats(self) -> dict[str, Any]:
        """The counts since the last account."""
        return self.ask("stats", "stats")

    def account(self, moments: Path | None = None) -> dict[str, Any]:
        """All receipts since the last account, which starts over. `moments`: a file for the time of each."""
        return self.ask(f"account {moments}" if moments else "account", "end")


class Node(Child):
    """One Floodgate node, with a server of its own unless it is given the URL of one."""

    def __init__(
        self,
        data_dir: Path,
        workers: int,
        route: str,
        errors: Path,
        extra: list[str],
        *,
        name: str = "",
        server: str = "",
        source: Path | None = None,
    ) -> None:
        """`name`: one of its own where several share a server. `source`: the tree whose code it runs."""
        self.data_dir = data_dir
        self.log = data_dir / "log" / "delivery.jsonl"
        self.logs = [self.log]
        self.token = secrets.token_hex(16)
        settings = [f"delivery.route={route}", "smtp.listen=127.0.0.1:0", "api.listen=127.0.0.1:0", *extra]
        command = [*floodgate_command(), "node", "--data-dir", str(data_dir), "--workers", str(workers)]
        command += ["--set", f"redis.url={server}"] if server else ["--embedded"]
        command += ["--name", name] if name else []
        for setting in settings:
            command += ["--set", setting]
        started = time.monotonic()
        environment = {"FLOODGATE_ADMIN_TOKEN": self.token} | ({"PYTHONPATH": str(source)} if source else {})
        super().__init__(command, errors=errors, environment=environment, folder=source)
        ready = self.ready(_READY_WITHIN)
        self.ready_line = ready
        self.ready_after = round(time.monotonic() - started, 3)  # seconds
        self.smtp = str(ready["smtp"][0])
        self.api = str(ready["api"])
        self.redis = str(ready["redis"])

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of one call of the API. Raises RunVoid when it does not answer."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.api + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")
        except (OSError, ValueError) as error:
            raise RunVoid(f"{method} {path}: {error}") from None

    def get(self, path: str) -> Any:
        """The JSON of a path that must be there."""
        status, answer = self.call("GET", path)
        if status != 200:
            raise RunVoid(f"GET {path}: {status} {answer}")
        return answer

    def family(self) -> list[psutil.Process]:
        """The node and everything that it started."""
        try:
            whole = psutil.Process(self.process.pid)
            return [whole, *whole.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []
