"""The quotas of tenants at acceptance: deliveries are reserved before the store accepts them.

A process reserves some more than it needs, a slice, so that most batches ask the store nothing. It gives a slice back
that it has not used for a second. A process that dies leaves its slice unused until the hour ends.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from mta.model.errors import StoreError
from mta.model.ids import MessageId
from mta.model.outcomes import Class, Reply
from mta.model.quotas import HOUR_MS, Quota
from mta.model.rules import Rule
from mta.model.units import format_time
from mta.ports.admission import Ending, RefusedUntil, Undecided
from mta.ports.queueing import DecidedBy, DeciderKind
from mta.ports.quotas import QuotaStore
from mta.timing.clock import wall_ms

log = logging.getLogger(__name__)

_SLICE: Final = 500  # deliveries that are reserved beyond those that are needed
_IDLE: Final = 1.0  # seconds after which an unused slice is given back


class _Slice:
    """The deliveries of one tenant that this process has reserved, and may still accept."""

    __slots__ = ("hour", "is_used", "left", "quota", "timer")

    def __init__(self, quota: Quota, hour: int) -> None:
        self.quota = quota
        self.hour = hour
        self.left = 0
        self.is_used = False  # since the timer was set
        self.timer: asyncio.TimerHandle | None = None


class TenantQuotas:
    """Fulfils ports.admission.ReservingDecider."""

    def __init__(
        self, store: QuotaStore, tenants: Callable[[], Mapping[str, Rule]], *, clock: Callable[[], int] = wall_ms
    ) -> None:
        """`tenants` gives the terms of tenants by name, `clock` Unix milliseconds."""
        self._store = store
        self._tenants = tenants
        self._clock = clock
        self._seen: Mapping[str, Rule] = {}
        self._quotas: Mapping[str, Quota] = {}  # of those that have one
        self._slices: dict[str, _Slice] = {}
        self._reserved: dict[MessageId, tuple[str, int, int]] = {}  # tenant, hour, deliveries; being accepted
        self._giving_back: set[asyncio.Task[None]] = set()

    @property
    def is_on(self) -> bool:
        tenants = self._tenants()
        if tenants is not self._seen:
            self._seen = tenants
            self._quotas = {name: terms.quota for name, terms in tenants.items() if terms.quota is not None}
        return bool(self._quotas)

    @property
    def has_reserved(self) -> bool:
        return bool(self._reserved)

    async def decide(self, mail: Sequence[Undecided]) -> Mapping[MessageId, Sequence[Ending] | Reply]:
        found: dict[MessageId, Sequence[Ending] | Reply] = {}
        by_tenant: dict[str, list[Undecided]] = {}
        for one in mail:
            if one.message.tenant in self._quotas and not one.message.simulated:
                by_tenant.setdefault(one.message.tenant, []).append(one)
        for tenant, some in by_tenant.items():
            await self._share_out(tenant, some, found)
        return found

    def finished(self, ids: Iterable[MessageId], accepted: bool) -> None:
        back: dict[tuple[str, int], int] = {}
        for id_ in ids:
            reserved = self._reserved.pop(id_, None)
            if reserved is not None and not accepted:
                tenant, hour, count = reserved
                back[tenant, hour] = back.get((tenant, hour), 0) + count
        for (tenant, hour), count in back.items():
            self._put_back(tenant, hour, count)

    async def close(self) -> None:
        """Give all slices back."""
        for tenant, slice_ in self._slices.items():
            self._drop(tenant, slice_)
        self._slices.clear()
        await asyncio.gather(*self._giving_back)

    async def _share_out(
        self, tenant: str, mail: Sequence[Undecided], found: dict[MessageId, Sequence[Ending] | Reply]
    ) -> None:
        """In order. A message that a client of SMTP brings comes in whole or not at all; those of a call over HTTP as
        far as there is room, unless there is room for none of the call."""
        quota = self._quotas[tenant]
        hour, granted, free_at = await self._reserve(tenant, quota, sum(len(one.numbers) for one in mail))
        by = DecidedBy(DeciderKind.QUOTA, tenant)
        for message, numbers in mail:
            wanted, call = len(numbers), message.call
            fits = min(wanted, granted)
            if fits < wanted and (call is None or not (fits or call.has_accepted)):
                found[message.id] = _refusal(quota, wanted, call is None, free_at)
                continue
            granted -= fits
            if call is not None and fits:
                call.has_accepted = True
            if fits:
                self._reserved[message.id] = tenant, hour, fits
            if fits < wanted:
                words = _used_up(quota, free_at)
                found[message.id] = [Ending(number, Class.THROTTLED, by, words) for number in numbers[fits:]]
        if free_at:  # little is left of the quota: another process may have use for it
            self._start_giving_back(tenant, hour, granted)
        elif granted:
            self._put_back(tenant, hour, granted)

    async def _reserve(self, tenant: str, quota: Quota, needed: int) -> tuple[int, int, int]:
        """(hour, how many of the deliveries are granted, Unix ms at which there is more, 0 = all are granted). Raises
        StoreError."""
        hour = self._clock() // HOUR_MS
        slice_ = self._slices.get(tenant)
        if slice_ is None or slice_.hour < hour or slice_.quota != quota:
            if slice_ is not None:
                self._drop(tenant, slice_)
            slice_ = self._slices[tenant] = _Slice(quota, hour)
        hour, granted = slice_.hour, min(needed, slice_.left)
        slice_.left -= granted
        slice_.is_used = True
        if granted == needed:
            return hour, granted, 0
        try:
            taken = await self._store.take(tenant, quota, hour, needed - granted, _SLICE)
        except StoreError:
            self._put_back(tenant, hour, granted)
            raise
        if taken.hour != hour:  # the hour is over by the clock of another process
            self._put_back(tenant, hour, granted)
            slice_ = self._slices[tenant] = _Slice(quota, taken.hour)
            hour, granted = taken.hour, 0
        self._put_back(tenant, hour, taken.granted)
        if slice_ is self._slices.get(tenant):  # another batch may have put some back meanwhile
            fits = min(needed - granted, slice_.left)
            slice_.left -= fits
            granted += fits
        return hour, granted, 0 if granted == needed else taken.free_at

    def _put_back(self, tenant: str, hour: int, count: int) -> None:
        """Reserved deliveries that were not accepted go back to the slice, or to the store where the slice is gone."""
        if not count:
            return
        slice_ = self._slices.get(tenant)
        if slice_ is None or slice_.hour != hour:
            self._start_giving_back(tenant, hour, count)
            return
        slice_.left += count
        if slice_.timer is None:
            slice_.timer = asyncio.get_running_loop().call_later(_IDLE, self._drop_if_idle, tenant, slice_)

    def _drop_if_idle(self, tenant: str, slice_: _Slice) -> None:
        slice_.timer = None
        if self._slices.get(tenant) is not slice_:
            return
        if slice_.is_used and slice_.left:
            slice_.is_used = False
            slice_.timer = asyncio.get_running_loop().call_later(_IDLE, self._drop_if_idle, tenant, slice_)
        elif slice_.left:
            del self._slices[tenant]
            self._drop(tenant, slice_)

    def _drop(self, tenant: str, slice_: _Slice) -> None:
        if slice_.timer is not None:
            slice_.timer.cancel()
            slice_.timer = None
        self._start_giving_back(tenant, slice_.hour, slice_.left)
        slice_.left = 0

    def _start_giving_back(self, tenant: str, hour: int, count: int) -> None:
        if not count:
            return
        task = asyncio.get_running_loop().create_task(self._give_back(tenant, hour, count))
        self._giving_back.add(task)
        task.add_done_callback(self._giving_back.discard)

    async def _give_back(self, tenant: str, hour: int, count: int) -> None:
        try:
            await self._store.give_back(tenant, hour, count)
        except StoreError as error:
            log.debug("%d deliveries of the quota of %s stay unused in this hour: %s", count, tenant, error)


def _refusal(quota: Quota, wanted: int, whole: bool, free_at: int) -> Reply:
    """To a message for which the quota has no room. `whole`: its recipients come in together or not at all."""
    least = min(bound for bound in (quota.per_hour, quota.per_day) if bound)
    if whole and wanted > least:
        return Reply(550, "5.7.1", f"the message has {wanted} recipients, and the account's quota is {_words(quota)}")
    return RefusedUntil(452, "4.7.28", _used_up(quota, free_at), free_at)


def _used_up(quota: Quota, free_at: int) -> str:
    return f"the account's quota of {_words(quota)} is used up until {format_time(free_at)}"


def _words(quota: Quota) -> str:
    bounds = ((quota.per_hour, "an hour"), (quota.per_day, "a day"))
    return " and ".join(f"{bound} deliveries {per}" for bound, per in bounds if bound)
