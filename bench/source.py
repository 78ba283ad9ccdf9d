"""The load source: keeps C SMTP sessions busy in a closed loop until N messages were accepted or given up.

`python -m bench.source --target HOST:PORT` prints one JSON object when it is done. MAIL, RCPT and DATA go out in one
write; the next message of a session starts when the last one was answered and, with `--rate`, not before its time. A
4xx is tried again after a pause, a 5xx or a lost connection fails the message.
"""

import argparse
import array
import asyncio
import json
import sys
import time
from collections import Counter
from typing import Any

import uvloop

from bench.plan import Plan, WaitingPlan
from bench.ranks import percentiles

_RETRY_AFTER = 0.1
_MAX_RETRIES = 300
_MAX_RECONNECTS = 20


class Tally:
    """What came of the messages so far."""

    def __init__(self, plan: Plan, sessions: int, rate: float = 0.0) -> None:
        """`rate`: messages a second at most, 0 = as fast as they are answered."""
        self.plan = plan
        self.accepted = 0
        self.failed = 0
        self.deferred = 0
        self.replies: Counter[str] = Counter()
        self.latencies = array.array("d")
        self.first_mail = 0.0
        self.last_accepted = 0.0
        self.done = asyncio.Event()
        self._begun = 0
        self._last = plan.messages
        self._running = sessions
        self._rate = rate
        self._start = time.perf_counter()

    def next_number(self) -> int | None:
        if self._begun >= self._last:
            return None
        self._begun += 1
        return self._begun - 1

    def wait_for(self, number: int) -> float:
        """Seconds until message `number` is due."""
        return self._start + number / self._rate - time.perf_counter() if self._rate else 0.0

    def stop(self) -> None:
        """Begin nothing more."""
        self._last = self._begun

    def refused(self, reply: str) -> None:
        self.failed += 1
        self.replies[reply[:120]] += 1

    def session_ended(self) -> None:
        self._running -= 1
        if self._running == 0:
            self.done.set()

    def result(self) -> dict[str, Any]:
        seconds = self.last_accepted - self.first_mail if self.accepted else 0.0
        return {
            "messages": self._begun,
            "accepted": self.accepted,
            "failed": self.failed,
            "deferred": self.deferred,
            "replies": dict(self.replies.most_common(10)),
            "first_mail": self.first_mail,
            "last_accepted": self.last_accepted,
            "seconds": seconds,
            "rate": self.accepted / seconds if seconds else 0.0,
            "dot_to_reply_ms": percentiles(self.latencies, 1000.0),
            "cpu_seconds": time.process_time(),
        }


