"""The destination of the benchmark: takes mail as cheaply as Python can, and counts every receipt by its number.

`python -m bench.sink` prints `{"event": "ready", "listen": "127.0.0.1:PORT"}`, answers a line `stats` on standard input
(or SIGUSR1) with one line of JSON, a line `account` with the whole account, which then begins anew, and prints it
when standard input ends or on SIGTERM. `account FILE` also writes there when each message was received. Recipients
whose address starts with `defer`, `refuse` or `stall` get that; `--defer`, `--refuse` and `--stall` take a percentage
of the recipients of the source, at the dot.
"""

import argparse
import asyncio
import json
import signal
import ssl
import sys
from pathlib import Path
from typing import Any

import uvloop

from bench.behaviour import Behaviour
from bench.instants import write_instants
from bench.receipts import Account

_NAME = "sink.bench.test"
_EHLO = b"250-sink.bench.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE 104857600\r\n"
_EHLO_TLS = _EHLO.replace(b"250 SIZE", b"250-STARTTLS\r\n250 SIZE")
_OK = b"250 2.0.0 Ok\r\n"
_GO_ON = b"354 go on\r\n"
_DEFERRED = b"451 4.7.1 later\r\n"
_REFUSED = b"550 5.1.1 no such user\r\n"
_END = b"\r\n.\r\n"
_HEAD = 8192  # bytes of a content that are kept until its end comes: enough to find its number in


