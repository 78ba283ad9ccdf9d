"""A worker process: it takes mail in, delivers it, or both."""

import asyncio
import logging
from collections.abc import Mapping

from mta.admission.at_acceptance import AcceptanceRules
from mta.admission.group_commit import STORE_FULL, GroupCommit
from mta.admission.submission import TrustedSubmissions
from mta.dns.resolver import DnsResolver
from mta.egress.egress import Egress
from mta.egress.egress_ports import EgressPorts
from mta.ingress.listener import Listener
from mta.ingress.turn_away import TurnAway
from mta.ingress.worker_loads import WorkerLoads
from mta.model import process_metrics as told
from mta.model.errors import StoreError, reason_of
from mta.policy.served_pools import SERVES
from mta.policy.shaping import Shaping
from mta.ports.admission import ClaimOnAccept
from mta.redis_store import keys
from mta.rules.guard import Guard
from mta.runtime.child import Child, run
from mta.runtime.room import Room
from mta.runtime.served_pools import ServedPools, held
from mta.runtime.store_probe import StoreProbe
from mta.runtime.wiring import Store, open_store
from mta.scheduling.claim_lanes import ClaimLanes
from mta.scheduling.dispatcher import Dispatcher
from mta.scheduling.limits import SharedLimits
from mta.scheduling.queue_room import QueueRoom
from mta.scheduling.reaper import Reaper
from mta.scheduling.settler import Settler

log = logging.getLogger(__name__)

_HEALTH_EVERY = 1.0  # seconds
_PATIENCE = 2.0  # seconds until a store that does not answer is taken to be away
_LAST_WRITES = 2.0  # seconds after the drain timeout for outcomes that wait for the store


class Inbound:
    """The way in of this process."""

    def __init__(
        self, child: Child, store: Store, guard: Guard, waiting: TurnAway, delivery: ClaimOnAccept | None
    ) -> None:
        """`delivery` is that of this process, if it delivers."""
        settings = child.settings
        self._probe = StoreProbe(store.link)
        rules = AcceptanceRules(guard, settings.node.name, settings.rules.undo_window)
        self._room = Room(settings)
        self.admission = GroupCommit(
            store.queues,
            settings.smtp.commit_delay,
            rules.decide,
            delivery=delivery,
            clients=lambda: self.listener.connections_open,
            has_room=self._room.takes,
        )
        submissions = TrustedSubmissions(settings, self.admission)
        self._waiting = waiting
        self._sockets = waiting.sockets
        self.listener = Listener(self._sockets, settings, submissions, self.admission, waiting.loads)

    def start(self) -> None:
        """Mail is taken from now on."""
        self._waiting.stop()
        self.listener.start()

    async def watch_store(self) -> None:
        """While the server could lose mail or takes none, or the disk is full, no mail is taken, and clients are told
        why; until cancelled."""
        while True:
            trouble = await self._probe.ask(_PATIENCE)
            if trouble is not None:
                log.debug("no mail is taken: %s (%s)", trouble.reason, trouble.detail)
                self.admission.refuse(trouble.reason)
            elif self._room.look() is not None:
                self.admission.refuse_with(STORE_FULL)
            else:
                self.admission.allow()
            await asyncio.sleep(_HEALTH_EVERY)

    async def drain(self, seconds: float) -> None:
        self.listener.stop_accepting()
        for sock in self._sockets:
            sock.close()
        try:
            async with asyncio.timeout(seconds):
                await self.listener.drain()
        except TimeoutError:
            log.warning("sessions that did not end in time are dropped: %r", self.listener)
            self.listener.abort()
        await self.admission.close()
        await self._probe.close()


class Outbound:
    """The way out of this process."""

    def __init__(self, child: Child, store: Store, guard: Guard) -> None:
        settings = held(child.settings)
        shaping = Shaping(settings)
        self._resolver = DnsResolver(settings.delivery.dns_servers)
        self._limits = SharedLimits(store.limits, shaping)
        self._lanes = ClaimLanes(store.queues.lanes)
        room = QueueRoom(self._lanes)
        self.settler = Settler(store.queues, guard, settings, shaping, self._lanes.wake)
        ports = EgressPorts(self._resolver, guard, self.settler, self._limits, store.content, room)
        self.egress = Egress(settings, shaping, ports)
        self.pools = ServedPools(settings, store.sweeps.pools)
        self.dispatcher = Dispatcher(store.queues, self.egress, guard, self.settler, self.pools, self._lanes, room)
        store.link.hear(keys.WAKE_CHANNEL, self._wake)
        store.link.on_reconnect(self.pools.look_soon)
        store.link.on_reconnect(self._lanes.wake_all)
        guard.on_lost(self._limits.renew)

    def _wake(self, prefix: bytes) -> None:
        self._lanes.wake(keys.lane_of_prefix(prefix))
        self.pools.look_soon()

    async def watch(self) -> None:
        """Until a defect shows: raises it. What it left claimed is due again when this process has ended."""
        await self.settler.broken.wait()
        assert self.settler.defect is not None
        raise self.settler.defect

    async def drain(self, seconds: float) -> None:
        """Deliveries in flight end, the rest goes back to its queues."""
        await self.dispatcher.drain()
        await self.egress.drain(seconds)
        await self.egress.close()
        await self.settler.drain()
        await self._limits.drain()
        await self._resolver.close()