class Session(asyncio.Protocol):
    """One connection: greeting and EHLO, then per message three replies to the envelope and one to the dot."""

    def __init__(self, tally: Tally, target: tuple[str, int]) -> None:
        self._tally = tally
        self._plan = tally.plan
        self._target = target
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._number: int | None = None
        self._retries = 0
        self._reconnects = 0
        self._sent_at = 0.0
        self._trouble = ""
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._buffer = b""
        self._step = self._on_greeting
        self._expected = 1

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        if data.count(b"\n") < self._expected or data[-1] != 10:
            self._buffer = data
            return
        self._buffer = b""
        self._step(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._ended:
            return
        if self._number is not None:
            last_words = self._buffer.decode("ascii", "replace").strip() or exc or "closed by the peer"
            self._tally.refused(f"connection lost: {last_words}")
            self._number = None
        self._reconnects += 1
        if self._reconnects > _MAX_RECONNECTS:
            self._end()
        else:
            self._loop.create_task(self._reconnect())

    async def _reconnect(self) -> None:
        await asyncio.sleep(_RETRY_AFTER)
        try:
            await self._loop.create_connection(lambda: self, *self._target)
        except OSError as error:
            self.connection_lost(error)

    def _on_greeting(self, data: bytes) -> None:
        if not data.startswith(b"220"):
            self._transport.close()
            return
        self._step = self._on_ehlo
        self._transport.write(b"EHLO source.test\r\n")

    def _on_ehlo(self, data: bytes) -> None:
        if not data.startswith(b"250"):
            self._transport.close()
            return
        last = data[data.rfind(b"\n", 0, -1) + 1 :]
        if last[3:4] == b"-":
            self._buffer = data
            return
        self._next()

    def _next(self) -> None:
        number = self._number = self._tally.next_number()
        self._retries = 0
        if number is None:
            self._end()
            self._transport.write(b"QUIT\r\n")
            self._transport.close()
            return
        wait = self._tally.wait_for(number)
        if wait > 0:
            self._loop.call_later(wait, self._send_due, number)
        else:
            self._send_envelope()

    def _send_due(self, number: int) -> None:
        if self._number == number:  # else the connection was lost meanwhile, and the message counted
            self._send_envelope()

    def _send_envelope(self) -> None:
        if not self._tally.first_mail:
            self._tally.first_mail = time.time()
        self._step = self._on_envelope
        self._expected = self._plan.replies
        self._transport.write(self._plan.envelope(self._number or 0))

    def _on_envelope(self, data: bytes) -> None:
        taken = data.startswith(b"250") and b"\n354" in data and b"\n4" not in data and b"\n5" not in data
        if taken:
            self._step = self._on_dot
            self._expected = 1
            self._sent_at = time.perf_counter()
            self._transport.write(self._plan.content(self._number or 0))
            return
        lines = data.split(b"\r\n")
        self._trouble = next((line for line in lines if line[:1] in (b"4", b"5")), lines[0]).decode("ascii", "replace")
        if b"\n354" in data or data.startswith(b"354"):  # DATA was taken without a recipient: end it
            self._expected = 1
            self._step = self._on_refused
            self._transport.write(b".\r\n")
        else:
            self._refused()

    def _on_refused(self, data: bytes) -> None:
        self._refused()

    def _on_dot(self, data: bytes) -> None:
        tally = self._tally
        if data.startswith(b"250"):
            tally.latencies.append(time.perf_counter() - self._sent_at)
            tally.accepted += 1
            tally.last_accepted = time.time()
            self._next()
        else:
            self._trouble = data.decode("ascii", "replace").strip()
            self._refused()

    def _refused(self) -> None:
        if self._trouble.startswith("421"):
            return  # the peer closes; connection_lost counts the message
        if self._trouble.startswith("4") and self._retries < _MAX_RETRIES:
            self._retries += 1
            self._tally.deferred += 1
            self._tally.replies[self._trouble[:120]] += 1
            self._loop.call_later(_RETRY_AFTER, self._again)
            return
        self._tally.refused(self._trouble)
        self._step, self._expected = self._on_reset, 1
        self._transport.write(b"RSET\r\n")

    def _again(self) -> None:
        self._step, self._expected = self._on_reset_to_retry, 1
        if not self._transport.is_closing():
            self._transport.write(b"RSET\r\n")

    def _on_reset(self, data: bytes) -> None:
        self._next()

    def _on_reset_to_retry(self, data: bytes) -> None:
        self._send_envelope()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._tally.session_ended()


async def run(
    target: tuple[str, int], plan: Plan, sessions: int, rate: float = 0.0, until_told: bool = False
) -> dict[str, Any]:
    """Sends the plan to `target` and returns what came of it; `until_told`: or what was begun when input ended."""
    loop = asyncio.get_running_loop()
    tally = Tally(plan, sessions, rate)
    if until_told:
        await loop.connect_read_pipe(lambda: _EndOfInput(tally), sys.stdin)
    for _ in range(sessions):
        session = Session(tally, target)
        await loop.create_connection(lambda session=session: session, *target)  # type: ignore[misc]
    await tally.done.wait()
    return tally.result()


class _EndOfInput(asyncio.Protocol):
    """Tells the tally to stop when nobody can write to us any more."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def connection_lost(self, exc: Exception | None) -> None:
        self._tally.stop()


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.source", description="Send messages in a closed loop.")
    parser.add_argument("--target", required=True, metavar="HOST:PORT")
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=4096, help="bytes of a message, headers included")
    parser.add_argument("--sessions", type=int, default=40)
    parser.add_argument("--domains", type=int, default=5)
    parser.add_argument("--rate", type=float, default=0.0, help="messages a second; 0 = as fast as they are answered")
    parser.add_argument("--until-told", action="store_true", help="stop before --messages when standard input ends")
    parser.add_argument(
        "--waiting",
        type=int,
        metavar="RECIPIENTS",
        help="mail that waits for a week instead, of so many recipients a message, in three pools",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    given = _arguments(argv)
    host, _, port = given.target.rpartition(":")
    if given.waiting:
        plan: Plan = WaitingPlan(given.messages, given.size, given.domains, given.waiting)
    else:
        plan = Plan(given.messages, given.size, given.domains)
    result = uvloop.run(run((host.strip("[]"), int(port)), plan, given.sessions, given.rate, given.until_told))
    print(json.dumps(result), flush=True)
    return 0 if result["failed"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