class Session(asyncio.Protocol):
    """One connection; replies to everything that one read brought go out in one write."""

    def __init__(self, account: Account, behaviour: Behaviour, tls: ssl.SSLContext | None) -> None:
        """`tls`: what STARTTLS is offered with, None when it is not or no longer offered."""
        self._account = account
        self._behaviour = behaviour
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._head = b""  # what came earlier of a content whose end did not
        self._in_data = False
        self._recipients: list[bytes] = []
        self._strangers = 0  # recipients without a number
        self._held = False
        self._left = False  # it said QUIT
        self._open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        account = self._account
        self._open = True
        account.connections += 1
        account.open += 1
        account.most_open = max(account.most_open, account.open)
        self._transport.write(b"220 sink.bench.test ESMTP\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        if self._open:  # after a failed handshake it is told by us, and perhaps by the loop
            self._open = False
            self._account.open -= 1

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        if self._held:
            self._buffer = data
            return
        self._take(data)

    def _take(self, data: bytes) -> None:
        replies = b""
        at = 0
        while at < len(data) and not self._held and not self._left:
            if self._in_data:
                end = self._end_of_content(data, at)
                if end is None:
                    kept = max(at, len(data) - len(_END) + 1)
                    if len(self._head) < _HEAD:
                        self._head += data[at:kept]
                    at = kept
                    break
                self._in_data = False
                content, self._head = self._head + data[at : end + 2], b""
                replies += self._message(content)
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
        if self._left:
            self._transport.close()

    def _end_of_content(self, data: bytes, at: int) -> int | None:
        """Where the line end before the dot is, None when no dot has come.

        Data that ends with a dot has no other one: only commands may follow it before it is answered, and the next
        content only when its DATA was answered (RFC 2920 3.1). That spares looking through most contents.
        """
        if data.endswith(_END, at):
            return len(data) - len(_END)
        if not self._head and data.startswith(b".\r\n", at):  # empty: the line end was that of the DATA command
            return at - 2
        end = data.find(_END, at)
        return None if end < 0 else end

    def _message(self, content: bytes) -> bytes:
        """The reply to the dot, nothing when it is given later."""
        behaviour = self._behaviour
        fate = behaviour.at_dot(self._recipients) if behaviour.draws else ""
        reply, wait = _OK, behaviour.delay
        if fate == "defer":
            self._account.deferred += len(self._recipients)
            reply = _DEFERRED
        elif fate == "refuse":
            self._account.refused += len(self._recipients)
            reply = _REFUSED
        else:
            self._account.receipt(content, self._recipients, self._strangers)
            if fate == "stall":
                self._account.stalled += 1
                wait = max(wait, behaviour.stall_seconds)
        self._forget()
        return self._later(reply, wait) if wait else reply

    def _command(self, line: bytes) -> bytes:
        verb = line[:4].upper()
        if verb == b"MAIL":
            self._forget()
            return _OK
        if verb == b"RCPT":
            return self._recipient(line[line.find(b"<") + 1 :])
        if verb == b"DATA":
            self._in_data = bool(self._recipients) or self._strangers > 0
            return _GO_ON if self._in_data else b"503 5.5.1 no recipients\r\n"
        if verb == b"RSET" or verb == b"NOOP":
            return _OK
        if verb == b"EHLO" or verb == b"HELO":
            return (_EHLO if self._tls is None else _EHLO_TLS) if verb == b"EHLO" else b"250 sink.bench.test\r\n"
        if verb == b"QUIT":
            self._left = True
            return b"221 2.0.0 bye\r\n"
        if verb == b"STAR" and self._tls is not None:
            return self._start_tls(self._tls)
        return b"502 5.5.1 unknown command\r\n"

    def _recipient(self, address: bytes) -> bytes:
        number = address[1:9]
        if address[:1] == b"u" and number.isdigit():
            self._recipients.append(number)
            return _OK
        if address.startswith(b"defer"):
            self._account.deferred += 1
            return _DEFERRED
        if address.startswith(b"refuse"):
            self._account.refused += 1
            return _REFUSED
        self._strangers += 1
        if address.startswith(b"stall"):
            self._account.stalled += 1
            return self._later(_OK, self._behaviour.stall_seconds)
        return _OK

    def _forget(self) -> None:
        self._recipients = []
        self._strangers = 0

    def _later(self, reply: bytes, seconds: float) -> bytes:
        """Gives the reply after so long; commands that come meanwhile wait. Nothing to say now."""
        self._held = True
        self._loop.call_later(seconds, self._resume, reply)
        return b""

    def _resume(self, reply: bytes) -> None:
        self._held = False
        if not self._transport.is_closing():
            self._transport.write(reply)
            rest, self._buffer = self._buffer, b""
            self._take(rest)

    def _start_tls(self, tls: ssl.SSLContext) -> bytes:
        """Nothing is read from here on until TLS reads it."""
        self._held = True
        self._transport.pause_reading()
        self._securing = self._loop.create_task(self._secure(tls))
        return b"220 2.0.0 go ahead\r\n"

    async def _secure(self, tls: ssl.SSLContext) -> None:
        """Begins TLS. Everything before it is forgotten, commands that were sent too early included (RFC 3207 4.2)."""
        self._buffer = b""
        self._forget()
        try:
            secured = await self._loop.start_tls(self._transport, self, tls, server_side=True)
        except OSError:
            secured = None
        if secured is None or secured.is_closing():
            self._transport.close()
            self.connection_lost(None)
            return
        self._transport = secured
        self._tls = None
        self._account.secured += 1
        self._held = False
        rest, self._buffer = self._buffer, b""
        self._take(rest)


def _say(record: dict[str, Any]) -> None:
    print(json.dumps(record), flush=True)


async def run(host: str, port: int, behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> None:
    """Serves until standard input ends or SIGTERM."""
    loop = asyncio.get_running_loop()
    account = Account()
    server = await loop.create_server(lambda: Session(account, behaviour, tls), host, port, backlog=1024)
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
            order, _, path = line.decode().strip().partition(" ")
            if order == "stats":
                _say(account.stats())
            elif order == "account":
                if path:
                    write_instants(Path(path), account.received_at)
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
    parser.add_argument(
        "--defer", type=float, default=0.0, metavar="PERCENT", help="of deliveries get a 4xx when they come first"
    )
    parser.add_argument("--refuse", type=float, default=0.0, metavar="PERCENT", help="of deliveries get a 5xx")
    parser.add_argument(
        "--stall",
        type=float,
        default=0.0,
        metavar="PERCENT",
        help="of deliveries are answered late when they come first",
    )
    parser.add_argument("--stall-seconds", type=float, default=5.0, help="how late")
    parser.add_argument("--seed", type=int, default=1, help="of the draw that the percentages use")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="before each reply to a dot")
    parser.add_argument("--tls", action="store_true", help="offer STARTTLS, with a self-signed certificate")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    given = _arguments(argv)
    host, _, port = given.listen.rpartition(":")
    behaviour = Behaviour(
        defer=given.defer / 100,
        refuse=given.refuse / 100,
        stall=given.stall / 100,
        stall_seconds=given.stall_seconds,
        delay=given.delay_ms / 1000,
        seed=given.seed,
    )
    tls = None
    if given.tls:
        from bench.tls_identity import server_context  # what it imports is large, and few runs need it

        tls = server_context(_NAME)
    uvloop.run(run(host.strip("[]"), int(port), behaviour, tls))
    return 0


if __name__ == "__main__":
    sys.exit(main())
