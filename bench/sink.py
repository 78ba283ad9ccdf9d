"""The destination of the benchmark: takes mail as cheaply as Python can, and counts every receipt by its number.

`python -m bench.sink` prints `{"event": "ready", "listen": "127.0.0.1:PORT"}`, answers a line `stats` on standard input
(or SIGUSR1) with one line of JSON, a line `account` with the whole account, which then begins anew, and prints it
when standard input ends or on SIGTERM. Recipients whose address starts with `defer`, `refuse` or `stall` get that;
`--defer`, `--refuse` and `--stall` take a percentage of all others, decided at the dot.
"""

import argparse
import array
import asyncio
import json
import random
import signal
import sys
import time
from collections import Counter
from typing import Any

import uvloop

from bench.plan import HEADER
from bench.ranks import percentiles

_EHLO = b"250-sink.bench.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE 104857600\r\n"
_OK = b"250 2.0.0 Ok\r\n"
_GO_ON = b"354 go on\r\n"
_DEFERRED = b"451 4.7.1 later\r\n"
_REFUSED = b"550 5.1.1 no such user\r\n"
_END = b"\r\n.\r\n"
_NUMBER = slice(0, 8)
_STAMP = slice(9, 25)


class Behaviour:
    """What the sink does to mail besides taking it; shares are fractions of one."""

    def __init__(self, defer: float, refuse: float, stall: float, stall_seconds: float, seed: int) -> None:
        self.defer = defer
        self.refuse = refuse
        self.stall = stall
        self.stall_seconds = stall_seconds
        self.any = bool(defer or refuse or stall)
        self._random = random.Random(seed)

    def at_dot(self) -> str:
        """ "", "defer", "refuse" or "stall"."""
        drawn = self._random.random()
        if drawn < self.defer:
            return "defer"
        if drawn < self.defer + self.refuse:
            return "refuse"
        return "stall" if drawn < self.defer + self.refuse + self.stall else ""


class Account:
    """Who got what and when."""

    def __init__(self) -> None:
        self.open = 0
        self.begin()

    def begin(self) -> None:
        """Count from nothing; connections stay as they are."""
        self.receipts = 0
        self.unnumbered = 0
        self.deferred = 0
        self.refused = 0
        self.stalled = 0
        self.connections = 0
        self.most_open = self.open
        self.first = 0.0
        self.last = 0.0
        self._cpu = time.process_time()
        self.numbers: set[bytes] = set()
        self._latencies = array.array("d")
        self._seconds: Counter[int] = Counter()

    def receipt(self, content: bytes, recipients: int) -> None:
        now = time.time()
        self.receipts += recipients
        self.last = now
        self._seconds[int(now)] += recipients
        if not self.first:
            self.first = now
        at = content.find(HEADER)
        if at < 0:
            self.unnumbered += recipients
            return
        fields = content[at + 9 : at + 34]
        self.numbers.add(fields[_NUMBER])
        try:
            self._latencies.append(now - int(fields[_STAMP]) / 1e6)
        except ValueError:
            self.unnumbered += recipients

    def stats(self) -> dict[str, Any]:
        """The counters that a waiting parent looks at; cheap."""
        return {
            "event": "stats",
            "receipts": self.receipts,
            "unique": len(self.numbers),
            "duplicates": self.receipts - self.unnumbered - len(self.numbers),
            "unnumbered": self.unnumbered,
            "first": self.first,
            "last": self.last,
        }

    def whole(self) -> dict[str, Any]:
        start = int(self.first)
        return self.stats() | {
            "event": "end",
            "deferred": self.deferred,
            "refused": self.refused,
            "stalled": self.stalled,
            "connections": self.connections,
            "most_open": self.most_open,
            "per_second": [self._seconds[second] for second in range(start, int(self.last) + 1)] if self.first else [],
            "handover_to_receipt_ms": percentiles(self._latencies, 1000.0),
            "cpu_seconds": time.process_time() - self._cpu,
        }


