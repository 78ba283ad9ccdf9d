"""The hosts of the twelve sites, in one process: `python -m tests.providers.peer RATE`.

RATE is the number of messages that the site `rate` takes in a second.

It prints a line of JSON with its port, answers the line `script on` or `script off` (then every site accepts
everything) with one, and `account` with what each site has seen since the last account, and how late this process was
at most.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from typing import Any

import uvloop

from tests.providers.sites import SITES, Site, address_of, is_unknown

CONNECTIONS = 4  # that `too-many-connections` takes
GREY = 2.0  # seconds for which a recipient is greylisted
TARPIT = 0.3  # seconds before each reply
BUSY = 0.02  # seconds before the reply to the dot of `too-many-connections`
LOOK = 0.02  # seconds from one look at its own lag to the next
TAKEN = "250 2.0.0 taken"


class Host:
    """One site, with everything that it has seen."""

    def __init__(self, site: Site, rate: int) -> None:
        self.site = site
        self._rate = rate
        self.begin()
        self.open = 0
        self.first_seen: dict[int, float] = {}
        self.failed: set[int] = set()
        self.second = 0
        self.in_second = 0

    def begin(self) -> None:
        """A new account."""
        self.most_open = self.most_carried = self.connections = 0
        self.receipts: Counter[int] = Counter()
        self.mails: list[float] = []  # Unix times
        self.refusals: Counter[str] = Counter()

    def account(self) -> dict[str, Any]:
        found = {
            "most_open": self.most_open,
            "most_carried": self.most_carried,
            "connections": self.connections,
            "mails": [round(at, 3) for at in self.mails],
            "received": sorted(self.receipts),
            "doubles": sum(self.receipts.values()) - len(self.receipts),
            "refusals": dict(self.refusals),
        }
        self.begin()
        return found

    def wait(self, reply: str) -> float:
        """Seconds before this reply."""
        kind = self.site.kind
        return TARPIT if kind == "tarpit" else BUSY if kind == "too-many-connections" and reply == TAKEN else 0.0

    def greeting(self) -> str:
        if self.site.kind == "too-many-connections" and self.open > CONNECTIONS:
            return "421 4.7.0 Too many concurrent connections from your host"
        return "220 mx ESMTP"

    def mail(self) -> str:
        if self.site.kind == "too-fast":
            now = int(time.time())
            if now != self.second:
                self.second, self.in_second = now, 0
            self.in_second += 1
            if self.in_second > self._rate:
                return "421 4.7.28 We have detected an unusual rate of mail from your IP address"
        return "250 2.1.0 ok"

    def rcpt(self, number: int) -> str:
        kind = self.site.kind
        if kind == "blocks":
            return "550 5.7.1 Your IP address is listed by our block list"
        if kind == "unknown-users" and is_unknown(number):
            return "550 5.1.1 user unknown"
        if kind == "greylists" and time.monotonic() - self.first_seen.setdefault(number, time.monotonic()) < GREY:
            return "451 4.7.1 Greylisted, please try again later"
        return "250 2.1.5 ok"

    def dot(self, number: int) -> str:
        if self.site.kind == "fails-at-the-dot" and number % 3 == 0 and number not in self.failed:
            self.failed.add(number)
            return "451 4.3.0 temporary trouble"
        return TAKEN


class Session(asyncio.Protocol):
    """One connection."""

    def __init__(self, host: Host, world: "World") -> None:
        self._host = host
        self._world = world
        self._buffer = b""
        self._body: list[bytes] | None = None
        self._number = -1
        self._refused = False
        self._carried = 0
        self._waits = False  # a reply comes later
        self._counted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        host = self._host
        if self._world.script and host.site.kind == "stalls":
            return
        self._counted = True
        host.open += 1
        host.connections += 1
        host.most_open = max(host.most_open, host.open)
        self._say(host.greeting() if self._world.script else "220 mx ESMTP")

    def connection_lost(self, exc: Exception | None) -> None:
        self._host.open -= self._counted

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._go_on()

    def _go_on(self) -> None:
        while not self._waits and not self._transport.is_closing():
            if self._body is not None:
                end = self._buffer.find(b"\r\n.\r\n")
                if end < 0:
                    return
                self._buffer = self._buffer[end + 5 :]
                self._body = None
                self._taken()
                continue
            line, separator, rest = self._buffer.partition(b"\r\n")
            if not separator:
                return
            self._buffer = rest
            self._command(line)

    def _command(self, line: bytes) -> None:
        verb, host, script = line[:4].upper(), self._host, self._world.script
        if verb == b"EHLO":
            self._say("250-mx\r\n250-PIPELINING\r\n250 8BITMIME")
        elif verb == b"MAIL":
            reply = host.mail() if script else "250 2.1.0 ok"
            self._refused = not reply.startswith("2")
            if not self._refused:
                host.mails.append(time.time())
            self._say(reply)
        elif verb == b"RCPT":
            self._number = int(line.partition(b"<u")[2].partition(b"@")[0])
            reply = host.rcpt(self._number) if script else "250 2.1.5 ok"
            self._refused = self._refused or not reply.startswith("2")
            self._say(reply)
        elif verb == b"DATA":
            if self._refused:
                self._say("503 5.5.1 no recipients")
            else:
                self._body = []
                self._say("354 go on")
        elif verb == b"QUIT":
            self._say("221 2.0.0 bye")
        else:
            self._say("250 2.0.0 ok")

    def _taken(self) -> None:
        host = self._host
        reply = host.dot(self._number) if self._world.script else TAKEN
        self._carried += 1
        host.most_carried = max(host.most_carried, self._carried)
        if reply.startswith("2"):
            host.receipts[self._number] += 1
        self._say(reply)

    def _say(self, reply: str) -> None:
        if reply[0] in "45":
            self._host.refusals[reply[:9]] += 1
        wait = self._host.wait(reply) if self._world.script else 0.0
        if wait:
            self._waits = True
            asyncio.get_running_loop().call_later(wait, self._say_late, reply)
        else:
            self._write(reply)

    def _say_late(self, reply: str) -> None:
        self._waits = False
        self._write(reply)
        self._go_on()

    def _write(self, reply: str) -> None:
        self._transport.write(reply.encode() + b"\r\n")
        if reply.startswith(("221", "421")):
            self._transport.close()


class World:
    """All hosts."""

    def __init__(self, rate: int) -> None:
        self.script = False
        self.lag = 0.0  # seconds: the longest time for which this process did nothing
        self.hosts = [Host(site, rate) for site in SITES]

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        port = 0
        for number, host in enumerate(self.hosts):
            if host.site.kind != "dead":
                server = await loop.create_server(lambda host=host: Session(host, self), address_of(number), port)
                port = server.sockets[0].getsockname()[1]
        watching = loop.create_task(self._watch_lag())
        self._print({"event": "ready", "port": port})
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := (await reader.readline()).decode().strip():
            if line.startswith("script"):
                self.script = line == "script on"
                self._print({"event": "script"})
            elif line == "received":
                self._print({"event": "received", "messages": sum(len(host.receipts) for host in self.hosts)})
            else:
                found = {host.site.name: host.account() for host in self.hosts}
                self._print({"event": "account", "sites": found, "lag": self.lag})
        watching.cancel()

    async def _watch_lag(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(LOOK)
            self.lag = max(self.lag, time.monotonic() - before - LOOK)

    def _print(self, record: dict[str, Any]) -> None:
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    uvloop.run(World(int(sys.argv[1])).serve())
