"""The REST client of the scenarios that give many orders: connections are kept, and each answer is timed."""

import json
import time
from types import TracebackType
from typing import Any, NamedTuple

import aiohttp

_TIMEOUT = 120.0


class Answer(NamedTuple):
    """`status` 0 = none came, `body` says why; `sent_at` is the wall clock."""

    status: int
    body: Any
    sent_at: float
    seconds: float


class Rest:
    """The API of one node, used as a context."""

    def __init__(self, api: str, token: str, connections: int = 0) -> None:
        """`connections`: at most so many at once, 0 = as many as there are calls."""
        self._session = aiohttp.ClientSession(
            api,
            headers={"Authorization": f"Bearer {token}"},
            connector=aiohttp.TCPConnector(limit=connections),
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT),
        )

    async def __aenter__(self) -> "Rest":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Answer:
        """Never raises for what the network or the API does."""
        sent_at, start = time.time(), time.perf_counter()
        try:
            async with self._session.request(method, path, json=body) as answer:
                status, said = answer.status, json.loads(await answer.read() or b"null")
        except (TimeoutError, aiohttp.ClientError, ValueError) as error:
            status, said = 0, repr(error)
        return Answer(status, said, sent_at, time.perf_counter() - start)
