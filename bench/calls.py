"""The source of mail over HTTP: keeps C connections busy until N calls were answered, or makes calls at a rate.

`python -m bench.calls --target HOST:PORT --shape same` prints one JSON object when it is done. The token is in
FLOODGATE_TOKEN. Bodies are made before the clock starts, save number and time. With `--until-told` it makes calls until
its standard input ends.
"""

import argparse
import asyncio
import json
import os
import resource
import sys
import time
from collections import Counter
from typing import Any

import uvloop

from bench.plan import CAMPAIGN, CUSTOMERS, Plan, customer_of

SHAPES = ("same", "data", "one", "composed")
_ACCEPTED = b"202"
_ID = b'"id":"'  # of each delivery, after that of the first message


class Bodies:
    """The body of each call, by its number: recipients u<n*r> to u<n*r+r-1>, over all domains."""

    def __init__(self, shape: str, size: int, recipients: int, domains: int) -> None:
        self._shape = shape
        self.recipients = recipients
        self._domains = domains
        self._plan = Plan(1, [size], domains)
        self._text = self._plan.content(0).partition(b"\r\n\r\n")[2].removesuffix(b".\r\n").decode()

    def body(self, number: int) -> bytes:
        first = number * self.recipients
        to = [f"u{n:08d}@d{n % self._domains}.bench.test" for n in range(first, first + self.recipients)]
        fields: dict[str, Any] = {"from": "news@source.test", "tags": [CAMPAIGN, customer_of(number % CUSTOMERS)]}
        mark = f"{number:08d} {time.time_ns() // 1000:016d}"
        if self._shape in ("same", "one"):
            head = f"X-Bench: {mark}\r\nFrom: <news@source.test>\r\nSubject: bench\r\n"
            mime = f"{head}Message-ID: <{number}@source.test>\r\nMIME-Version: 1.0\r\n\r\n{self._text}"
            return json.dumps(fields | {"to": to, "mime": mime}).encode()
        fields |= {"subject": "bench", "headers": {"X-Bench": mark}}
        if self._shape == "composed":
            return json.dumps(fields | {"to": to, "text": self._text}).encode()
        people = [{"email": one, "data": {"name": f"User {n}", "order": n}} for n, one in enumerate(to, first)]
        text = "Dear {{ name }}, your order {{ order }} is on its way.\r\n" + self._text
        return json.dumps(fields | {"to": people, "text": text, "data": {"season": "spring"}}).encode()


class Client(asyncio.Protocol):
    """One connection; it sends its next call when the last one was answered."""

    def __init__(self, load: "Calls") -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._answer = b""
        self._length = -1  # of the answer with its header, -1 = the header has not come

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._next()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if self._length < 0:
            end = self._answer.find(b"\r\n\r\n")
            if end < 0:
                return
            at = self._answer.lower().find(b"content-length:")
            line = self._answer[at + 15 : self._answer.find(b"\r\n", at)]
            self._length = end + 4 + int(line)
        if len(self._answer) >= self._length:
            answer, self._answer, self._length = self._answer, b"", -1
            self._load.answered(answer, time.perf_counter() - self._sent)
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.lost()

    def _next(self) -> None:
        assert self._transport is not None
        body = self._load.take()
        if body is None:
            self._transport.close()
            return
        pause = self._load.pause()
        if pause > 0.0:
            asyncio.get_running_loop().call_later(pause, self._send, body)
        else:
            self._send(body)

    def _send(self, body: bytes) -> None:
        assert self._transport is not None
        self._sent = time.perf_counter()
        self._transport.write(self._load.head % len(body) + body)


class Calls:
    """The calls that are left, and what the others were answered."""

    def __init__(self, calls: int, bodies: Bodies, clients: int, token: str, rate: float = 0.0) -> None:
        """`rate`: calls a second, 0 = as fast as they are answered."""
        self._left = iter(range(calls))
        self._rate = rate
        self._begun = time.perf_counter()
        self._taken = 0
        self.is_over = False  # told to stop
        self._bodies = bodies
        self._open = clients
        self.head = (
            b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
            + token.encode()
            + b"\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        )
        self.done = asyncio.Event()
        self.accepted = 0  # deliveries
        self.calls = 0
        self.refused: Counter[str] = Counter()
        self.seconds: list[float] = []
        self.first = self.last = 0.0

    def take(self) -> bytes | None:
        number = None if self.is_over else next(self._left, None)
        if number is None:
            return None
        self._taken += 1
        body = self._bodies.body(number)
        self.first = self.first or time.time()
        return body

    def pause(self) -> float:
        """Seconds until the call that was taken last is to be made."""
        return self._begun + self._taken / self._rate - time.perf_counter() if self._rate else 0.0

    def answered(self, answer: bytes, seconds: float) -> None:
        self.calls += 1
        self.last = time.time()
        self.seconds.append(seconds)
        if answer[9:12] == _ACCEPTED:
            self.accepted += answer.count(_ID) - 1
        else:
            self.refused[answer.partition(b"\r\n\r\n")[2][:200].decode()] += 1

    def lost(self) -> None:
        self._open -= 1
        if not self._open:
            self.done.set()

    def result(self) -> dict[str, Any]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        ranked = sorted(self.seconds) or [0.0]
        return {
            "calls": self.calls,
            "accepted": self.accepted,
            "refused": dict(self.refused),
            "first": self.first,
            "last": self.last,
            "call_ms": {
                "p50": round(ranked[len(ranked) // 2] * 1000, 2),
                "p99": round(ranked[len(ranked) * 99 // 100] * 1000, 2),
            },
            "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
        }


def _stop(calls: Calls) -> None:
    asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
    calls.is_over = True


async def _run(given: argparse.Namespace) -> dict[str, Any]:
    bodies = Bodies(given.shape, given.size, given.recipients, given.domains)
    calls = Calls(given.calls, bodies, given.connections, os.environ["FLOODGATE_TOKEN"], given.rate)
    host, _, port = given.target.rpartition(":")
    loop = asyncio.get_running_loop()
    if given.until_told:
        loop.add_reader(sys.stdin.fileno(), _stop, calls)
    for _ in range(given.connections):
        await loop.create_connection(lambda: Client(calls), host, int(port))
    await calls.done.wait()
    return calls.result()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.calls", description="Send mail over HTTP.")
    parser.add_argument("--target", required=True, metavar="HOST:PORT")
    parser.add_argument("--shape", choices=SHAPES, default="same")
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--recipients", type=int, default=100, help="of a call")
    parser.add_argument("--size", type=int, default=4096, help="bytes of a message, headers included")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--domains", type=int, default=5)
    parser.add_argument("--rate", type=float, default=0.0, help="calls a second; 0: as fast as they are answered")
    parser.add_argument("--until-told", action="store_true", help="until standard input ends, --calls at most")
    result = uvloop.run(_run(parser.parse_args(argv)))
    print(json.dumps(result), flush=True)
    return 1 if result["refused"] else 0


if __name__ == "__main__":
    sys.exit(main())
