"""The beginning of a connection: greeting, EHLO or HELO, STARTTLS, one command at a time.

Replies are read by the same parser as those of transactions, so a reply that is long, split, early or no reply at all
means the same at every command.
"""

import asyncio
import functools
import ssl
from collections import deque
from typing import cast

from mta.egress.login import Login, lines_of
from mta.egress.tls_failures import result_of
from mta.model.events import NOT_OFFERED
from mta.model.outcomes import Reply
from mta.model.phases import Phase
from mta.policy.failures import Trouble, broken, refused
from mta.policy.tls_results import NOT_SUPPORTED
from mta.smtp.client_machine import Extensions
from mta.smtp.reply_parser import ReplyParser
from mta.smtp.spoken import Spoken

_MOST_OFFERS = 256  # replies to EHLO that are remembered


class Failed(Exception):
    """The connection cannot be made ready for MAIL."""

    def __init__(self, trouble: Trouble, *, hello_refused: bool = False) -> None:
        super().__init__(trouble.reply.text)
        self.trouble = trouble
        self.hello_refused = hello_refused  # EHLO was refused and the connection closed: the next begins with HELO


class Handshake(asyncio.Protocol):
    """The protocol of a new connection until `ready`; its transport then gets another."""

    def __init__(self, host: str, ip: str, command_timeout: float) -> None:
        self._host = host
        self._ip = ip
        self._command_timeout = command_timeout
        self._loop = asyncio.get_running_loop()
        self._parser = ReplyParser()
        self._replies: deque[Reply] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._lost = ""
        self._encrypted = False
        self._phase = Phase.GREETING
        self.transport: asyncio.Transport
        self.raw: asyncio.Transport | None = None  # below TLS: its buffer holds what the TLS layer has let go of
        self.extensions = Extensions()
        self.offers_tls = False
        self._mechanisms: frozenset[str] = frozenset()  # of AUTH
        self.dialogue: list[Spoken] = []

    # The steps; each raises Failed

    async def greeting(self, within: float) -> None:
        reply = await self._reply(within)
        if reply.code >= 400:
            raise Failed(refused(self._phase, reply, self._host, self._ip))
        if reply.code >= 300:
            raise self._misunderstood(f"unexpected greeting {reply.code} {reply.text}")

    async def hello(self, name: str, plain: bool) -> None:
        """EHLO; HELO when the server does not know that (RFC 5321 3.2), or at once when `plain`."""
        self._phase = Phase.EHLO
        self.extensions, self.offers_tls, self._mechanisms = Extensions(), False, frozenset()
        if not plain:
            reply = await self._ask(f"EHLO {name}")
            if reply.code < 300:
                self._read_extensions()
                return
            self._check(reply, permanent_too=False)
            refusal = f"the server answers EHLO with {reply.code} {reply.text}".rstrip()
            words = f"{refusal} and closes the connection; the next one begins with HELO"
            closes = Failed(broken(self._phase, words, self._host, self._ip), hello_refused=True)
            try:
                reply = await self._ask(f"HELO {name}")
            except Failed as failure:
                if not self._lost:
                    raise
                raise closes from failure
            if reply.code == 421:  # it may have come with the reply to EHLO: HELO was not judged
                raise closes
        else:
            reply = await self._ask(f"HELO {name}")
        if reply.code >= 300:
            self._check(reply)

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """STARTTLS and the TLS handshake. Replies in the clear do not count afterwards (RFC 3207 4.2)."""
        self._phase = Phase.TLS
        if not self.offers_tls:
            raise self._failed(NOT_OFFERED, NOT_SUPPORTED)
        reply = await self._ask("STARTTLS")
        if reply.code >= 300:
            self._check(reply)
        if self._replies or self._parser.pending:
            raise self._failed("the server sends text in the clear behind its reply to STARTTLS")
        await self.encrypt(context)

    async def encrypt(self, context: ssl.SSLContext) -> None:
        """The TLS handshake alone, at once where the port expects it (RFC 8314 3.3)."""
        self._phase = Phase.TLS
        self.raw = self.transport
        self._parser = ReplyParser()
        self._encrypted = True
        try:
            transport = await asyncio.get_running_loop().start_tls(
                self.raw,
                self,
                context,
                server_hostname=self._host,
                ssl_handshake_timeout=self._command_timeout,
            )
        except (OSError, ValueError) as error:
            raise self._failed(f"{self._phase.value} failed: {error}", result_of(error)) from error
        if transport is None:
            raise self._failed("the connection was lost")
        self.transport = transport

    async def log_in(self, login: Login) -> None:
        """AUTH, under TLS only."""
        self._phase = Phase.AUTH
        if not self._encrypted:
            raise self._failed("the connection has no TLS, and a password never goes in clear text")
        lines = list(lines_of(login, self._mechanisms))
        if not lines:
            offered = ", ".join(sorted(self._mechanisms)) or "no AUTH"
            raise self._failed(f"the server offers {offered}; AUTH PLAIN or LOGIN is needed")
        for number, (line, shown) in enumerate(lines, 1):
            reply = await self._ask(line, shown)
            if reply.code >= 400:
                raise Failed(refused(self._phase, reply, self._host, self._ip))
            if (reply.code == 334) is (number == len(lines)):
                raise self._misunderstood(f"unexpected reply {reply.code} when {self._phase.value}")

    def ready(self) -> None:
        """Check that nothing more has come, so that the next reply is the one to MAIL."""
        if self._replies:
            reply = self._replies[0]
            if reply.code >= 400:
                raise Failed(refused(self._phase, reply, self._host, self._ip))
            raise self._misunderstood(f"the server answers {reply.code} before it was asked")
        if self._parser.fault:
            raise self._misunderstood(self._parser.fault)
        if self._lost or self.transport.is_closing():
            raise self._failed(self._lost or "the connection was lost")

    def close(self) -> None:
        """Close the connection at once."""
        self.transport.abort()
        if self.raw is not None:
            self.raw.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not self._encrypted:
            self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._replies.extend(self._parser.feed(data))
        if self._replies or self._parser.fault:
            self._wake()

    def eof_received(self) -> None:
        self._end("the connection was lost")

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("the connection was lost" + (f": {exc}" if exc is not None and str(exc) else ""))

    # Replies

    async def _ask(self, command: str, shown: str = "") -> Reply:
        """The reply to a command. One that came before is the answer when it is a 4xx or 5xx. The dialogue has `shown`
        in place of a command with a secret."""
        if self._replies and self._replies[0].code < 400:
            raise self._misunderstood(f"the server answers {self._replies[0].code} before it was asked")
        if not self._lost:
            self.dialogue.append(shown or command)
            self.transport.write(f"{command}\r\n".encode("ascii"))
        return await self._reply(self._command_timeout)

    async def _reply(self, within: float) -> Reply:
        if not (self._replies or self._parser.fault or self._lost):
            waiter = self._waiter = self._loop.create_future()
            timer = self._loop.call_later(within, self._wake) if within else None
            try:
                await waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        if self._replies:
            return self._noted(self._replies.popleft())
        if not (self._parser.fault or self._lost):
            self._parser.end()
            raise self._ended(f"timed out {self._phase.value}")
        raise self._ended(self._lost)

    def _noted(self, reply: Reply) -> Reply:
        """`reply`, in the dialogue from now on: line by line where the parser still has its lines."""
        lines = self._parser.lines if self._phase is Phase.EHLO and reply.code < 300 else []
        self.dialogue.append((reply, lines))
        return reply

    def _check(self, reply: Reply, permanent_too: bool = True) -> None:
        """Raise for a reply that is no success, but for a 5xx only if `permanent_too`."""
        if reply.code < 400:
            raise self._misunderstood(f"unexpected reply {reply.code} when {self._phase.value}")
        if permanent_too or reply.code < 500:
            raise Failed(refused(self._phase, reply, self._host, self._ip))

    def _read_extensions(self) -> None:
        """Of the last reply, whose first line is the server's name (RFC 5321 4.1.1.1)."""
        self.extensions, self.offers_tls, self._mechanisms = _offered(tuple(self._parser.lines[1:]))

    # Failures

    def _end(self, why: str) -> None:
        if not self._lost:
            self._lost = why
            self._parser.end()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _ended(self, why: str) -> Failed:
        return self._misunderstood(self._parser.fault) if self._parser.fault else self._failed(why)

    def _misunderstood(self, words: str) -> Failed:
        return Failed(broken(self._phase, words, self._host, self._ip, unintelligible=True))

    def _failed(self, words: str, tls_result: str = "") -> Failed:
        trouble = broken(self._phase, words, self._host, self._ip)
        return Failed(trouble._replace(tls_result=tls_result, lost=bool(self._lost)))


@functools.lru_cache(maxsize=_MOST_OFFERS)
def _offered(lines: tuple[bytes, ...]) -> tuple[Extensions, bool, frozenset[str]]:
    """The extensions that matter to transactions, whether STARTTLS is one, and the mechanisms of AUTH. Hosts that run
    the same software offer the same."""
    offered: dict[str, str] = {}
    for line in lines:
        keyword, _, value = line.decode("ascii", "replace").strip().partition(" ")
        offered[keyword.upper()] = value.strip()
    size = offered.get("SIZE")
    limit = None if size is None else int(size) if size.isascii() and size.isdigit() and len(size) < 20 else 0
    extensions = Extensions("PIPELINING" in offered, "8BITMIME" in offered, limit)
    return extensions, "STARTTLS" in offered, frozenset(offered.get("AUTH", "").upper().split())
