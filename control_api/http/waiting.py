"""The answers of the API while its process waits for the store: it is alive, and why it cannot do more."""

import asyncio
import socket
from collections.abc import Sequence
from typing import Final, Self

from aiohttp import web

from control_api.http.connections import Connections
from control_api.http.problems import json_response, outer_problem
from control_api.http.serving import Serving
from control_api.schemas.node_answers import Health
from mta.model.errors import StoreAway, StoreError, reason_of

_GRACE: Final = 1.0  # seconds of a start in which requests wait for their answer


class Waiting:
    """Listens on duplicates of the sockets, from `_GRACE` seconds after it was entered until it is left."""

    def __init__(self, sockets: Sequence[socket.socket], connections: Connections) -> None:
        self._sockets = sockets
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._serving = Serving(app, connections)
        self._starting: asyncio.Task[None] | None = None
        self._error: StoreError = StoreAway()

    def because(self, error: StoreError) -> None:
        """Set the reason why the store cannot be used."""
        self._error = error

    async def __aenter__(self) -> Self:
        self._starting = asyncio.create_task(self._start(), name="waiting API")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._starting is not None
        self._starting.cancel()
        await asyncio.gather(self._starting, return_exceptions=True)
        await self._serving.stop()

    async def _start(self) -> None:
        await asyncio.sleep(_GRACE)
        await self._serving.start([listening.dup() for listening in self._sockets])

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        """The next request of the client comes on a new connection: it may reach the API as it should be."""
        reason = reason_of(self._error)
        if request.path == "/healthz":
            response = json_response(Health(status="ok"))
        elif request.path == "/readyz":
            response = json_response(Health(status="unready", reason=reason), 503, {"Retry-After": "1"})
        else:
            response = outer_problem(503, reason)
        response.force_close()
        return response
