"""The programs that the demo starts (the sink, the node), each spoken to by lines and stopped by its own id."""

import asyncio
import contextlib
import json
import os
import secrets
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mta.cli.demo.account import Mail, Receipt, Seen

_READY_WITHIN = 40.0
_STOP_WITHIN = 30.0


class DemoFailed(Exception):
    """The demo cannot go on; the message says what happened."""


class Program:
    """A child process that prints lines of JSON, the first of them its ready line."""

    def __init__(self, process: asyncio.subprocess.Process, what: str, log: Path) -> None:
        self._process = process
        self._what = what
        self._log = log
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, what: str, command: list[str], log: Path, environment: dict[str, str]) -> "Program":
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                env=os.environ | environment,
                start_new_session=True,  # a ^C at the terminal is the demo's to handle
            )
        return cls(process, what, log)

    async def ready(self, hear: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """The ready line; later lines go to `hear`. Raises DemoFailed with the end of its log."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(_READY_WITHIN):
                line = await self._process.stdout.readline()
            record = json.loads(line)
        except (TimeoutError, ValueError):
            words = self._log.read_text(errors="replace").strip().splitlines()[-5:]
            raise DemoFailed(f"the {self._what} did not get ready: {' | '.join(words) or 'it said nothing'}") from None
        self._reading = asyncio.create_task(self._read(hear))
        return dict(record)

    async def _read(self, hear: Callable[[dict[str, Any]], None]) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            with contextlib.suppress(ValueError):
                hear(json.loads(line))

    def has_ended(self) -> bool:
        return self._process.returncode is not None

    async def stop(self, *, by_signal: bool) -> int:
        """Ends it (SIGTERM, or the end of its input), in the end with SIGKILL; its exit status."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                if by_signal:
                    self._process.terminate()
                elif self._process.stdin is not None:
                    self._process.stdin.close()
            try:
                async with asyncio.timeout(_STOP_WITHIN):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        if self._reading is not None:
            await self._reading
        return self._process.returncode or 0


class Sink:
    """The destination; writes what it hears into `Seen`."""

    def __init__(self, place: Path, seen: Seen) -> None:
        self._place = place
        self._seen = seen
        self._program: Program | None = None

    async def start(self, delay: float) -> int:
        """Returns its port."""
        command = [sys.executable, "-P", "-m", "mta.cli.demo.sink", str(delay)]
        self._program = await Program.start("sink", command, self._place / "sink.log", {})
        return int((await self._program.ready(self._hear))["port"])

    def _hear(self, line: dict[str, Any]) -> None:
        if line["event"] == "receipt":
            self._seen.receipts.append(Receipt(line["to"], line["at"], line["connection"]))
        elif line["event"] == "mail":
            self._seen.mails.append(Mail(line["from"], line["at"], line["connection"]))

    async def stop(self) -> None:
        if self._program is not None:
            await self._program.stop(by_signal=False)


class Node:
    """A real node with two workers on an embedded server, and its REST API."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._token = secrets.token_hex(16)
        self._program: Program | None = None
        self.smtp_port = 0
        self.api = ""

    async def start(self, route_port: int, domains: list[str], connections: int) -> None:
        settings = self._place / "demo.toml"
        settings.write_text("".join(f'[domains."{name}"]\nconnections = {connections}\n' for name in domains))
        command = [sys.executable, "-P", "-m", "mta.cli.main", "node", "--embedded", "--workers", "2"]
        command += ["--config", str(settings), "--data-dir", str(self._place / "data")]
        for setting in (f"delivery.route=127.0.0.1:{route_port}", "smtp.listen=127.0.0.1:0", "api.listen=127.0.0.1:0"):
            command += ["--set", setting]
        environment = {"FLOODGATE_ADMIN_TOKEN": self._token}
        self._program = await Program.start("node", command, self._place / "node.log", environment)
        ready = await self._program.ready(lambda line: None)
        self.smtp_port = int(str(ready["smtp"][0]).rpartition(":")[2])
        self.api = str(ready["api"])

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request. Raises DemoFailed with the API's words when it is refused."""
        return await asyncio.to_thread(self._call, method, path, body)

    def _call(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.api + path, data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            words = error.read(500).decode(errors="replace")
            raise DemoFailed(f"{method} {path}: {error.code} {words}") from None
        except OSError as error:
            raise DemoFailed(f"{method} {path}: {error}") from None

    def has_ended(self) -> bool:
        return self._program is not None and self._program.has_ended()

    async def stop(self) -> int:
        return await self._program.stop(by_signal=True) if self._program is not None else 0
