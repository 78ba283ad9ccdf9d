"""The HTTP server below the application: malformed requests, headers that never end, and the bound on connections.

aiohttp logs a traceback for each request that it cannot parse, and its message quotes the request, token included. Here
such a request costs one short line now and then, and is answered with the error object.
"""

import asyncio
import logging
import socket
import time
from typing import Any, Final

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from control_api.http.connections import Connections
from control_api.http.problems import Problem, outer_problem
from control_api.http.rare_log import RareLog

HEADER_TIMEOUT: Final = 10.0  # seconds from the first octet of a request, or the connection, to the end of its header
IDLE_TIMEOUT: Final = 75.0  # seconds between requests: longer than what reverse proxies keep
_LOOK: Final = 1.0  # seconds between looks at the deadlines
_BACKLOG: Final = 256
_LONGEST: Final = 8192  # octets of a request line or a header field
_GRACE: Final = 5.0  # seconds for requests under way after the process got the signal to stop

_MALFORMED: Final = "the request is not HTTP as RFC 9112 describes it"
_TOO_LONG: Final = f"a header field or the request line is longer than {_LONGEST} octets, or there are too many fields"
_TIMED_OUT: Final = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

_log = logging.getLogger(__name__)


class ApiProtocol(web.RequestHandler):
    """One connection. It reads a header, or answers a request, or is idle."""

    __slots__ = ("_connections", "_handling", "_reading_since", "_refusals")

    def __init__(self, server: web.Server, connections: Connections, refusals: RareLog) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=IDLE_TIMEOUT,
            access_log=None,  # type: ignore[arg-type]  # None turns it off
            max_line_size=_LONGEST,
            max_field_size=_LONGEST,
            auto_decompress=False,  # no body may be compressed: the check of it answers with 415
        )
        self._connections = connections
        self._refusals = refusals
        self._handling = False
        self._reading_since = 0.0  # 0 = no header has begun

    # The bound on connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._reading_since = time.monotonic()
        self._connections.opened(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.closed(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._handling and not self._reading_since:
            self._reading_since = time.monotonic()
        super().data_received(data)

    def begins(self) -> None:
        """A header is complete."""
        self._handling, self._reading_since = True, 0.0

    def ends(self) -> None:
        """The handler has returned."""
        self._handling = False

    def authenticated(self) -> None:
        """A request of this connection has shown a valid token."""
        self._connections.authenticated(self)

    def is_idle(self) -> bool:
        return not self._handling and not self._reading_since

    def check(self, now: float) -> None:
        if self._reading_since and now - self._reading_since >= HEADER_TIMEOUT:
            self._refusals.warning(f"a header from {self._client()} was not complete after {HEADER_TIMEOUT:g} s")
            if self.transport is not None:
                self.transport.write(_TIMED_OUT)
            self.force_close()

    def drop(self) -> None:
        transport = self.transport
        self.force_close()
        if transport is not None:
            transport.abort()  # an answer that the client does not read must not keep the descriptor

    def _client(self) -> str:
        peer = self.peername
        return str(peer[0]) if isinstance(peer, tuple) else "a client"

    # Malformed requests

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a malformed request. Neither log nor answer quote it, since it may hold a token."""
        if isinstance(exc, HttpProcessingError):
            too_long = isinstance(exc, LineTooLong) or "Too many" in exc.message
            status, words = (431, _TOO_LONG) if too_long else (400, _MALFORMED)
            self._refusals.warning(f"a request from {self._client()} was refused with {status}: {words}")
        else:
            words = "internal error; see the log of the API"
            _log.error("answering a request failed: %s", _where(exc))
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun: nothing else can be sent")
        return outer_problem(status, words)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Replaces aiohttp's log line. The message of an exception is left out, since it may quote the request."""
        error = kw.get("exc_info")
        if isinstance(error, web.RequestPayloadError | HttpProcessingError | ConnectionError):
            self._refusals.warning(f"a request from {self._client()} was refused: its body is not what its header says")
        else:
            _log.error("the HTTP server failed: %s", _where(error))


def _where(error: object) -> str:
    """The type of an exception, and the place where it was raised."""
    if not isinstance(error, BaseException):
        return "no exception is known"
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "" if trace is None else f" in {trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno}"
    return f"{type(error).__name__}{place}"


class Serving:
    """An application that listens."""

    def __init__(self, app: web.Application, connections: Connections) -> None:
        self.connections = connections
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_GRACE)
        self._refusals = RareLog(_log)
        self._servers: list[asyncio.Server] = []
        self._timer: asyncio.TimerHandle | None = None

    async def start(self, sockets: list[socket.socket]) -> None:
        """Accept connections of these sockets, which listen already."""
        await self._runner.setup()
        server = self._runner.server
        assert server is not None
        handler = server.request_handler

        async def gate(request: web.BaseRequest) -> web.StreamResponse:
            protocol = request.protocol
            assert isinstance(protocol, ApiProtocol)
            protocol.begins()
            try:
                _check_expectation(request)
                return await handler(request)
            except Problem as problem:
                return outer_problem(problem.status, str(problem), problem.field)
            finally:
                protocol.ends()

        server.request_handler = gate
        loop = asyncio.get_running_loop()
        for listening in sockets:
            make = lambda: ApiProtocol(server, self.connections, self._refusals)  # noqa: E731
            self._servers.append(await loop.create_server(make, sock=listening, backlog=_BACKLOG))
        self._look()

    def _look(self) -> None:
        self.connections.check()
        self._timer = asyncio.get_running_loop().call_later(_LOOK, self._look)

    async def stop(self) -> None:
        """Close the sockets. Requests under way have a few seconds to end."""
        if self._timer is not None:
            self._timer.cancel()
        for server in self._servers:
            server.close()
        await self._runner.cleanup()


def _check_expectation(request: web.BaseRequest) -> None:
    """Raises Problem where `Expect` asks for anything but 100-continue (RFC 9110 10.1.1)."""
    if request.headers.get(hdrs.EXPECT, "100-continue").lower() != "100-continue":
        raise Problem(400, "is an expectation that this server does not know; leave it out", "Expect")
