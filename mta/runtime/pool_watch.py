"""The pool watch of a worker: it follows the pools of the cluster, and tells egress which pools this node serves."""

import asyncio
import logging
from collections.abc import Callable, Mapping

from mta.model.errors import StoreError, severity
from mta.model.pools import PoolSettings
from mta.policy.pools import in_force
from mta.ports.pools import PoolStore
from mta.runtime.served_pools import held
from mta.timing.alarm import Alarm
from mta.timing.follow import follow

log = logging.getLogger(__name__)


class PoolWatch:
    """Nothing may be delivered before it is ready: mail would leave by the settings file alone."""

    def __init__(
        self,
        store: PoolStore,
        own: Mapping[str, PoolSettings],
        take: Callable[[Mapping[str, PoolSettings]], None],
    ) -> None:
        """`own`: the pools of the settings file. `take` is called with the pools that this node serves, each with the
        IPs that it holds."""
        self._store = store
        self._own = own
        self._take = take
        self._version = b""
        self._alarm = Alarm()
        self._ready = asyncio.Event()
        self.number = 0  # of the last change of the cluster's pools that is in force here
        store.on_change(self._alarm.ring)

    async def run(self) -> None:
        """Until cancelled."""
        await follow(self.look, self._alarm, StoreError, _tell)

    async def ready(self) -> None:
        """Returns once the pools of the cluster are known."""
        await self._ready.wait()

    async def look(self) -> None:
        """Take over the pools of the store. Raises StoreError."""
        found = await self._store.changed(self._version)
        if found is None:
            return
        self._take(held(in_force(self._own, found.pools)))
        self._version, self.number = found.version, found.number
        self._ready.set()


def _tell(error: StoreError) -> None:
    log.log(severity(error), "the pools of the cluster cannot be read: %s", error)
