"""The pools that this node serves: those whose IPs it holds."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping

from msgspec.structs import replace

from mta.model.errors import StoreError
from mta.model.pools import PoolSettings
from mta.net.local_addresses import holds
from mta.policy.pools import is_usable
from mta.timing.alarm import Alarm

log = logging.getLogger(__name__)

_LOOK_EVERY = 1.0  # seconds, while mail comes: it may be for an `@<ip>` that was never used before
_LOOK_ANYWAY = 10.0  # seconds, for mail whose hint was lost


def held(pools: Mapping[str, PoolSettings]) -> dict[str, PoolSettings]:
    """The pools with only those IPs that this node holds, and only those that it can send from."""
    found = {}
    for name, pool in pools.items():
        ips = tuple(ip for ip in pool.ips if holds(ip))
        if pool.ips and not ips:
            log.warning("pool %s is not served here: this node holds none of its IPs", name)
        elif not is_usable(pool):
            log.warning("pool %s is not served: it has no IPs; floodgate pools add-ip %s gives it one", name, name)
        else:
            found[name] = replace(pool, ips=ips)
    return found


class ServedPools:
    """`named` are the pools that this node serves; `known` names the pools of all mail in the store."""

    def __init__(self, known: Callable[[], Awaitable[list[str]]], named: Iterable[str] = ()) -> None:
        self._known = known
        self._served = set(named)
        self._held: dict[str, bool] = {}
        self._hint = Alarm()

    def __call__(self) -> frozenset[str]:
        return frozenset(self._served)

    def take(self, named: Iterable[str]) -> None:
        """Serve these from now on, and the pools of one IP as before."""
        self._served = {*named, *(pool for pool, held in self._held.items() if held)}

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
