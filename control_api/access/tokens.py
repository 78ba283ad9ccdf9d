"""Bearer tokens: compared in constant time, with a bounded memory of the addresses that send invalid ones."""

import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from aiohttp import hdrs, web

from control_api.http.problems import Problem
from mta.model.actor import Actor, ActorKind
from mta.model.scopes import EVERY_SCOPE
from mta.ports.access import Tokens

REMEMBERED_SECONDS = 1.0  # for which a revoked token may go on
MAX_AUTHORIZATION = 4096
FAILURES_PER_MINUTE = 20
MAX_CLIENTS = 10_000

ADMIN = "admin"  # the actor's name for the administrator's token

_UNAUTHORIZED = "give a valid token: Authorization: Bearer <token>"


@runtime_checkable
class Trusted(Protocol):
    """A connection that wants to know that it has shown a valid token."""

    def authenticated(self) -> None: ...


class Access:
    """Lets a request through or raises Problem 401 or 429. A valid token always passes, however many failures its
    address has: tokens are too long to be guessed, and nobody may lock an operator out of a cancel."""

    def __init__(self, tokens: Tokens, clock: Callable[[], float] = time.monotonic) -> None:
        self._tokens = tokens
        self._clock = clock
        self._hashes: list[bytes] = []
        self._read_at: float | None = None
        self._failures: OrderedDict[str, tuple[float, int]] = OrderedDict()  # address -> start of its minute, count

    async def check(self, request: web.Request) -> Actor:
        """The actor that asks. Raises Problem; raises StoreError where the tokens cannot be read (fails closed)."""
        secret = _bearer(request)
        digest = hashlib.sha256(secret).digest()
        known = False
        for valid in await self._current():
            known |= hmac.compare_digest(valid, digest)
        if not known or not secret:
            raise self._refusal(request.remote or "")
        connection = request.protocol
        if isinstance(connection, Trusted):
            connection.authenticated()
        return Actor(ActorKind.TOKEN, ADMIN, request.remote or "", scopes=EVERY_SCOPE)

    async def _current(self) -> list[bytes]:
        now = self._clock()
        if self._read_at is None or now - self._read_at > REMEMBERED_SECONDS:
            self._hashes = await self._tokens.admin_hashes()
            self._read_at = now
        return self._hashes

    def _refusal(self, address: str) -> Problem:
        now = self._clock()
        since, count = self._failures.pop(address, (now, 0))
        if now - since >= 60.0:
            since, count = now, 0
        self._failures[address] = (since, count + 1)
        while len(self._failures) > MAX_CLIENTS:
            self._failures.popitem(last=False)
        if count >= FAILURES_PER_MINUTE:
            wait = max(1, round(60.0 - (now - since)))
            return Problem(429, "too many requests without a valid token", headers={"Retry-After": str(wait)})
        return Problem(401, _UNAUTHORIZED, headers={"WWW-Authenticate": 'Bearer realm="floodgate"'})


def _bearer(request: web.Request) -> bytes:
    """The secret of the one Authorization header; b"" for everything that is not exactly that."""
    given = request.headers.getall(hdrs.AUTHORIZATION, [])
    if len(given) != 1 or len(given[0]) > MAX_AUTHORIZATION:
        return b""
    scheme, _, secret = given[0].partition(" ")
    return secret.strip(" ").encode("utf-8", "surrogateescape") if scheme.lower() == "bearer" else b""
