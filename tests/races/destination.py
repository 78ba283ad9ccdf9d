"""The destination of a race: a process that stamps what it reads when it reads it, however late it replies.

`python -m tests.races.destination SEED` prints its port; to each line on its standard input it answers with a line of
JSON: all that it has seen. After "linger" it answers neither DATA nor dots, until after "calm" its replies come as at
the start, or after "hurry" sooner.
Times are Unix milliseconds with a fraction. An address may begin with a word: "deferred-" is refused for now twice,
since a refusal on a connection that has carried mail is asked for again on a new one, "refused-" for good each time,
"slow-" waits for some reply, "dropped-" loses its connection once between its dot and the reply, and "stalled-" is not
answered once, from its RCPT or its dot on.
"""

import asyncio
import random
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import msgspec

_ROOT = Path(__file__).resolve().parents[2]
_ID = re.compile(rb"with (?:ESMTP|HTTP)\s+id ([0-9A-HJKMNP-TV-Z]{26})")
_NEVER = 1e9
_CALM = {"DATA": (0.0, 0.6), ".": (0.0, 0.6)}  # seconds before a reply: mail waits, and an order finds it in flight
_LINGERING = {"DATA": (_NEVER, _NEVER), ".": (_NEVER, _NEVER)}  # mail comes and does not leave
_HURRIED = {"DATA": (0.0, 0.002), ".": (0.002, 0.02)}
_PACES = {"linger\n": _LINGERING, "calm\n": _CALM, "hurry\n": _HURRIED}
_SLOW = (0.5, 1.5)
_ONCE = ("dropped-", "stalled-")
_REFUSALS = 2  # of an address that is refused for now


class Transaction(msgspec.Struct):
    """One MAIL and the commands after it; `dot_at` 0.0: its dot was never read. Content with a dot was taken."""

    mail_at: float
    recipients: list[str] = []
    refused: list[str] = []
    message: str = ""  # the id that its Received header tells
    dot_at: float = 0.0
    replied_at: float = 0.0  # 250 to its dot, 0.0 = not yet, or never
    client: str = ""  # the name that EHLO gave


