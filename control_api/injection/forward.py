"""The way of a call through the API: it goes on, piece by piece, to the process of this node that takes mail.

The API has checked the token. It names the actor in a header field, which that process trusts on this socket only: no
other user can open it.
"""

import contextlib
from collections.abc import Mapping
from typing import Final

import msgspec
from aiohttp import ClientConnectionError, ClientSession, ClientTimeout, UnixConnector, hdrs, web
from multidict import CIMultiDict

from control_api.access.actor import ACTOR, actor_of
from control_api.http.middleware import REQUEST_ID, Handler
from control_api.http.problems import REQUEST_ID_HEADER
from mta.model.actor import Actor

_ACTOR: Final = "X-Floodgate-Actor"
_MOST: Final = 128  # connections to that process
_KEPT: Final = 15.0  # seconds that an idle one is kept: less than the other side keeps it
_ASKED: Final = (hdrs.CONTENT_TYPE, hdrs.CONTENT_LENGTH, hdrs.CONTENT_ENCODING, hdrs.ACCEPT, "Idempotency-Key")
_OURS: Final = frozenset({"server", "date", "connection", "transfer-encoding", "keep-alive"})

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Actor).decode


class Forwarder:
    """The connections to the process that takes mail."""

    def __init__(self, path: str) -> None:
        """`path` of its socket."""
        self._path = path
        self._session: ClientSession | None = None

    @property
    def session(self) -> ClientSession:
        """Made with the first call."""
        if self._session is None:
            self._session = ClientSession(
                connector=UnixConnector(self._path, limit=_MOST, keepalive_timeout=_KEPT),
                timeout=ClientTimeout(total=None),
                auto_decompress=False,
            )
        return self._session

    async def close(self, app: web.Application) -> None:
        """Before the application ends."""
        if self._session is not None:
            await self._session.close()


FORWARDER = web.AppKey("forwarder", Forwarder)


async def forward(request: web.Request) -> web.StreamResponse:
    """The answer of the process that takes mail. Where that process ends before its answer, nobody knows whether the
    mail was accepted, and the client gets no answer."""
    headers = _headers(request)
    body = request.content if request.body_exists else None
    response: web.StreamResponse | None = None
    try:
        url = f"http://inject{request.rel_url.raw_path_qs}"
        async with request.app[FORWARDER].session.post(url, data=body, headers=headers) as answer:
            request[REQUEST_ID] = answer.headers.get(REQUEST_ID_HEADER, request[REQUEST_ID])  # the body names it
            response = web.StreamResponse(status=answer.status, headers=_without_ours(answer.headers))
            response.content_length = answer.content_length
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
    except ClientConnectionError:
        if request.transport is not None:
            request.transport.abort()
    return response if response is not None else web.Response(status=503)


def _headers(request: web.Request) -> CIMultiDict[str]:
    found = CIMultiDict((name, value) for name in _ASKED for value in request.headers.getall(name, ()))
    found[_ACTOR] = _encode(actor_of(request)).decode()
    return found


def _without_ours(given: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in given.items() if name.lower() not in _OURS}


@web.middleware
async def take_actor(request: web.Request, handler: Handler) -> web.StreamResponse:
    """In the process that takes mail: the actor as the API has named it."""
    with contextlib.suppress(KeyError):
        request[ACTOR] = _decode(request.headers[_ACTOR])
    return await handler(request)
