"""Orders about webhook endpoints: made, tested, rotated, replayed, enabled, removed."""

import ipaddress
import secrets
import uuid
from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from mta.model.errors import BadValue, HistoryOff
from mta.model.webhooks import Endpoint, EndpointFigures, Replay
from mta.policy.public_addresses import is_public, is_within
from mta.policy.webhook_events import test_body
from mta.policy.webhook_signature import SECRET_BYTES, secret_text, signed_headers
from mta.ports.secrets import Sealer
from mta.ports.webhooks import EndpointStore, PostAnswer, Poster
from mta.timing.clock import wall_ms
from mta.webhooks.literal_address import literal_address

_SIGNS_ALONG_MS: Final = 24 * 3_600_000  # an old secret


class EndpointBook:
    """Fulfils ports.webhooks.EndpointOrders."""

    def __init__(
        self,
        store: EndpointStore,
        sealer: Sealer,
        poster: Callable[[], Poster],
        *,
        allow_networks: Sequence[str],
        keeps_history: bool,
        wall: Callable[[], int] = wall_ms,
    ) -> None:
        """`poster` is called with the first test: only few processes of the API ever send one."""
        self._allow = [ipaddress.ip_network(network) for network in allow_networks]
        self._keeps_history = keeps_history
        self._store = store
        self._sealer = sealer
        self._open_poster = poster
        self._poster: Poster | None = None
        self._wall = wall

    def check(self, wanted: Endpoint) -> None:
        if not self._keeps_history:
            raise HistoryOff
        plain = wanted.url.lower().startswith("http:")
        if plain and not self._allow:
            raise BadValue("url", "begins with http://, and webhooks.allow_networks is empty; use https://")
        address = literal_address(wanted.url)
        if address is None or is_within(address, self._allow):
            return
        if plain:
            raise BadValue("url", f"goes to {address}, which is not in webhooks.allow_networks; use https://")
        if not is_public(address):
            words = f"goes to {address}, which is no public address and not in webhooks.allow_networks"
            raise BadValue("url", f"{words}; give a public host")

    async def all(self) -> Sequence[Endpoint]:
        shared = await self._store.endpoints()
        found = () if shared is None else shared.endpoints.values()
        return sorted(found, key=lambda endpoint: (endpoint.created_at, endpoint.id))

    async def one(self, endpoint_id: str) -> Endpoint | None:
        return next((endpoint for endpoint in await self.all() if endpoint.id == endpoint_id), None)

    async def figures(self) -> dict[str, EndpointFigures]:
        return await self._store.figures()

    async def add(self, wanted: Endpoint, *, bound: bool) -> str:
        secret = secrets.token_bytes(SECRET_BYTES)
        made = replace(wanted, secret=await self._sealer.seal(secret, wanted.about))
        await self._store.edit(wanted.id, lambda known: made, bound=bound)
        return secret_text(secret)

    async def rotate(self, endpoint_id: str) -> tuple[Endpoint, str] | None:
        known = await self.one(endpoint_id)
        if known is None:
            return None
        secret = secrets.token_bytes(SECRET_BYTES)
        sealed = await self._sealer.seal(secret, known.about)
        until = self._wall() + _SIGNS_ALONG_MS

        def edit(endpoint: Endpoint | None) -> Endpoint | None:
            if endpoint is None:
                return None
            return replace(endpoint, secret=sealed, old_secret=endpoint.secret, old_until=until)

        made = await self._store.edit(endpoint_id, edit)
        return None if made is None else (made, secret_text(secret))

    async def enable(self, endpoint_id: str) -> Endpoint | None:
        def edit(endpoint: Endpoint | None) -> Endpoint | None:
            return None if endpoint is None else replace(endpoint, disabled_at=0, disabled_reason="")

        return await self._store.edit(endpoint_id, edit)

    async def replay(self, endpoint_id: str, begin: int, end: int) -> Endpoint | None:
        def edit(endpoint: Endpoint | None) -> Endpoint | None:
            if endpoint is None:
                return None
            number = 1 if endpoint.replay is None else endpoint.replay.number + 1
            return replace(endpoint, replay=Replay(number, begin, end))

        return await self._store.edit(endpoint_id, edit)

    async def test(self, endpoint: Endpoint) -> PostAnswer:
        if self._poster is None:
            self._poster = self._open_poster()
        now = self._wall()
        old = endpoint.old_secret if endpoint.old_until > now else b""
        opened = [self._sealer.open(sealed, endpoint.about) for sealed in (endpoint.secret, old) if sealed]
        body = test_body(endpoint, now)
        headers = signed_headers(opened, f"test_{uuid.uuid4().hex}", now // 1000, body)
        return await self._poster.post(endpoint.url, body, headers)

    async def remove(self, endpoint_id: str) -> None:
        await self._store.remove(endpoint_id)

    async def close(self) -> None:
        if self._poster is not None:
            await self._poster.close()
