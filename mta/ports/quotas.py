"""Quotas of tenants, as they are counted for all processes."""

from typing import NamedTuple, Protocol

from mta.model.quotas import Quota, QuotaUse


class QuotaTaken(NamedTuple):
    """The answer to a process that asks for deliveries of a quota."""

    granted: int
    hour: int  # Unix hours: they may be accepted in this hour only
    free_at: int  # Unix ms at which there is more again, where fewer were granted than were needed


class QuotaStore(Protocol):
    """Every call may raise StoreError."""

    async def take(self, tenant: str, quota: Quota, hour: int, needed: int, more: int) -> QuotaTaken:
        """Reserve deliveries of the quota: as many as are needed, or all that are left; and up to `more`, while these
        are a small part of those that are left. `hour` is that of the caller's clock (Unix hours); where another
        process was in a later hour, that one counts."""
        ...

    async def give_back(self, tenant: str, hour: int, count: int) -> None:
        """Deliveries that were reserved in the hour, and not accepted, count no more."""
        ...

    async def used(self, tenant: str, hour: int) -> QuotaUse:
        """The deliveries that count in the hour of the caller's clock."""
        ...
