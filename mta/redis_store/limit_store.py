"""Connection slots and rate tokens of a pool and domain, shared by all processes, owned by sessions."""

from mta.redis_store import keys
from mta.redis_store.link import Link
from mta.redis_store.session import StoreSession


class StoredLimits:
    """Fulfils ports.delivery.LimitStore."""

    def __init__(self, link: Link, session: StoreSession) -> None:
        self._link = link
        self._session = session
        self._known: set[bytes] = set()

    async def hold_slots(self, pool: str, domain: str, limit: int, wanted: int, least: int) -> int:
        name = f"{pool}:{domain}".encode()
        if name not in self._known:
            # Noted first, so that the slots of a dead session are found.
            await self._link.command("SADD", keys.META_LIMITS, name)
            self._known.add(name)
        args: list[bytes | str | int] = [self._session.id, limit, wanted, least]
        return int(await self._link.call(b"limits_hold", [keys.slots_key(name)], args))

    async def holders(self) -> set[str]:
        found: set[bytes] = set()
        for name in await self._link.command("SMEMBERS", keys.META_LIMITS):
            found.update(await self._link.command("HKEYS", keys.slots_key(name)))
        return {session.decode() for session in found}

    async def forget(self, session: str) -> None:
        """All slots of a dead session are free again."""
        for name in await self._link.command("SMEMBERS", keys.META_LIMITS):
            await self._link.command("HDEL", keys.slots_key(name), session)

    async def take_tokens(
        self, pool: str, domain: str, kind: str, interval_ms: float, most: int
    ) -> tuple[int, float, int]:
        """(the store's now, first instant, how many): instants `interval_ms` apart, each given once; Unix ms."""
        args: list[bytes | str | int] = [f"{interval_ms:.3f}", most]
        now, first, many = await self._link.call(b"limits_tokens", [keys.rate_key(pool, domain, kind)], args)
        return int(now), float(first), int(many)
