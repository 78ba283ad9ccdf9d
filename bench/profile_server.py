"""The server's time by its own counters: every command that it ran in a while, by function or name."""

import re
import socket
import threading
from collections import defaultdict
from types import TracebackType
from typing import Any, NamedTuple

_LOOK_EVERY = 0.2  # seconds
_BUILD = re.compile(r"^fg(?:1|_[0-9a-f]{8})_")  # how the functions of one build begin
_MOST = 100_000  # entries between two looks


class Spent(NamedTuple):
    """Calls of one kind and the microseconds they took, waiting for a core included."""

    calls: int
    us: float


class ServerLink:
    """A few commands to the server behind a `unix://` URL."""

    def __init__(self, url: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(30.0)
        self._socket.connect(url.removeprefix("unix://"))
        self._answers = self._socket.makefile("rb")

    def ask(self, *words: str) -> Any:
        pieces = [b"$%d\r\n%b\r\n" % (len(word.encode()), word.encode()) for word in words]
        self._socket.sendall(b"*%d\r\n%b" % (len(words), b"".join(pieces)))
        return self._answer()

    def _answer(self) -> Any:
        line = self._answers.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            return None if rest == b"-1" else self._answers.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self._answer() for _ in range(int(rest))]
        if kind == b"-":
            raise OSError(rest.decode())
        return int(rest) if kind == b":" else rest

    def close(self) -> None:
        self._answers.close()
        self._socket.close()


class ServerWatch:
    """Counts what the server runs between entering and leaving, from its log of slow commands with no lower bound."""

    def __init__(self, url: str) -> None:
        self._link = ServerLink(url)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._calls: dict[str, int] = defaultdict(int)
        self._us: dict[str, float] = defaultdict(float)
        self.seen = 0
        self.missed = 0
        self._next = -1

    def __enter__(self) -> "ServerWatch":
        before = self._link.ask("CONFIG", "GET", "slowlog-*")
        self._before = [word.decode() for word in before]
        self._link.ask("CONFIG", "SET", "slowlog-log-slower-than", "0", "slowlog-max-len", str(_MOST))
        self._link.ask("SLOWLOG", "RESET")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._link.ask("CONFIG", "SET", *self._before)
        self._link.close()

    def spent(self) -> dict[str, Spent]:
        return {name: Spent(calls, self._us[name]) for name, calls in self._calls.items()}

    def _run(self) -> None:
        over = False
        while not over:
            over = self._over.wait(_LOOK_EVERY)
            self._look()

    def _look(self) -> None:
        self._link.ask("MULTI")
        self._link.ask("SLOWLOG", "GET", "-1")
        self._link.ask("SLOWLOG", "RESET")
        for entry in reversed(self._link.ask("EXEC")[0]):
            number, _, us, words = entry[:4]
            if self._next >= 0:
                self.missed += number - self._next
            self._next = number + 1
            self.seen += 1
            name = kind_of([word.decode(errors="replace") for word in words])
            self._calls[name] += 1
            self._us[name] += us


def kind_of(words: list[str]) -> str:
    """A function by its name, without what names its build; another command by its own."""
    command = words[0].lower()
    if command in ("fcall", "fcall_ro") and len(words) > 1:
        return _BUILD.sub("fg_", words[1])
    return command
