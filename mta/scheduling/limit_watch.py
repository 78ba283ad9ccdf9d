"""The limit watch of a worker: its shaping follows the limit orders that all nodes share."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from mta.model.errors import StoreError, severity
from mta.model.limit_orders import LimitOrder, LimitOrders
from mta.policy.limit_orders import Scope
from mta.policy.shaping import Shaping
from mta.ports.limits import LimitOrderStore
from mta.timing.alarm import Alarm
from mta.timing.clock import wall_ms
from mta.timing.follow import follow

log = logging.getLogger(__name__)

_KEPT_MS: Final = 60_000  # an order that is over is removed so long afterwards: the clocks of nodes differ a little


class LimitWatch:
    """Also removes orders that are over; any worker may be the one that does."""

    def __init__(
        self,
        store: LimitOrderStore,
        shaping: Shaping,
        changed: Callable[[Sequence[Scope]], None],
        clock: Callable[[], int] = wall_ms,
        *,
        heard: Callable[[LimitOrders], None] | None = None,
    ) -> None:
        """`changed` hears of each change of the limits, with the scopes whose limits are tighter; `heard` of the orders
        whenever they have changed."""
        self._store = store
        self._shaping = shaping
        self._changed = changed
        self._heard = heard
        self._clock = clock
        self._version = b"0|"
        self._orders: LimitOrders = {}
        self._alarm = Alarm()
        self.known = asyncio.Event()  # the orders of the store were read once
        store.on_change(self._alarm.ring)

    async def run(self) -> None:
        """Until cancelled."""
        await follow(self.look, self._alarm, StoreError, _tell)

    async def look(self) -> None:
        """Go by the orders as they stand now. Raises StoreError; then by those that were known."""
        try:
            found = await self._store.orders(self._version)
            if found is not None:
                self._version, self._orders = found
                if self._heard is not None:
                    self._heard(self._orders)
            self.known.set()
        finally:
            self._adopt()
        for order in [order for order in self._orders.values() if self._is_old(order)]:
            await self._store.remove(order)

    def _adopt(self) -> None:
        tighter = self._shaping.adopt(self._orders, self._clock())
        if tighter is not None:
            self._changed(tighter)

    def _is_old(self, order: LimitOrder) -> bool:
        return bool(order.over_at) and order.over_at + _KEPT_MS < self._clock()


def _tell(error: StoreError) -> None:
    log.log(severity(error), "the limit orders of the cluster cannot be read: %s", error)
