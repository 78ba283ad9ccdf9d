"""The REST API as the commands use it: one request, one answer; a refusal is one exception, an absent API another."""

import os
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple

import aiohttp
import orjson
from yarl import URL

Params = Sequence[tuple[str, str]]

_CONNECT_TIMEOUT = 5.0
_WATCHING = b": watching from "  # the first line of a stream, with the place where it begins
_LACKS = b": some events may be missing"
_STREAM_SILENCE = 120.0  # seconds until the next piece of a long answer
_SILENCE = 45.0  # seconds; the event stream says something every 15


class ApiAway(Exception):
    """The API cannot be reached, or stopped in the middle of its answer."""


class ApiRefused(Exception):
    """The API said no; the text is one line for a person, `body` is all that it said."""

    def __init__(self, status: int, message: str, field: str | None, body: Any = None) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.status = status
        self.field = field
        self.body = body


class Answer(NamedTuple):
    """An answer of the API; `next` is the cursor of the following page where the answer is a bare array."""

    status: int
    body: Any
    next: str | None = None


class LiveEvent(NamedTuple):
    """One server-sent event."""

    id: str
    data: bytes  # a line of the delivery log; empty: the stream stands, and begins behind `id`
    remark: str = ""  # of the API about the stream


class ApiClient:
    """A session with one API; use it as an async context manager. Raises ApiAway, ApiRefused."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "ApiClient":
        self._session = aiohttp.ClientSession(headers=self._headers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(
        self,
        method: str,
        path: str,
        params: Params = (),
        body: Mapping[str, Any] | None = None,
        within: float = 30.0,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request; `within` in seconds must be longer than any `wait` in `params`."""
        limit = aiohttp.ClientTimeout(total=within, sock_connect=_CONNECT_TIMEOUT)
        try:
            async with self._open().request(
                method,
                self.url + path,
                params=params,
                json=body,
                timeout=limit,
                allow_redirects=False,
                headers=headers,
            ) as response:
                answer = self._decode(response.status, await response.read())
                if response.status >= 300:
                    raise _refusal(response.status, answer)
                return Answer(response.status, answer, _cursor(response))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise self._away(error) from error

    async def events(self, params: Params, last_id: str | None) -> AsyncIterator[LiveEvent]:
        """Live events until the API ends the stream; `last_id` resumes behind an event that was seen."""
        headers = {"Accept": "text/event-stream"} | ({} if last_id is None else {"Last-Event-ID": last_id})
        limit = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT, sock_read=_SILENCE)
        try:
            async with self._open().get(
                self.url + "/v1/events", params=params, headers=headers, timeout=limit, allow_redirects=False
            ) as response:
                if response.status != 200:
                    raise _refusal(response.status, self._decode(response.status, await response.read()))
                event_id, data = "", b""
                async for line in _lines(response.content):
                    if line.startswith(_WATCHING):
                        yield LiveEvent(line[len(_WATCHING) :].decode(), b"")
                    elif line.startswith(_LACKS):
                        yield LiveEvent(event_id, b"", line[2:].decode())
                    elif line.startswith(b"id: "):
                        event_id = line[4:].decode()
                    elif line.startswith(b"data: "):
                        data = line[6:]
                    elif not line and data:
                        yield LiveEvent(event_id, data)
                        data = b""
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise self._away(error) from error

    async def stream(self, path: str, params: Params) -> AsyncIterator[bytes]:
        """The body of an answer of any length, in pieces. Raises ApiAway where it is cut off."""
        limit = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT, sock_read=_STREAM_SILENCE)
        try:
            async with self._open().get(
                self.url + path, params=params, headers={"Accept": "*/*"}, timeout=limit, allow_redirects=False
            ) as response:
                if response.status != 200:
                    raise _refusal(response.status, self._decode(response.status, await response.read()))
                async for piece in response.content.iter_any():
                    yield piece
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise self._away(error) from error

    async def send(self, path: str, params: Params, media: str, body: AsyncIterable[bytes]) -> Answer:
        """POST a body of any length in pieces; the answer comes when the API has read it."""
        limit = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT)
        try:
            async with self._open().post(
                self.url + path,
                params=params,
                data=body,
                headers={"Content-Type": media},
                timeout=limit,
                allow_redirects=False,
            ) as response:
                answer = self._decode(response.status, await response.read())
                if response.status >= 300:
                    raise _refusal(response.status, answer)
                return Answer(response.status, answer)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise self._away(error) from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("use ApiClient as a context manager")
        return self._session

    def _decode(self, status: int, raw: bytes) -> Any:
        try:
            return orjson.loads(raw) if raw else None
        except orjson.JSONDecodeError:
            words = f"the server at {self.url} is no Floodgate API: HTTP {status}, and no JSON"
            raise ApiAway(words) from None

    def _away(self, error: Exception) -> ApiAway:
        return ApiAway(f"the API at {self.url} cannot be reached: {_reason(error)}")


def _reason(error: Exception) -> str:
    """The system's word for what went wrong with a connection, else the library's on one line."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not accepted: {' '.join(str(error.certificate_error).split())}"
    if isinstance(error, aiohttp.ClientSSLError):
        return "the server there speaks no TLS; write http:// where the API has no certificate"
    if isinstance(error, aiohttp.ClientResponseError):
        return "the server there speaks no HTTP; it is the port of another service"
    number = error.os_error.errno if isinstance(error, aiohttp.ClientConnectorError) else None
    if isinstance(number, int) and number > 0:
        return os.strerror(number)
    return " ".join(str(error).split()) or type(error).__name__


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length: an event may be longer than aiohttp's limit for a line."""
    rest = b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line


def _cursor(response: aiohttp.ClientResponse) -> str | None:
    link = response.links.get("next")
    following = None if link is None else link.get("url")
    return following.query.get("cursor") if isinstance(following, URL) else None


def _refusal(status: int, answer: Any) -> ApiRefused:
    error = answer.get("error", {}) if isinstance(answer, dict) else {}
    return ApiRefused(status, error.get("message") or f"the API answered {status}", error.get("field"), answer)
