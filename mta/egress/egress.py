"""Egress: the outlets of a worker, one for each queue, as scheduling and the rules service see them."""

import asyncio
import functools
import heapq
import logging
from collections.abc import Mapping, Sequence

from mta.egress.connect import Connecting, Connector
from mta.egress.connection_budget import ConnectionBudget
from mta.egress.egress_ports import EgressPorts
from mta.egress.host_tls import HostTls
from mta.egress.known_hosts import KnownHosts
from mta.egress.last_look import LastLook
from mta.egress.login import Login
from mta.egress.outlet import Outlet
from mta.egress.outlet_parts import OutletParts
from mta.egress.path_room import PathRoom
from mta.egress.permit_counts import PermitCounts
from mta.egress.second_look import SecondLook
from mta.egress.sending_ips import SendingIps
from mta.egress.shared_connections import SharedConnections
from mta.egress.shutdown import Shutdown
from mta.egress.slots import Slots
from mta.egress.transaction_end import TransactionEnd
from mta.model import process_metrics as told
from mta.model.cancel_orders import CancelOrders
from mta.model.connection_waits import told_waits
from mta.model.limit_orders import NODE
from mta.model.mail import Claimed, QueueKey
from mta.model.outcomes import ReturnReason
from mta.model.paths import SendingPath, fixed, pool_of
from mta.model.pools import PoolSettings
from mta.model.rules import PastDot
from mta.model.settings import Settings
from mta.policy.limit_orders import Scope
from mta.policy.rule_table import RuleTable
from mta.policy.shaping import Shaping

_LONGEST_TICK = 1.0
_SHORTEST_TICK = 0.02
_TRY_FREE = 4  # outlets that ask for a slot at once when one was given back
_MOST_EMPTY = 128  # outlets that wait for more mail once their connections went to others: few enough for the caches

_log = logging.getLogger(__name__)


