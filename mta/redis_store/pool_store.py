"""The IP pools of the cluster, in `{meta}`."""

import secrets
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from mta.model.errors import BadValue
from mta.model.pools import SharedPool
from mta.ports.certainty import made_certain
from mta.ports.pools import SharedPools
from mta.redis_store import keys
from mta.redis_store.link import Link

_MOST: Final = 1000
_VERSION: Final = b"version"
_NO_VERSION: Final = b"0|"
_TABLE: Final = (keys.META_POOLS, keys.META_POOLS_CHANGES)

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(SharedPool).decode


class StoredPools:
    """Fulfils ports.pools.PoolStore."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def shared(self) -> SharedPools:
        answer = await self._link.command("HGETALL", keys.META_POOLS)
        fields = dict(zip(answer[::2], answer[1::2], strict=True))
        version = fields.pop(_VERSION, _NO_VERSION)
        return SharedPools(version, {name[1:].decode(): _decode(raw) for name, raw in sorted(fields.items())})

    async def changed(self, since: bytes) -> SharedPools | None:
        version: bytes = await self._link.command("HGET", keys.META_POOLS, _VERSION) or _NO_VERSION
        return None if version == since else await self.shared()

    async def put(self, name: str, pool: SharedPool | None, seen: bytes) -> bool:
        value = b"" if pool is None else _encode(pool)
        args: list[bytes | str | int] = [f"={name}", value, seen, _MOST, secrets.token_hex(8)]
        ask = partial(self._link.call_kept, b"pools_put", _TABLE, args)
        done = await made_certain(ask, ask, self._link.timeout)
        if done < 0:
            raise BadValue("name", f"there are {_MOST} pools already; remove some")
        return bool(done)

    def on_change(self, hook: Callable[[], None]) -> None:
        self._link.hear(keys.ENTRY_CHANNEL, lambda table: hook() if table == keys.META_POOLS else None)
        self._link.on_reconnect(hook)