class Session(asyncio.Protocol):
    """One connection; replies to everything that one read brought go out in one write."""

    def __init__(self, account: Account, behaviour: Behaviour) -> None:
        self._account = account
        self._behaviour = behaviour
        self._buffer = b""
        self._in_data = False
        self._recipients = 0
        self._stalled = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        account = self._account
        account.connections += 1
        account.open += 1
        account.most_open = max(account.most_open, account.open)
        self._transport.write(b"220 sink.bench.test ESMTP\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        self._account.open -= 1

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        if self._stalled:
            self._buffer = data
            return
        self._take(data)

    def _take(self, data: bytes) -> None:
        replies = b""
        at = 0
        while at < len(data) and not self._stalled:
            if self._in_data:
                end = data.find(_END, at)
                if end < 0:
                    if data.startswith(b".\r\n", at):  # an empty message: its CRLF ended the DATA command
                        end = at - 2
                    else:
                        break
                self._in_data = False
                replies += self._message(data[at : end + 2])
                at = end + 5
            else:
                end = data.find(b"\n", at)
                if end < 0:
                    break
                replies += self._command(data[at:end])
                at = end + 1
        self._buffer = data[at:]
        if replies:
            self._transport.write(replies)

    def _message(self, content: bytes) -> bytes:
        recipients, self._recipients = self._recipients, 0
        if not recipients:
            return b"554 5.5.1 no recipients\r\n"
        behaviour = self._behaviour
        fate = behaviour.at_dot() if behaviour.any else ""
        if fate == "defer":
            self._account.deferred += recipients
            return _DEFERRED
        if fate == "refuse":
            self._account.refused += recipients
            return _REFUSED
        self._account.receipt(content, recipients)
        if fate == "stall":
            self._stall()
            return b""
        return _OK

    def _command(self, line: bytes) -> bytes:
        verb = line[:4].upper()
        if verb == b"MAIL":
            self._recipients = 0
            return _OK
        if verb == b"RCPT":
            return self._recipient(line[line.find(b"<") + 1 :])
        if verb == b"DATA":
            self._in_data = self._recipients > 0
            return _GO_ON if self._in_data else b"503 5.5.1 no recipients\r\n"
        if verb == b"RSET" or verb == b"NOOP":
            return _OK
        if verb == b"EHLO" or verb == b"HELO":
            return _EHLO if verb == b"EHLO" else b"250 sink.bench.test\r\n"
        if verb == b"QUIT":
            self._transport.write(b"221 2.0.0 bye\r\n")
            self._transport.close()
            return b""
        return b"502 5.5.1 unknown command\r\n"

    def _recipient(self, address: bytes) -> bytes:
        if address.startswith(b"defer"):
            self._account.deferred += 1
            return _DEFERRED
        if address.startswith(b"refuse"):
            self._account.refused += 1
            return _REFUSED
        self._recipients += 1
        if address.startswith(b"stall"):
            self._stall()
            return b""
        return _OK

    def _stall(self) -> None:
        self._account.stalled += 1
        self._stalled = True
        asyncio.get_running_loop().call_later(self._behaviour.stall_seconds, self._resume)

    def _resume(self) -> None:
        self._stalled = False
        if not self._transport.is_closing():
            self._transport.write(_OK)
            rest, self._buffer = self._buffer, b""
            self._take(rest)


def _say(record: dict[str, Any]) -> None:
    print(json.dumps(record), flush=True)


async def run(host: str, port: int, behaviour: Behaviour) -> None:
    """Serves until standard input ends or SIGTERM."""
    loop = asyncio.get_running_loop()
    account = Account()
    server = await loop.create_server(lambda: Session(account, behaviour), host, port, backlog=1024)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, lambda: _say(account.stats()))
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    bound = server.sockets[0].getsockname()
    _say({"event": "ready", "listen": f"{bound[0]}:{bound[1]}"})

    async def obey() -> None:
        while line := await orders.readline():
            if line.strip() == b"stats":
                _say(account.stats())
            elif line.strip() == b"account":
                _say(account.whole())
                account.begin()
        stop.set()

    obeying = asyncio.create_task(obey())
    await stop.wait()
    obeying.cancel()
    server.close()
    _say(account.whole())


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.sink", description="Receive messages and count them.")
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    parser.add_argument("--defer", type=float, default=0.0, metavar="PERCENT")
    parser.add_argument("--refuse", type=float, default=0.0, metavar="PERCENT")
    parser.add_argument("--stall", type=float, default=0.0, metavar="PERCENT")
    parser.add_argument("--stall-seconds", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1, help="of the draw that the percentages use")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    given = _arguments(argv)
    host, _, port = given.listen.rpartition(":")
    behaviour = Behaviour(given.defer / 100, given.refuse / 100, given.stall / 100, given.stall_seconds, given.seed)
    uvloop.run(run(host.strip("[]"), int(port), behaviour))
    return 0


if __name__ == "__main__":
    sys.exit(main())
