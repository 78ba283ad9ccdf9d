"""The use of tenants' quotas in the store, shared by all processes."""

from typing import Final

from mta.model.quotas import DAY_HOURS, HOUR_MS, Quota, QuotaUse
from mta.ports.quotas import QuotaTaken
from mta.redis_store import keys
from mta.redis_store.link import Link

_REMEMBERED_MS: Final = 2 * DAY_HOURS * HOUR_MS


class StoredQuotas:
    """Fulfils ports.quotas.QuotaStore."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def take(self, tenant: str, quota: Quota, hour: int, needed: int, more: int) -> QuotaTaken:
        args: list[bytes | str | int] = [hour, quota.per_hour, quota.per_day, needed, more, _REMEMBERED_MS]
        granted, at, binds = await self._link.call(b"quota_take", [keys.quota_key(tenant)], args)
        free = at + 1 if binds == b"h" else (at // DAY_HOURS + 1) * DAY_HOURS
        return QuotaTaken(int(granted), int(at), free * HOUR_MS if binds else 0)

    async def give_back(self, tenant: str, hour: int, count: int) -> None:
        await self._link.call(b"quota_back", [keys.quota_key(tenant)], [hour, count])

    async def used(self, tenant: str, hour: int) -> QuotaUse:
        found = await self._link.call(b"quota_used", [keys.quota_key(tenant)], [hour])
        return QuotaUse(*map(int, found))
