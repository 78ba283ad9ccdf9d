"""A worker process: it takes mail in, delivers it, or both."""

import asyncio
import logging

from mta.ingress.turn_away import TurnAway
from mta.ingress.worker_loads import WorkerLoads
from mta.model.errors import StoreError
from mta.runtime.child import Child
from mta.runtime.wiring.worker import WorkerParts, open_worker
from mta.timing.cancelling import cancel_all

log = logging.getLogger(__name__)

_LAST_WRITES = 2.0  # seconds after the drain timeout for outcomes that wait for the store


class Worker:
    """Its life: it confirms the rules before it delivers or takes mail, and says goodbye last."""

    def __init__(self, child: Child, parts: WorkerParts) -> None:
        self._child = child
        self._guard = parts.guard
        self._reaper = parts.reaper
        self._inbound = parts.inbound
        self._outbound = parts.outbound
        self._signing = parts.signing
        self._brakes = parts.brakes
        self._suppressions = parts.suppressions.watch
        self._store = parts.store

    async def run(self) -> None:
        essential = self._child.essential
        watchers = [essential(asyncio.create_task(self._reaper.run(), name="reaper"))]
        essential(self._guard.start())
        essential(self._store.listen())
        await self._child.unless_stopped(self._guard.ready())
        watchers.append(essential(asyncio.create_task(self._suppressions.run(), name="suppressions")))
        await self._child.unless_stopped(self._suppressions.ready())
        if self._brakes is not None:
            watchers.append(essential(asyncio.create_task(self._brakes.watch.run(), name="brakes")))
            watchers.append(essential(asyncio.create_task(self._brakes.puller.run(), name="brake puller")))
        if self._outbound is not None:
            watchers.append(essential(asyncio.create_task(self._outbound.follow_pools(), name="served pools")))
            watchers.append(essential(asyncio.create_task(self._outbound.follow_replies(), name="replies")))
            watchers.append(essential(asyncio.create_task(self._outbound.follow_limits(), name="limit orders")))
            watchers.append(essential(asyncio.create_task(self._outbound.watch(), name="settler")))
            await self._child.unless_stopped(self._outbound.limits_known())
            await self._child.unless_stopped(self._outbound.pools_known())
            for task in self._outbound.start():
                essential(task)
        if self._signing is not None:
            ring = self._signing.ring
            watchers.append(essential(asyncio.create_task(ring.run(), name="DKIM keys")))
            await self._child.unless_stopped(ring.ready())  # else mail would leave unsigned
        if self._inbound is not None:
            watchers.append(essential(asyncio.create_task(self._inbound.watch_store(), name="store watch")))
            self._inbound.start()
        self._child.ready()
        await self._child.stopping.wait()
        await self._drain()
        if self._signing is not None:
            self._signing.beside.close()
        await cancel_all(watchers)

    def why_it_waits(self) -> str:
        """For SMTP clients, before the first confirmation."""
        unreadable = "a rule in the store cannot be read by this node"
        return unreadable if self._guard.unreadable else "this process has not confirmed the rules yet"

    async def _drain(self) -> None:
        seconds = self._child.settings.node.drain_timeout
        parts = [part.drain(seconds) for part in (self._inbound, self._outbound) if part is not None]
        goodbye = False
        try:
            async with asyncio.timeout(seconds + _LAST_WRITES):
                await asyncio.gather(*parts)
                await self._store.farewell()
                goodbye = True
        except (TimeoutError, StoreError) as error:
            # Nothing is lost: the store makes claimed deliveries due again when the session is given up.
            log.error("not everything could be settled and given back: %s", error or "the store does not answer")
        await self._guard.stop(goodbye)


async def main(child: Child) -> None:
    slot = child.boot.load_slot
    waiting = TurnAway(child.listeners(), WorkerLoads.alone() if slot is None else WorkerLoads.at(slot))
    waiting.start()
    try:
        parts = await open_worker(child, waiting)
        try:
            worker = Worker(child, parts)
            waiting.because(worker.why_it_waits)
            await worker.run()
        finally:
            await parts.store.close()
    finally:
        waiting.stop()