class Worker:
    """One worker process."""

    def __init__(self, child: Child, store: Store, waiting: TurnAway) -> None:
        """`waiting` answers SMTP clients until this process takes mail."""
        settings = child.settings
        self._child = child
        self._store = store
        self._guard = Guard(
            store.rules, settings.node.name, metrics=self._metrics, protected=settings.rules.protected_tags
        )
        waiting.because(self._why_it_waits)
        self._outbound = Outbound(child, store, self._guard) if "delivery" in settings.node.roles else None
        delivery = self._outbound.dispatcher if self._outbound is not None else None
        smtp = "smtp" in settings.node.roles
        self._inbound = Inbound(child, store, self._guard, waiting, delivery) if smtp else None
        self._reaper = Reaper(store.rules, store.queues, store.limits, settings.delivery.lease)
        store.link.hear(keys.DEAD_CHANNEL, lambda session: self._reaper.look_now())

    async def run(self) -> None:
        essential = self._child.essential
        watchers = [essential(asyncio.create_task(self._reaper.run(), name="reaper"))]
        essential(self._guard.start())
        essential(self._store.link.listen())
        await self._child.unless_stopped(self._guard.ready())
        if self._outbound is not None:
            watchers.append(essential(asyncio.create_task(self._outbound.pools.follow(), name="served pools")))
            watchers.append(essential(asyncio.create_task(self._outbound.watch(), name="settler")))
            self._outbound.dispatcher.start()
            for task in self._outbound.dispatcher.tasks:
                essential(task)
        if self._inbound is not None:
            watchers.append(essential(asyncio.create_task(self._inbound.watch_store(), name="store watch")))
            self._inbound.start()
        self._child.ready()
        await self._child.stopping.wait()
        await self._drain()
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)

    def _why_it_waits(self) -> str:
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
                await self._store.queues.farewell()
                await self._store.limits.forget(self._store.session.id)
                goodbye = True
        except (TimeoutError, StoreError) as error:
            # Nothing is lost: what is not settled is claimed still, and due again when the session is given up.
            log.error("not everything could be settled and given back: %s", error or "the store does not answer")
        await self._guard.stop(goodbye)

    def _metrics(self) -> Mapping[str, float]:
        """The figures of `model.process_metrics`, told with each confirmation; and the pools that are served here."""
        found: dict[str, float] = {told.REAPED.key: self._reaper.reaped, told.RECLAIMED.key: self._reaper.reclaimed}
        if self._inbound is not None:
            admission = self._inbound.admission
            found[told.MESSAGES.of("accepted")] = admission.accepted
            found[told.MESSAGES.of("deferred")] = admission.deferred
            found[told.MESSAGES.of("rejected")] = admission.rejected
            found[told.MESSAGES.of("unanswered")] = admission.unanswered
            found[told.MESSAGES.of("refused")] = admission.refused
            found[told.ACCEPTED_DELIVERIES.key] = admission.accepted_recipients
            found[told.ACCEPTED_BYTES.key] = admission.accepted_bytes
            listener = self._inbound.listener
            found[told.CONNECTIONS_IN.key] = listener.connections_open
            found[told.CONNECTIONS_REFUSED.key] = listener.connections_refused
        if self._outbound is not None:
            settler = self._outbound.settler
            found[told.CLAIMED.key] = self._outbound.dispatcher.claimed
            found[told.STALE.key] = settler.stale
            found[told.REDECIDED.key] = settler.redecided
            found[told.RETRIED_CALLS.key] = settler.retried_calls
            found |= told.SETTLED.each(settler.outcomes)
            found |= settler.replies.metrics()
            found |= settler.returns.metrics()
            found |= self._outbound.egress.metrics()
            found |= dict.fromkeys((SERVES + pool for pool in self._outbound.pools()), 1)
        return found


async def main(child: Child) -> None:
    roles = tuple(role for role in ("smtp", "delivery") if role in child.settings.node.roles)
    slot = child.boot.load_slot
    waiting = TurnAway(child.listeners(), WorkerLoads.alone() if slot is None else WorkerLoads.at(slot))
    waiting.start()
    try:
        store = await open_store(
            child.settings,
            child.boot.redis_url,
            "worker",
            roles,
            child.stopping,
            lambda error: waiting.because(lambda: reason_of(error)),
        )
        try:
            await Worker(child, store, waiting).run()
        finally:
            await store.link.close()
    finally:
        waiting.stop()


if __name__ == "__main__":
    run(main)
