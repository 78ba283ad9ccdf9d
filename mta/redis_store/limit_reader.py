"""The use of shared limits, read for people."""

import asyncio
from collections.abc import Sequence
from typing import Final

from mta.model.limit_use import LimitUse, WarmUp
from mta.redis_store import keys
from mta.redis_store.link import Link

_AT_ONCE: Final = 50  # scopes


class StoredLimitReader:
    """Fulfils ports.limits.LimitReader."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def use(self, asked: Sequence[tuple[str, str]]) -> list[LimitUse]:
        found: list[LimitUse] = []
        for at in range(0, len(asked), _AT_ONCE):
            found += await asyncio.gather(*(self._use(*one) for one in asked[at : at + _AT_ONCE]))
        return found

    async def warm_ups(self, site: str, ips: Sequence[str]) -> dict[str, WarmUp]:
        found: dict[str, WarmUp] = {}
        for at in range(0, len(ips), _AT_ONCE):
            some = ips[at : at + _AT_ONCE]
            asked = [self._link.quick("HMGET", keys.warm_up_key(site, ip), *WarmUp._fields) for ip in some]
            for ip, values in zip(some, await asyncio.gather(*asked), strict=True):
                if None not in values:
                    found[ip] = WarmUp(*map(int, values))
        return found

    async def _use(self, site: str, scope: str) -> LimitUse:
        held, message, connection = await asyncio.gather(
            self._link.quick("HVALS", keys.slots_key(keys.slots_name(site, scope))),
            self._link.quick("GET", keys.rate_key(site, scope, "messages")),
            self._link.quick("GET", keys.rate_key(site, scope, "connections")),
        )
        return LimitUse(sum(map(int, held)), _instant(message), _instant(connection))


def _instant(value: bytes | None) -> int:
    return 0 if value is None else int(float(value))
