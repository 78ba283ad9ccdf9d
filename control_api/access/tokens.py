"""Bearer tokens: read from the store, compared in constant time, with a bounded memory of addresses that fail."""

import asyncio
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol, runtime_checkable

from aiohttp import hdrs, web

from control_api.access.rates import Rates, Use
from control_api.http.middleware import MAIL_PATHS
from control_api.http.problems import Problem
from mta.model.actor import Actor, ActorKind
from mta.model.api_tokens import ApiToken, digest_of, id_in
from mta.model.scopes import EVERY_SCOPE
from mta.ports.access import StoredToken, Tokens, TokenTable
from mta.timing.clock import wall_ms

REMEMBERED_SECONDS = 0.3  # for which a revoked token may go on
_LEAST_PAUSE: Final = 0.05  # seconds between two looks at the tokens, however many requests have an unknown one
MAX_AUTHORIZATION = 4096
FAILURES_PER_MINUTE = 20
MAX_CLIENTS = 10_000

ADMIN = "admin"  # the actor's name for the administrator's token

_UNAUTHORIZED = "give a valid token: Authorization: Bearer <token>"
_NOBODY: Final = StoredToken(ApiToken(id="", name="", scopes=()), bytes(32))  # no text has this digest


@runtime_checkable
class Trusted(Protocol):
    """A connection that wants to know that it has shown a valid token."""

    def authenticated(self) -> None: ...


class Access:
    """Lets a request through or raises Problem 401 or 429. A valid token always passes, however many failures its
    address has: tokens are too long to be guessed, and nobody may lock an operator out of a cancel. For the same reason
    the administrator's token has no rate."""

    def __init__(
        self,
        tokens: Tokens,
        rate: float,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], int] = wall_ms,
        *,
        inject_rate: float = 1000.0,
    ) -> None:
        """`rate`: requests a second of one token; `inject_rate`: those that hand mail in."""
        self._tokens = tokens
        self._rates = Rates(rate, inject_rate, clock)
        self._clock = clock
        self._wall = wall
        self._table: TokenTable | None = None
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()
        self._failures: OrderedDict[str, tuple[float, int]] = OrderedDict()  # address -> start of its minute, count

    async def check(self, request: web.Request) -> Actor:
        """The actor that asks. Raises Problem; raises StoreError where the tokens cannot be read (fails closed)."""
        secret, address = _bearer(request), request.remote or ""
        actor = None
        if secret:
            now = self._clock()
            actor = self._actor(await self._read_since(now - REMEMBERED_SECONDS), secret, address)
            if actor is None:  # it may have been made a moment ago
                actor = self._actor(await self._read_since(now), secret, address)
        if actor is None:
            raise self._refusal(address)
        connection = request.protocol
        if isinstance(connection, Trusted):
            connection.authenticated()
        if actor.token:
            self._rates.take(actor.token, _use_of(request))
        return actor

    def _actor(self, table: TokenTable, secret: bytes, address: str) -> Actor | None:
        """Compares the digest with one stored digest, also where the id is unknown, and with each of the
        administrators', so that the time of the answer tells nothing (S: A2)."""
        digest = digest_of(secret)
        stored = table.tokens.get(id_in(secret), _NOBODY)
        matches = hmac.compare_digest(stored.digest, digest)
        is_admin = False
        for valid in table.admin:
            is_admin |= hmac.compare_digest(valid, digest)
        if is_admin:
            return Actor(ActorKind.TOKEN, ADMIN, address, scopes=EVERY_SCOPE)
        token = stored.token
        if not matches or token.has_expired(self._wall()):
            return None
        return Actor(ActorKind.TOKEN, token.name, address, token.id, token.rights, token.tenant, token.simulate)

    async def _read_since(self, since: float) -> TokenTable:
        """The table of tokens, read at that time or later. One request reads it for all requests that wait."""
        if self._table is not None and self._read_at >= since:
            return self._table
        async with self._reading:
            table = self._table
            if table is None or self._read_at < since:
                await asyncio.sleep(max(0.0, self._read_at + _LEAST_PAUSE - self._clock()))
                asked_at = self._clock()
                if table is None or await self._tokens.version() != table.version:
                    table = self._table = await self._tokens.load()
                self._read_at = asked_at
            return table

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


def _use_of(request: web.Request) -> Use:
    if request.method in (hdrs.METH_GET, hdrs.METH_HEAD):
        return Use.READ
    return Use.MAIL if request.path in MAIL_PATHS else Use.ORDER


def _bearer(request: web.Request) -> bytes:
    """The secret of the one Authorization header; b"" for everything that is not exactly that."""
    given = request.headers.getall(hdrs.AUTHORIZATION, [])
    if len(given) != 1 or len(given[0]) > MAX_AUTHORIZATION:
        return b""
    scheme, _, secret = given[0].partition(" ")
    return secret.strip(" ").encode("utf-8", "surrogateescape") if scheme.lower() == "bearer" else b""
