"""A real `floodgate node` as its users start it: a process of its own, spoken to over SMTP and REST."""

import contextlib
import dataclasses
import json
import os
import pathlib
import select
import signal
import smtplib
import subprocess
import sys
import time
import urllib.error
import urllib.request
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any, Final

import psutil

from tests.support.command_forks import Fork
from tests.support.conditions import PATIENCE, told

TOKEN = "test-token-of-the-suite"
NODES: "weakref.WeakSet[Node]" = weakref.WeakSet()  # those that a test, or a fixture around it, has not given up


_PROGRAM: Final = [sys.executable, "-m", "mta.cli.main"]
_PATH: Final = os.environ.get("PYTHONPATH")  # a node with another one has other modules than this process


@dataclasses.dataclass
class LogRead:
    """How far a log has been read. A moved log is followed by a file of another number."""

    file: int = 0
    bytes: int = 0
    events: list[dict[str, Any]] = dataclasses.field(default_factory=list)


class Sender(smtplib.SMTP):
    """A client that says MAIL again where it is answered 451: on a busy machine the store may need more than the second
    for which each worker waits for its answer, and until then the worker takes no mail."""

    def mail(self, sender: str, options: Sequence[str] = ()) -> tuple[int, bytes]:
        return _until_not_451(lambda: smtplib.SMTP.mail(self, sender, options))


def _until_not_451(say: Callable[[], tuple[int, bytes]]) -> tuple[int, bytes]:
    begun = time.monotonic()
    while (answer := say())[0] == 451 and time.monotonic() < begun + PATIENCE:
        time.sleep(0.1)
    return answer


class Node:
    # Whether a node of a test may be a fork of a process that has imported the program. Measurements, and tests about
    # the program as users start it, have a program of its own.
    forked = True

    def __init__(self, folder: pathlib.Path, name: str = "n1", redis: str = "", workers: int = 2, **sets: Any) -> None:
        self.folder = folder
        self.name = name
        self.log = folder / "log" / "delivery.jsonl"
        words = [*_PROGRAM, "node", "--name", name, "--data-dir", str(folder)]
        words += ["--workers", str(workers), *(["--set", f"redis.url={redis}"] if redis else ["--embedded"])]
        # Addresses that bounced in one test are written to in another one. An order that says no `wait` is effective
        # when it is answered, on a busy machine, too.
        defaults: dict[str, Any] = {"smtp.listen": "127.0.0.1:0", "api.listen": "127.0.0.1:0", "suppressions.auto": []}
        defaults["api.wait"] = "50s"
        for key, value in (defaults | {key.replace("__", "."): value for key, value in sets.items()}).items():
            words += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
        self.words = words
        self.token: str | None = TOKEN  # None: the node makes its own
        self.build: pathlib.Path | None = None  # another copy of the program, None: this one
        self.process: Fork | subprocess.Popen[bytes] | None = None
        self.ready: dict[str, Any] = {}
        self.test = ""  # in which it was started
        self._out: IO[bytes]
        self._read = LogRead()
        NODES.add(self)

    def start(self, timeout: float = 120.0) -> "Node":
        self.folder.mkdir(parents=True, exist_ok=True)
        self.test = test_of_now()
        environ = os.environ | ({"FLOODGATE_ADMIN_TOKEN": self.token} if self.token else {})
        if self.build is not None:
            environ |= {"PYTHONPATH": str(self.build)}
        reading, writing = os.pipe()
        self._out = open(reading, "rb")  # noqa: SIM115 - open as long as the node may write to it
        with open(writing, "wb") as its_out, (self.folder / "node.log").open("a") as errors:
            self.process = self._begin(environ, its_out.fileno(), errors.fileno())
        if not select.select([self._out], [], [], timeout)[0]:
            self.stop(signal.SIGKILL)
            raise AssertionError(f"not ready within {timeout} s\n{self.errors()}")
        line = self._out.readline()
        assert line, self.errors()
        self.ready = json.loads(line)
        return self

    def _begin(self, environ: Mapping[str, str], out: int, errors: int) -> "Fork | subprocess.Popen[bytes]":
        plain = self.words[: len(_PROGRAM)] == _PROGRAM and environ.get("PYTHONPATH") == _PATH
        if self.forked and plain and "PYTEST_CURRENT_TEST" in environ:
            return Fork(self.words[len(_PROGRAM) :], environ, out, errors)
        return subprocess.Popen(self.words, stdout=out, stderr=errors, env=environ, cwd=self.build)

    def errors(self) -> str:
        return (self.folder / "node.log").read_text()

    def last_lines(self) -> str:
        """The ends of its own log and of its delivery log, for the output of a failed test."""
        found = []
        for file, lines in ((self.folder / "node.log", 40), (self.log, 15)):
            if file.exists():
                found += [f"-- {file.name}", *file.read_text(errors="replace").splitlines()[-lines:]]
        return "\n".join(found)

    @property
    def smtp(self) -> tuple[str, int]:
        host, _, port = self.ready["smtp"][0].rpartition(":")
        return host, int(port)

    def client(self) -> smtplib.SMTP:
        """One that gets every answer."""
        client = smtplib.SMTP(*self.smtp, timeout=60)
        client.ehlo("client.example.org")
        return client

    def sender(self) -> Sender:
        """One whose mail is to be taken."""
        client = Sender(*self.smtp, timeout=60)
        client.ehlo("client.example.org")
        return client

    def send(self, to: str | list[str], tags: tuple[str, ...] = (), text: str = "hello", **headers: str) -> list[str]:
        """Message ids of one message to each of `to`, in one session."""
        ids = []
        with self.sender() as client:
            for address in [to] if isinstance(to, str) else to:
                ids.append(self.send_on(client, address, tags, text, **headers))
        return ids

    def send_on(
        self, client: smtplib.SMTP, to: str, tags: tuple[str, ...] = (), text: str = "hello", **headers: str
    ) -> str:
        lines = [f"X-MQ-Tag: {tag}" for tag in tags]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        lines += ["From: from@example.org", f"To: {to}", "Subject: test", "", text, ""]
        assert _until_not_451(lambda: client.mail("from@example.org"))[0] == 250
        assert client.rcpt(to)[0] == 250
        code, reply = client.data("\r\n".join(lines).encode())
        assert code == 250, (code, reply)
        return reply.decode().rpartition(" ")[2]

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """(status, JSON)."""
        token = self.token or (self.folder / "admin.token").read_text().strip()
        request = urllib.request.Request(self.ready["api"] + path, method=method)
        request.add_header("Authorization", f"Bearer {token}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=90) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")

    def statement(self, tag: str) -> dict[str, Any]:
        status, found = self.call("GET", f"/v1/tags/{tag}")
        assert status == 200, found
        return found

    def events(self) -> list[dict[str, Any]]:
        """The delivery log so far; each line is parsed once, however often it is asked for."""
        try:
            file = self.log.open("rb")
        except FileNotFoundError:
            return []
        with file:
            found = os.fstat(file.fileno())
            if self._read.file != found.st_ino or self._read.bytes > found.st_size:
                self._read = LogRead(found.st_ino)
            file.seek(self._read.bytes)
            whole, end, _ = file.read().rpartition(b"\n")
        if end:
            self._read.events += map(json.loads, whole.split(b"\n"))
            self._read.bytes += len(whole) + 1
        return list(self._read.events)

    def workers(self) -> list[int]:
        """Process ids of the node's workers."""
        found = self.call("GET", "/v1/workers")[1]["workers"]
        return [w["pid"] for w in found if "delivery" in w["roles"] and not w["dead"]]

    def child(self, module: str) -> int:
        """The process id of the one child that runs this module ("control_api", "mta.runtime.journal", ...), once there
        is one: the supervisor may just be replacing it."""
        assert self.process is not None
        supervisor = psutil.Process(self.process.pid)

        def alone() -> int:
            found = [child.pid for child in supervisor.children() if module_of(child) == module]
            return found[0] if len(found) == 1 else 0

        return int(until(alone, what=f"{self.name} has not one child that runs {module}"))

    def stop(self, how: signal.Signals = signal.SIGTERM, timeout: float = 90.0) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(how)
        try:
            status = self.process.wait(timeout)
        except BaseException:  # also when pytest's own limit ends the test: nothing may be left running
            self.process.kill()
            self.process.wait()
            raise
        self.process = None
        self._out.close()
        return status