class DestinationProcess:
    """`with running(destination): destination.address; destination.seen()`."""

    def __init__(self, seed: int) -> None:
        self._words = [sys.executable, "-m", "tests.races.destination", str(seed)]
        self._process: subprocess.Popen[str] | None = None
        self.address = ""

    def start(self) -> "DestinationProcess":
        self._process = subprocess.Popen(
            self._words, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.address = f"127.0.0.1:{int(self._line())}"
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def seen(self) -> list[Transaction]:
        return msgspec.json.decode(self._ask("seen"), type=list[Transaction])

    def linger(self) -> None:
        self._ask("linger")

    def calm(self) -> None:
        self._ask("calm")

    def hurry(self) -> None:
        self._ask("hurry")

    def _ask(self, word: str) -> str:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        return self._line()

    def _line(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the destination ended with {self._process.wait(5)}"
        return line


class _Book:
    """The transactions of all sessions, and the chance in their replies."""

    def __init__(self, seed: int) -> None:
        self.transactions: list[Transaction] = []
        self.troubled: set[str] = set()  # addresses that had their one drop or stall
        self.refusals = Counter[str]()  # by address that is refused for now
        self.chance = random.Random(seed)
        self.pace = _CALM
        self.lingering: list[_Session] = []

    def go_on(self, pace: dict[str, tuple[float, float]]) -> None:
        self.pace = pace
        if pace is not _LINGERING:
            lingering, self.lingering = self.lingering, []
            for session in lingering:
                session.go_on()


class _Session(asyncio.Protocol):
    def __init__(self, book: _Book) -> None:
        self._book = book
        self._buffer = b""
        self._now: Transaction | None = None
        self._in_data = False
        self._client = ""
        self._slow_at = ""  # the verb whose reply comes late
        self._drops = False  # the connection, at the dot
        self._stall_at = ""  # the verb that gets no answer, nor does anything after it
        self._stalled = False
        self._last_reply = 0.0  # loop time
        self._kept: list[tuple[str, Transaction | None]] = []  # replies that wait for another pace

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._loop = asyncio.get_running_loop()
        self._say("220 sink.example ESMTP")

    def data_received(self, data: bytes) -> None:
        read_at = time.time() * 1000
        self._buffer += data
        while not self._stalled:
            mark = b"\r\n.\r\n" if self._in_data else b"\r\n"
            piece, found, rest = self._buffer.partition(mark)
            if not found:
                return
            self._buffer = rest
            if self._in_data:
                self._dot(piece, read_at)
            else:
                self._command(piece.decode("ascii", "replace"), read_at)

    def _command(self, line: str, read_at: float) -> None:
        verb, _, argument = line.partition(" ")
        match verb.upper():
            case "EHLO":
                self._client = argument
                self._say("250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES")
            case "MAIL":
                self._now = Transaction(read_at, client=self._client)
                self._book.transactions.append(self._now)
                self._slow_at = self._stall_at = ""
                self._drops = False
                self._say("250 2.1.0 ok")
            case "RCPT":
                self._recipient(argument.partition("<")[2].partition(">")[0])
            case "DATA":
                self._in_data = self._now is not None and bool(self._now.recipients)
                self._say("354 go on" if self._in_data else "503 5.5.1 no recipients", self._late("DATA"))
            case "RSET":
                self._now = None
                self._say("250 2.0.0 ok")
            case "QUIT":
                self._say("221 2.0.0 bye")
            case _:
                self._say("500 5.5.2 unknown")

    def _recipient(self, address: str) -> None:
        now, book = self._now, self._book
        if now is None:
            self._say("503 5.5.1 no MAIL")
            return
        first_time = address.startswith(_ONCE) and address not in book.troubled
        if first_time:
            book.troubled.add(address)
        if address.startswith("refused-"):
            now.refused.append(address)
            self._say("550 5.1.1 never")
            return
        if address.startswith("deferred-") and book.refusals[address] < _REFUSALS:
            book.refusals[address] += 1
            now.refused.append(address)
            self._say("450 4.2.1 not yet")
            return
        if first_time and address.startswith("stalled-"):
            self._stall_at = book.chance.choice(("RCPT", "."))
            if self._stall_at == "RCPT":
                self._stalled = True
                return
        self._drops |= first_time and address.startswith("dropped-")
        now.recipients.append(address)
        if address.startswith("slow-") and not self._slow_at:
            self._slow_at = book.chance.choice(("RCPT", "DATA", "DATA", "."))
        self._say("250 2.1.5 ok", self._late("RCPT"))

    def _dot(self, content: bytes, read_at: float) -> None:
        now = self._now
        assert now is not None
        found = _ID.search(content)
        now.message = found[1].decode() if found else ""
        now.dot_at = read_at
        self._now = None
        self._in_data = False
        if self._drops:
            self._transport.close()
        elif self._stall_at == ".":
            self._stalled = True
        else:
            self._say("250 2.0.0 taken", self._late("."), now)

    def _late(self, verb: str) -> float:
        return self._book.chance.uniform(*(_SLOW if self._slow_at == verb else self._book.pace.get(verb, (0.0, 0.0))))

    def _say(self, reply: str, delay: float = 0.0, ends: Transaction | None = None) -> None:
        """In order: behind a reply that waits, the next one waits too."""
        if self._kept or delay == _NEVER:
            if not self._kept:
                self._book.lingering.append(self)
            self._kept.append((reply, ends))
            return
        now = self._loop.time()
        if delay == 0.0 and self._last_reply < now:
            self._write(reply, ends)
            return
        self._last_reply = max(now + delay, self._last_reply + 1e-6)
        self._loop.call_at(self._last_reply, self._write, reply, ends)

    def go_on(self) -> None:
        kept, self._kept = self._kept, []
        for reply, ends in kept:
            self._say(reply, self._late("."), ends)

    def _write(self, reply: str, ends: Transaction | None) -> None:
        if self._transport.is_closing():
            return
        if ends is not None:
            ends.replied_at = time.time() * 1000
        self._transport.write(reply.encode() + b"\r\n")
        if reply.startswith("221"):
            self._transport.close()


async def _serve(seed: int) -> None:
    book = _Book(seed)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Session(book), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    while word := await loop.run_in_executor(None, sys.stdin.readline):
        book.go_on(_PACES.get(word, book.pace))
        print(msgspec.json.encode(book.transactions).decode(), flush=True)


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
