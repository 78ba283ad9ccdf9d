"""Webhook endpoints in `{meta}`: the endpoints, the figures of each, and the processes that serve them."""

import logging
import secrets
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import msgspec

from mta.model.errors import BadValue
from mta.model.webhooks import Endpoint, EndpointFigures
from mta.ports.certainty import made_certain
from mta.ports.webhooks import EndpointEdit, SharedEndpoints
from mta.redis_store import keys
from mta.redis_store.link import Link
from mta.timing.clock import wall_ms

log = logging.getLogger(__name__)

MOST: Final = 1000
MOST_OF_TENANT: Final = MOST // 10  # made with tokens bound to it
_TRIES: Final = 5  # of a change while others change the same endpoint
_VERSION: Final = b"version"
_TABLE: Final = (keys.META_WEBHOOKS, keys.META_WEBHOOKS_CHANGES)

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Endpoint).decode
_decode_figures: Final = msgspec.json.Decoder(EndpointFigures).decode


class StoredEndpoints:
    """Fulfils ports.webhooks.EndpointWork."""

    def __init__(self, link: Link, wall: Callable[[], int] = wall_ms) -> None:
        self._link = link
        self._wall = wall

    async def endpoints(self, since: bytes = b"") -> SharedEndpoints | None:
        version: bytes = await self._link.command("HGET", keys.META_WEBHOOKS, _VERSION) or b"0|"
        if version == since:
            return None
        answer = await self._link.command("HGETALL", keys.META_WEBHOOKS)
        fields = dict(zip(answer[::2], answer[1::2], strict=True))
        version = fields.pop(_VERSION, b"0|")
        found: dict[str, Endpoint] = {}
        for name, raw in fields.items():
            try:
                found[name.decode()] = _decode(raw)
            except msgspec.DecodeError as error:
                log.error("the webhook %s was made by a newer release, or is damaged: %s", name.decode(), error)
        return SharedEndpoints(version, found)

    async def there_are_some(self) -> bool:
        """Whether any endpoint was ever made: a node starts the process that serves them then."""
        return bool(await self._link.command("EXISTS", keys.META_WEBHOOKS))

    async def edit(self, endpoint_id: str, edit: EndpointEdit, *, bound: bool = False) -> Endpoint | None:
        for _ in range(_TRIES):
            was = await self._link.command("HGET", keys.META_WEBHOOKS, endpoint_id) or b""
            made = edit(_decode(was) if was else None)
            if made is None:
                return None
            args: list[bytes | str | int] = [endpoint_id, _encode(made), was, MOST, secrets.token_hex(8)]
            if bound:
                args += [made.tenant, MOST_OF_TENANT]
            ask = partial(self._link.call_kept, b"entry_put", _TABLE, args)
            done = await made_certain(ask, ask, self._link.timeout)
            if done == -2:
                words = f"there are {MOST_OF_TENANT} webhooks of the tenant {made.tenant} already; remove some"
                raise BadValue("url", words)
            if done == -1:
                raise BadValue("url", f"there are {MOST} webhooks already; remove some")
            if done:
                return made
        raise BadValue("id", "others change the same webhook; try again")

    async def remove(self, endpoint_id: str) -> None:
        ask = partial(self._link.call_kept, b"entry_remove", _TABLE, [endpoint_id, secrets.token_hex(8)])
        await made_certain(ask, ask, self._link.timeout)
        await self._link.command("HDEL", keys.META_WEBHOOKS_FIGURES, endpoint_id)

    async def figures(self) -> dict[str, EndpointFigures]:
        answer = await self._link.command("HGETALL", keys.META_WEBHOOKS_FIGURES)
        return {name.decode(): _decode_figures(raw) for name, raw in zip(answer[::2], answer[1::2], strict=True)}

    async def tell(self, figures: Mapping[str, EndpointFigures]) -> None:
        if figures:
            words = [word for name, told in figures.items() for word in (name, _encode(told))]
            await self._link.command("HSET", keys.META_WEBHOOKS_FIGURES, *words)

    def on_change(self, hook: Callable[[], None]) -> None:
        self._link.hear(keys.ENTRY_CHANNEL, lambda table: hook() if table == keys.META_WEBHOOKS else None)
        self._link.on_reconnect(hook)

    # The processes that serve endpoints

    async def lead(self, endpoint_id: str, owner: str, seconds: float) -> bool:
        key, lifetime = keys.webhook_lease_key(endpoint_id), int(seconds * 1000)
        if await self._link.command("SET", key, owner, "NX", "PX", lifetime):
            return True
        if await self._link.command("GET", key) != owner.encode():
            return False
        return bool(await self._link.command("PEXPIRE", key, lifetime))

    async def let_go(self, endpoint_id: str, owner: str) -> None:
        key = keys.webhook_lease_key(endpoint_id)
        if await self._link.command("GET", key) == owner.encode():
            await self._link.command("DEL", key)

    async def attend(self, owner: str, seconds: float) -> int:
        now = self._wall()
        await self._link.command("ZADD", keys.META_WEBHOOKS_SERVERS, now + int(seconds * 1000), owner)
        await self._link.command("ZREMRANGEBYSCORE", keys.META_WEBHOOKS_SERVERS, "-inf", now)
        return int(await self._link.command("ZCARD", keys.META_WEBHOOKS_SERVERS))
