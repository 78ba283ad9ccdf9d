"""The SMTP sessions of the source: each sends the messages that the tally gives it, over one connection or many.

MAIL, RCPT and DATA go out in one write; the next message of a session starts when the last one was answered and not
before its time. A 4xx is tried again after a pause, a 5xx or a lost connection fails the message.
"""

import asyncio
import time

from bench.tally import Tally

_RETRY_AFTER = 0.1
_MAX_RETRIES = 300
_MAX_TROUBLES = 20


class Session(asyncio.Protocol):
    """Messages over one connection: greeting and EHLO, then per message the replies to the envelope and to the dot.

    Trouble with the connection fails the message that was under way; the session goes on over another connection,
    but not after trouble with so many in a row that none came as far as a reply to EHLO.
    """

    def __init__(self, tally: Tally, target: tuple[str, int]) -> None:
        self._tally = tally
        self._plan = tally.plan
        self._target = target
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._number: int | None = None
        self._retries = 0
        self._troubles = 0
        self._greeted = False
        self._sent_at = 0.0
        self._trouble = ""
        self._ended = False

    def start(self) -> None:
        self._connect()

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
        last_words = self._buffer.decode("ascii", "replace").strip() or exc or "closed by the peer"
        self._troubles += 1
        ending = self._troubles > _MAX_TROUBLES
        if self._number is not None and (self._greeted or ending):
            self._tally.refused(f"connection lost: {last_words}")
            self._number = None
        if ending:
            self._end()
        else:
            self._loop.call_later(_RETRY_AFTER, self._start_again)

    def _start_again(self) -> None:
        self._connect()

    def _connect(self) -> None:
        self._greeted = False
        self._buffer = b""
        self._connecting = self._loop.create_task(self._open())

    async def _open(self) -> None:
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
        self._greeted = True
        self._troubles = 0
        self._ready()

    def _ready(self) -> None:
        """The connection is ready for mail."""
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
        if data.startswith(b"250"):
            self._tally.taken(self._number or 0, self._sent_at)
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
            self._loop.call_later(_RETRY_AFTER, self._again, self._number)
            return
        self._tally.refused(self._trouble)
        self._step, self._expected = self._on_reset, 1
        self._transport.write(b"RSET\r\n")

    def _again(self, number: int | None) -> None:
        if self._number == number and not self._transport.is_closing():
            self._step, self._expected = self._on_reset_to_retry, 1
            self._transport.write(b"RSET\r\n")

    def _on_reset(self, data: bytes) -> None:
        self._next()

    def _on_reset_to_retry(self, data: bytes) -> None:
        self._send_envelope()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._tally.session_ended()


class ShortSession(Session):
    """A connection of its own for each message, from greeting to QUIT, one after the other."""

    def start(self) -> None:
        number = self._number = self._tally.next_number()
        self._retries = 0
        if number is None:
            self._end()
        elif (wait := self._tally.wait_for(number)) > 0:
            self._loop.call_later(wait, self._connect)
        else:
            self._connect()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._greeted and self._number is None:
            self.start()
        else:
            super().connection_lost(exc)

    def _start_again(self) -> None:
        if self._number is None:
            self.start()
        else:
            self._connect()

    def _ready(self) -> None:
        self._send_envelope()

    def _next(self) -> None:
        self._number = None
        self._step, self._expected = self._on_farewell, 1
        self._transport.write(b"QUIT\r\n")

    def _on_farewell(self, data: bytes) -> None:
        self._transport.close()
