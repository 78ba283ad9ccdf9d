"""The MTA-STS policies that all nodes share."""

from collections.abc import Mapping

import msgspec

from mta.policy.mta_sts import StsPolicy
from mta.redis_store import keys
from mta.redis_store.link import Link

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(StsPolicy).decode


class StoredStsPolicies:
    """Fulfils ports.mta_sts.StsStore."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def all(self) -> Mapping[str, StsPolicy]:
        found = await self._link.command("HGETALL", keys.META_STS)
        pairs = zip(found[::2], found[1::2], strict=True)
        return {domain.decode(): policy for domain, raw in pairs if (policy := _read(raw)) is not None}

    async def get(self, domain: str) -> StsPolicy | None:
        raw = await self._link.command("HGET", keys.META_STS, domain)
        return None if raw is None else _read(raw)

    async def put(self, domain: str, policy: StsPolicy) -> None:
        await self._link.command("HSET", keys.META_STS, domain, _encode(policy))

    async def drop(self, domains: list[str]) -> None:
        await self._link.command("HDEL", keys.META_STS, *domains)


def _read(raw: bytes) -> StsPolicy | None:
    """None: a node of another release wrote it."""
    try:
        return _decode(raw)
    except msgspec.DecodeError:
        return None
