"""The way out of a worker process: it claims deliveries, attempts them and settles them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from mta.egress.egress import Egress
from mta.egress.reply_watch import ReplyWatch
from mta.model import process_metrics as told
from mta.policy.served_pools import SERVES
from mta.runtime.pool_watch import PoolWatch
from mta.runtime.served_pools import ServedPools
from mta.scheduling.dispatcher import Dispatcher
from mta.scheduling.limit_watch import LimitWatch
from mta.scheduling.limits import SharedLimits
from mta.scheduling.reaction_watch import ReactionWatch
from mta.scheduling.settler import Settler
from mta.scheduling.slow_start import SlowStart


class Outbound:
    """The dispatcher, egress and the settler, in the order in which they end."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        egress: Egress,
        settler: Settler,
        limits: SharedLimits,
        pools: ServedPools,
        pool_watch: PoolWatch,
        replies: ReplyWatch,
        limit_orders: LimitWatch,
        by_replies: Sequence[ReactionWatch | SlowStart],
        closes: Sequence[Callable[[], Awaitable[None]]],
    ) -> None:
        self._dispatcher = dispatcher
        self._egress = egress
        self._settler = settler
        self._limits = limits
        self._pools = pools
        self._pool_watch = pool_watch
        self._replies = replies
        self._limit_orders = limit_orders
        self._by_replies = by_replies
        self._closes = closes

    def start(self) -> list[asyncio.Task[None]]:
        """Deliver from now on; the tasks end by `drain` only, or by a defect."""
        self._dispatcher.start()
        return self._dispatcher.tasks

    async def follow_pools(self) -> None:
        """Until cancelled."""
        await asyncio.gather(self._pools.follow(), self._pool_watch.run())

    async def pools_known(self) -> None:
        """Returns once the pools of the cluster are known."""
        await self._pool_watch.ready()

    async def follow_replies(self) -> None:
        """Until cancelled."""
        await self._replies.run()

    async def follow_limits(self) -> None:
        """Until cancelled."""
        await asyncio.gather(self._limit_orders.run(), *(part.run() for part in self._by_replies))

    async def limits_known(self) -> None:
        """Until the limit orders of the cluster hold here."""
        await self._limit_orders.known.wait()

    async def watch(self) -> None:
        """Raise the defect of the settler, when it has one. The store makes deliveries that are still claimed due again
        when this process has ended."""
        await self._settler.broken.wait()
        assert self._settler.defect is not None
        raise self._settler.defect

    async def drain(self, seconds: float) -> None:
        """End the deliveries in flight, and give the others back to their queues."""
        await self._dispatcher.drain()
        await self._egress.drain(seconds)
        await self._egress.close()
        await self._settler.drain()
        await self._limits.drain()
        for close in self._closes:
            await close()

    def metrics(self) -> Mapping[str, float]:
        """The figures of its parts, and the pools that this node serves."""
        settler = self._settler
        found: dict[str, float] = {
            told.POOLS_CHANGE.key: self._pool_watch.number,
            told.CLAIMED.key: self._dispatcher.claimed,
            told.STALE.key: settler.stale,
            told.REDECIDED.key: settler.redecided,
            told.RETRIED_CALLS.key: settler.retried_calls,
        }
        found |= told.SETTLED.each(settler.outcomes)
        found |= settler.replies.metrics()  # before the queues: it tells them what was delivered
        found |= settler.queues.metrics()
        found |= settler.returns.metrics()
        found |= self._egress.metrics()
        found |= dict.fromkeys((SERVES + pool for pool in self._pools()), 1)
        return found