class Egress:
    """Implements `ports.Deliver`. Made inside the running loop; registers its hooks with `rules`."""

    def __init__(
        self,
        settings: Settings,
        shaping: Shaping,
        ports: EgressPorts,
        logins: Mapping[str, Login] | None = None,
        known: KnownHosts | None = None,
    ) -> None:
        """`logins`: by relay; `known` is shared by the workers of a node, None: this one has its own."""
        rules, delivery = ports.rules, settings.delivery
        self._loop, self._shaping, self._node = asyncio.get_running_loop(), shaping, settings.node.name
        self._budget = ConnectionBudget(delivery.connections, ports.capacity.room_for_new)
        known = KnownHosts.alone() if known is None else known
        self._dead = known.dead
        self._permits, self._shutdown = PermitCounts(), Shutdown()
        self._second_look = SecondLook(rules, ports.settle, self._loop)
        end = TransactionEnd(ports.settle, self._loop, ports.replies)
        self._ips = ips = SendingIps(settings)
        paths = PathRoom(known.open_paths)
        self._slots = slots = Slots(ports.limits, shaping, ips, paths, ports.warm_ups)
        self._sites, self._capacity = ports.sites, ports.capacity
        self._unknown: dict[str, set[QueueKey]] = {}  # queues that wait until the site of their domain is known
        self._tls = HostTls(settings, ports.resolver, ports.sts, ports.tls_results, self._loop)
        self._connector = connector = Connector(
            settings, ports.resolver, shaping, ports.sites, slots, ips, self._budget, self._loop, self._tls,
            logins or {}, self._dead, paths,
        )  # fmt: skip
        self._parts = OutletParts(
            ports,
            delivery,
            Connecting(self._connector, self._budget, slots, ports.sites, self._shutdown, self._loop),
            end,
            self._permits,
            LastLook(rules, end, self._permits, self._second_look, delivery.dot_hold),
            SharedConnections(connector.shared_targets),
            self._emptied,
        )
        self._outlets: dict[QueueKey, Outlet] = {}
        self._empty: dict[QueueKey, None] = {}  # queues whose outlets may be empty, those that were so first
        self._leaving: list[Outlet] = []  # of plans that hold no more; they end what has begun
        self._tick_every = _tick(settings)
        self._timer = self._loop.call_later(self._tick_every, self._tick)
        self._closed = False
        self._table = RuleTable.empty()  # that `on_change` saw last
        rules.on_change(self.on_change)
        rules.on_cancel(self.on_cancel)
        rules.on_permit(self._on_permit)
        rules.on_lost(self.discard_all)
        ports.sites.on_known(self._on_known)
        ports.limits.on_slots(self._on_slots)

    def room(self, queue: QueueKey) -> int:
        outlet, site = self._outlets.get(queue), None
        if outlet is None and (site := self._sites.of(queue.domain)) is None:
            self._unknown.setdefault(queue.domain, set()).add(queue)
            return 0
        if (outlet is None or not outlet.connections) and self._budget.line_is_full():
            return 0  # and no outlet is made for each of many queues that are only asked about
        return (outlet or self._made(queue, site or queue.domain)).room()

    def headroom(self, queue: QueueKey, share: str) -> int:
        outlet = self._outlets.get(queue)
        return 0 if outlet is None else outlet.headroom(share)

    def can_start(self, queue: QueueKey) -> bool:
        outlet = self._outlets.get(queue)
        return self._budget.free > 0 if outlet is None else outlet.can_start()

    def deliver(self, deliveries: Sequence[Claimed]) -> None:
        if not deliveries:
            return
        queue = deliveries[0].queue
        wished: dict[str, list[Claimed]] = {}
        for claimed in deliveries:
            wish = claimed.record.wish
            if wish is not None and (ip := self._ips.wished(queue.pool, wish)):
                wished.setdefault(ip, []).append(claimed)
        if wished:
            gone = {claimed.id for some in wished.values() for claimed in some}
            deliveries = [claimed for claimed in deliveries if claimed.id not in gone]
        self._deliver(queue, deliveries)
        for ip, some in wished.items():
            self._deliver(QueueKey(fixed(queue.pool, ip), queue.domain), some)

    def retry_now(self, queue: QueueKey) -> None:
        """Its mail was ordered to be attempted now: no failure to connect is remembered."""
        self._dead.forget_all()
        for pool in (queue.pool, *(fixed(queue.pool, ip) for ip in self._ips.of(queue.pool))):
            outlet = self._outlets.get(QueueKey(pool, queue.domain))
            if outlet is not None:
                outlet.retry_now()

    def _deliver(self, queue: QueueKey, deliveries: Sequence[Claimed]) -> None:
        """By the outlet of that queue. The pool in its name may be one with a fixed IP; deliveries keep their own."""
        if deliveries:
            outlet = self._outlet(queue)
            outlet.deliver(deliveries)
            if self._shutdown.begun:
                outlet.return_waiting(ReturnReason.STOPPING)
            elif not self._ips.serves(queue.pool):
                outlet.return_waiting(ReturnReason.NOT_SERVED)

    def take_pools(self, pools: Mapping[str, PoolSettings]) -> None:
        """Send from these pools from now on. Connections of a pool that has changed end after their transaction, and
        mail that waits here for a pool that is gone goes back."""
        changed = self._ips.take(pools)
        for queue, outlet in list(self._outlets.items()):
            if pool_of(queue.pool) in changed:
                if not self._ips.serves(queue.pool):
                    outlet.return_waiting(ReturnReason.NOT_SERVED)
                outlet.retire(lambda path: True)

    def on_change(self, table: RuleTable) -> list[PastDot]:
        """The rule table was swapped: each transaction that matches ends now, or is listed as past its dot. For a rule
        that lets transactions finish, those that have begun are listed, too."""
        past: list[PastDot] = []
        if not table.is_empty:
            fresh = table.fresh_since(self._table)
            for outlet in self._all():
                past += outlet.on_change(table, fresh)
        self._table = table
        return past

    def on_cancel(self, orders: CancelOrders) -> None:
        """Canceled deliveries that have not handed over their dot end now."""
        for outlet in self._all():
            outlet.on_cancel(orders)

    def discard_all(self) -> None:
        """The store gave this process's claims to others. A transaction after its final dot is still settled, late."""
        for outlet in self._all():
            outlet.discard_unsent()

    async def drain(self, grace: float) -> None:
        """Take nothing more, return the transactions that have not begun, let the others end. After `grace` seconds
        return those that have not handed over their dot, and close the rest as uncertain."""
        loop, until = self._loop, self._shutdown.until
        self._shutdown.begun = True
        for outlet in self._all():
            outlet.return_waiting(ReturnReason.STOPPING)
        end = loop.time() + grace
        await until(lambda: not any(outlet.connections.busy for outlet in self._all()), end)
        for outlet in self._all():
            outlet.return_unsent(ReturnReason.STOPPING)
        await until(lambda: not self._budget.busy, min(end, loop.time() + 1.0))
        for outlet in self._all():
            outlet.close_now()
        await until(lambda: not self._budget.busy, loop.time() + 1.0)

    async def close(self) -> None:
        """Stop at once: return the transactions that have not handed over their dot, close the others as uncertain."""
        await self.drain(0.0)
        self._closed = True
        self._timer.cancel()
        await self._tls.close()

    def connections(self) -> list[str]:
        """One line for each connection, for people."""
        return [repr(connection) for outlet in self._all() for connection in outlet.connections.all]

    @property
    def open_connections(self) -> int:
        return self._budget.open

    def connections_on(self, site: str, ip: str) -> int:
        """The number of connections that are open to the site from this IP, which is that of a `LimitOrder`."""
        scope = ip if ip.startswith(NODE) else f"ip:{ip}"
        return sum(
            connection.slot.path.site == site
            and self._ips.scope_of(connection.slot.path.pool, connection.peer.mta) == scope
            for outlet in self._all()
            for connection in outlet.connections.all
        )

    def metrics(self) -> dict[str, int]:
        """Counters since the start of the process, the connections that are open now, and the queues of which
        deliveries wait for one."""
        return {
            **told_waits((queue, outlet.waiting) for queue, outlet in self._outlets.items()),
            told.CONNECTIONS_OUT.key: self._budget.open,
            **self._permits.metrics(),
            told.ESCAPED.key: self._second_look.escaped,
        }

    def __repr__(self) -> str:
        return f"<Egress outlets={len(self._outlets)} connections={self._budget.open}>"

    def _outlet(self, queue: QueueKey) -> Outlet:
        return self._outlets.get(queue) or self._made(queue, self._sites.of(queue.domain) or queue.domain)

    def _made(self, queue: QueueKey, site: str) -> Outlet:
        outlet = self._outlets[queue] = Outlet(queue, site, self._shaping.plan(queue, site), self._parts)
        _log.debug("%r is made", outlet)
        return outlet

    def _emptied(self, queue: QueueKey) -> None:
        """The last connection of the queue's outlet went to another one."""
        empty = self._empty
        empty[queue] = None
        if len(empty) == _MOST_EMPTY:  # an outlet on the stack must not be dropped
            self._loop.call_soon(self._drop_empty)

    def _drop_empty(self) -> None:
        """Drop the outlets that were emptied first, so that half as many are left."""
        empty = self._empty
        for queue in list(empty)[: len(empty) - _MOST_EMPTY // 2]:
            del empty[queue]
            outlet = self._outlets.get(queue)
            if outlet is not None and outlet.empty:
                self._drop(queue, outlet)

    def _drop(self, queue: QueueKey, outlet: Outlet) -> None:
        _log.debug("%r is dropped", outlet)
        outlet.dropped()
        del self._outlets[queue]

    def _on_known(self, domains: Sequence[str]) -> None:
        for domain in domains:
            for queue in self._unknown.pop(domain, ()):
                self._capacity.room_for(queue, functools.partial(self.room, queue))

    def limits_changed(self, tighter: Sequence[Scope]) -> None:
        """The shaping goes by other limit orders. Connections of scopes whose limits are tighter end after their
        transaction, and those that are being opened carry no mail. Queues whose mail asks for other shares than before
        get a new outlet."""

        def is_meant(path: SendingPath) -> bool:
            return any(scope.has(path, self._node) for scope in tighter)

        if tighter:
            self._slots.tightened(is_meant)
        for queue, outlet in list(self._outlets.items()):
            plan = self._shaping.plan(queue, outlet.site)
            if plan.asks_like(outlet.plan):
                outlet.take_plan(plan)
                if tighter:
                    outlet.retire(is_meant)
            else:
                outlet.return_waiting(ReturnReason.LIMITS)
                outlet.retire(lambda path: True)
                self._leaving.append(self._outlets.pop(queue))

    def _all(self) -> list[Outlet]:
        return [*self._outlets.values(), *self._leaving]

    def _on_slots(self, site: str, free: bool) -> None:
        tried = 0
        for outlet in list(self._outlets.values()):
            if outlet.site == site:
                if not free:
                    outlet.yield_slots()
                elif tried < _TRY_FREE:
                    tried += outlet.slot_is_free()

    def _on_permit(self) -> None:
        for outlet in self._all():
            outlet.on_permit()

    def _tick(self) -> None:
        if self._closed:
            return
        now = self._loop.time()
        self._timer = self._loop.call_later(self._tick_every, self._tick)
        self._budget.tick(now)
        self._share(now)
        for queue, outlet in list(self._outlets.items()):
            if not outlet.empty:
                outlet.tick(now)
            if outlet.empty:
                self._drop(queue, outlet)
        for outlet in list(self._leaving):
            outlet.return_waiting(ReturnReason.LIMITS)  # a transaction may have come back
            outlet.tick(now)
            if outlet.empty:
                self._leaving.remove(outlet)
        self._connector.tick(now)

    def _share(self, now: float) -> None:
        """When all places are taken, close connections of the destinations that have most, for destinations that have
        none. Connections with a silent peer are closed first, and never one that has handed over its dot."""
        budget = self._budget
        if budget.free or not budget.waiting_destinations:
            return
        outlets = self._all()
        standings = [outlet.connections.standing(now) for outlet in outlets]
        wanted = budget.waiting_destinations - sum(leaving for _, leaving in standings)
        for outlet in outlets:
            if wanted <= 0:
                return
            wanted -= outlet.end_silent(now, wanted)
        rich = [(-able, at) for at, (able, _) in enumerate(standings) if able]
        heapq.heapify(rich)
        for _ in range(wanted):
            if not rich:
                return
            able, at = rich[0]
            outlets[at].connections.close_one(now)
            if able < -1:
                heapq.heapreplace(rich, (able + 1, at))
            else:
                heapq.heappop(rich)


def _tick(settings: Settings) -> float:
    """A quarter of the shortest timeout, within reason: deadlines are met that late at most."""
    delivery = settings.delivery
    shortest = min(
        delivery.idle_timeout,
        delivery.command_timeout,
        delivery.data_timeout,
        delivery.dot_timeout,
        delivery.dot_hold,
    )
    return min(_LONGEST_TICK, max(_SHORTEST_TICK, shortest / 4))
