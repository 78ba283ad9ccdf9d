"""The pools that this node serves: those whose IPs it holds."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from mta.model.errors import StoreError
from mta.model.settings import Settings
from mta.net.local_addresses import holds
from mta.timing.alarm import Alarm

log = logging.getLogger(__name__)

_LOOK_EVERY = 1.0  # seconds, while mail comes: it may be for an `@<ip>` that was never used before
_LOOK_ANYWAY = 10.0  # seconds, for mail whose hint was lost


def held(settings: Settings) -> Settings:
    """The settings with only those IPs in each pool that this node holds, and only the pools that it can send from."""
    pools = {}
    for name, pool in settings.pools.items():
        ips = tuple(ip for ip in pool.ips if holds(ip))
        if pool.ips and not ips:
            log.warning("pool %s is not served here: this node holds none of its IPs", name)
            continue
        pools[name] = replace(pool, ips=ips)
    return replace(settings, pools=pools)


class ServedPools:
    """`settings` are those that `held` returned; `known` names the pools of all mail in the store."""

    def __init__(self, settings: Settings, known: Callable[[], Awaitable[list[str]]]) -> None:
        self._known = known
        self._named = frozenset(settings.pools)
        self._served = set(self._named)
        self._held: dict[str, bool] = {}
        self._hint = Alarm()

    def __call__(self) -> frozenset[str]:
        return frozenset(self._served)

    def look_soon(self) -> None:
        """Mail came, or goes back to its queues."""
        self._hint.ring()

    async def follow(self) -> None:
        """Look for pools of one IP again and again, until cancelled."""
        while True:
            try:
                asking = asyncio.ensure_future(self._known())
                asking.add_done_callback(
                    lambda done: done.cancelled() or done.exception()
                )  # where the waiting task was cancelled
                for pool in await asyncio.shield(asking):
                    if pool.startswith("@") and pool not in self._held:
                        self._held[pool] = holds(pool[1:])
                        if self._held[pool]:
                            self._served.add(pool)
            except StoreError as error:
                log.debug("pools not read: %s", error)
            await asyncio.sleep(_LOOK_EVERY)
            await self._hint.sleep(_LOOK_ANYWAY - _LOOK_EVERY)