def test_of_now() -> str:
    """The id of the test that runs, "" = none."""
    return os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]


def command_of(process: psutil.Process) -> str:
    """Its command, or its title where it has one; "" = it ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline()).strip()
    return ""


def module_of(process: psutil.Process) -> str:
    """The module that a process of a node runs, as its title says; of another program, its command; "" = it ended."""
    return command_of(process).removeprefix("floodgate: ")


def signal_to(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process of a node, which may have ended: the supervisor kills one that stands still."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


@contextlib.contextmanager
def standing_still(*pids: int) -> Iterator[None]:
    """These processes do nothing meanwhile; a supervisor may have replaced them in the end."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(pids):
            signal_to(pid, signal.SIGCONT)


@contextlib.contextmanager
def running(*things: Any) -> Iterator[None]:
    """Start in order, stop in reverse, whatever happens."""
    with contextlib.ExitStack() as stack:
        for thing in things:
            thing.start()
            stack.callback(thing.stop)
        yield


def until(holds: Callable[[], Any], timeout: float = PATIENCE, what: str | Callable[[], str] = "") -> Any:
    """Ask until the answer is true; the answer. `what` says what failed, or is called to say it."""
    begun = asked = time.monotonic()
    while True:
        found = holds()
        if found:
            return found
        now = time.monotonic()
        if now >= begun + timeout:
            said = what() if callable(what) else what
            raise AssertionError(f"{said or 'a condition'}: not within {timeout} s\n{told(holds, found)}")
        time.sleep(pause_before_next_look(now - begun, now - asked))
        asked = time.monotonic()


def pause_before_next_look(waited: float, took: float, least: float = 0.02) -> float:
    """Seconds until a condition is looked at again, so that tests that wait leave the processors to those that work.

    `waited`: since the first look; `took`: the look before.
    """
    return max(least, min(0.1, waited / 20), min(0.25, took))
