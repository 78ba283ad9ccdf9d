"""The warm-up of sending IPs: each process holds a few messages of the day for an IP and a site, and spends them."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from mta.model.errors import StoreError, severity
from mta.model.paths import SendingPath
from mta.model.pools import PoolSettings
from mta.policy.warm_up import date_of, slice_of
from mta.ports.delivery import WarmUpStore
from mta.timing.clock import wall_ms

_LEAST_PAUSE: Final = 1.0  # seconds until a day that is used up is asked about again: others give messages back
_MOST_PAUSE: Final = 60.0
_KEEP: Final = 10.0  # seconds after which messages that nobody needs are given back
_MOST_KEPT: Final = 20_000

_log = logging.getLogger(__name__)


class _Share:
    """The messages of one IP for one site that this process holds."""

    __slots__ = (
        "asked_on",
        "asking",
        "begun",
        "date",
        "left",
        "not_before",
        "pause",
        "slice",
        "timer",
        "told",
        "warm_on",
    )

    def __init__(self) -> None:
        self.date = 0  # of `left` and `begun`
        self.left = 0
        self.begun = 0  # since the last report
        self.told = 0  # spent when the timer was set
        self.slice = 0  # 0: not known yet
        self.warm_on = -1  # the date on which the IP is known to be warm
        self.asked_on = -1  # the date of the last question
        self.not_before = 0.0  # when it may be asked again on the same date
        self.pause = 0.0
        self.asking: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None


class WarmUps:
    """Fulfils ports.delivery.WarmUps."""

    def __init__(self, store: WarmUpStore, *, clock: Callable[[], int] = wall_ms) -> None:
        """`clock` gives Unix milliseconds."""
        self._store = store
        self._clock = clock
        self._schedules: dict[str, tuple[int, ...]] = {}  # by IP
        self._pools: frozenset[str] = frozenset()
        self._shares: dict[tuple[str, str], _Share] = {}  # by site and IP

    def take_pools(self, pools: Mapping[str, PoolSettings]) -> None:
        """Warm up by these pools from now on."""
        warming = {name: pool for name, pool in pools.items() if pool.warmup}
        self._schedules = {ip: pool.warmup for pool in warming.values() for ip in pool.ips if ip not in pool.warm}
        self._pools = frozenset(warming)

    def concerns(self, pool: str) -> bool:
        return pool in self._pools or (pool.startswith("@") and pool[1:] in self._schedules)

    def is_warming(self, ip: str) -> bool:
        return ip in self._schedules

    async def admits(self, site: str, ip: str) -> float:
        schedule = self._schedules.get(ip)
        if schedule is None:
            return 0.0
        share, date = self._share(site, ip), date_of(self._clock())
        if not self._has(share, date) and self._may_ask(share, date):
            await self._asked(share, site, ip, schedule)
        return 0.0 if self._has(share, date) else max(_LEAST_PAUSE, share.not_before - time.monotonic())

    def take(self, path: SendingPath) -> bool:
        schedule = self._schedules.get(path.ip)
        if schedule is None:
            return True
        share, date = self._share(path.site, path.ip), date_of(self._clock())
        if share.warm_on == date:
            return True
        if share.date != date or not share.left:
            return False
        share.left -= 1
        share.begun += 1
        if share.left <= share.slice // 2 and share.asking is None and self._may_ask(share, date):
            share.asking = asyncio.get_running_loop().create_task(self._ask(share, path.site, path.ip, schedule))
        return True

    async def drain(self) -> None:
        """Give back what is not spent."""
        for (site, ip), share in list(self._shares.items()):
            if share.timer is not None:
                share.timer.cancel()
            if share.asking is not None:
                await asyncio.wait((share.asking,))
            if share.left or share.begun:
                await self._ask(share, site, ip, self._schedules.get(ip, ()), give_back=True)

    def _share(self, site: str, ip: str) -> _Share:
        share = self._shares.get((site, ip))
        if share is None:
            if len(self._shares) >= _MOST_KEPT:
                idle = [key for key, one in self._shares.items() if not (one.left or one.begun or one.asking)]
                for key in idle:
                    del self._shares[key]
            share = self._shares[site, ip] = _Share()
        return share

    def _may_ask(self, share: _Share, date: int) -> bool:
        return share.asked_on != date or time.monotonic() >= share.not_before

    def _rest(self, share: _Share) -> None:
        share.pause = min(_MOST_PAUSE, max(_LEAST_PAUSE, share.pause * 2))
        share.not_before = time.monotonic() + share.pause

    def _has(self, share: _Share, date: int) -> bool:
        return share.warm_on == date or (share.date == date and share.left > 0)

    async def _asked(self, share: _Share, site: str, ip: str, schedule: tuple[int, ...]) -> None:
        """One call at a time; the messages are kept if the caller is cancelled before they come."""
        if share.asking is None:
            share.asking = asyncio.get_running_loop().create_task(self._ask(share, site, ip, schedule))
        await asyncio.shield(share.asking)

    async def _ask(
        self, share: _Share, site: str, ip: str, schedule: tuple[int, ...], *, give_back: bool = False
    ) -> None:
        """Report, and get some messages of the day, or give back all that are left."""
        date = date_of(self._clock())
        share.asked_on = date
        told, begun, back = share.date, share.begun, share.left if give_back else 0
        if give_back or share.date != date:
            share.left = 0
        share.begun = 0
        wanted = 0 if give_back else share.slice or slice_of(schedule[0])
        try:
            day, messages, granted = await self._store.take_warm_up(
                site, ip, date, (told, begun, back), wanted, schedule
            )
        except StoreError as error:
            # Nothing is given back twice: what the store may have taken back is lost for the day.
            share.begun += begun
            self._rest(share)
            _log.log(severity(error), "the warm-up of %s is not known: %s", ip, error)
            return
        finally:
            share.asking = None
        if day > len(schedule):
            share.warm_on = date
            return
        share.date, share.slice = date, slice_of(messages)
        share.left += granted
        if granted:
            share.pause = share.not_before = 0.0
        elif not give_back:
            self._rest(share)
        if share.left and share.timer is None:
            share.told = share.begun
            share.timer = asyncio.get_running_loop().call_later(_KEEP, self._kept_too_long, share, site, ip)

    def _kept_too_long(self, share: _Share, site: str, ip: str) -> None:
        """Give back what nobody has needed since the timer was set."""
        share.timer = None
        schedule = self._schedules.get(ip, ())
        if share.begun == share.told and share.left and share.asking is None and schedule:
            share.told = 0
            share.asking = asyncio.get_running_loop().create_task(self._ask(share, site, ip, schedule, give_back=True))
        elif share.left:
            share.told = share.begun
            share.timer = asyncio.get_running_loop().call_later(_KEEP, self._kept_too_long, share, site, ip)
