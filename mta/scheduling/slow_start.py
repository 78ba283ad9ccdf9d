"""Slow start of a worker: it halves the connections to a site from one IP after a rate reply, and opens them again.

Its limits are limit orders, so that they hold for all processes together. A process changes one by what it has seen
itself, at most once a second over all processes.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from mta.model.errors import BadValue, StoreError, severity
from mta.model.limit_orders import SLOW_START, LimitOrder, LimitOrders
from mta.model.mail import Claimed, QueueKey
from mta.model.outcomes import Origin, Outcome, Reply
from mta.model.paths import pool_of
from mta.model.pools import PoolSettings
from mta.policy.limit_orders import ip_of_order
from mta.policy.reactions import reply_text
from mta.policy.slow_start import ROUND_MS, changed_at, fallen, halved, is_full_round, is_rate_reply, opened
from mta.ports.delivery import Sites
from mta.ports.limits import LimitOrderStore
from mta.timing.alarm import Alarm
from mta.timing.clock import wall_ms

log = logging.getLogger(__name__)

_GATHER: Final = 0.05  # seconds
_LOOK: Final = ROUND_MS / 1000
_AGAIN_MS: Final = 60_000
_AWAY: Final = 1.0  # seconds before the store is asked again
_MOST_WAITING: Final = 1000  # paths; rate replies of further ones are left out


class _Path(NamedTuple):
    """The way of mail from one IP to a site; `ip` is that of a `LimitOrder`."""

    site: str
    ip: str


class _Met(NamedTuple):
    """A rate reply, and the connections that this process had open on the path."""

    open_connections: int
    words: str
    refused: bool  # it refused one more connection


class SlowStart:
    """It costs nothing while no path is narrow: deliveries are told (`delivered`) only while one is."""

    def __init__(
        self,
        sites: Sites,
        node: str,
        workers: int,
        pools: Mapping[str, PoolSettings],
        store: LimitOrderStore,
        clock: Callable[[], int] = wall_ms,
    ) -> None:
        """`workers`: processes of the node, which share the connections of its IPs evenly."""
        self._sites = sites
        self._node = node
        self._workers = workers
        self._pools = pools
        self._store = store
        self._clock = clock
        self._open_connections: Callable[[str, str], int] = lambda site, ip: 0
        self._listen: Callable[[bool], None] = lambda wanted: None
        self._narrow: dict[_Path, LimitOrder] = {}
        self._delivered: dict[_Path, int] = {}  # since the last change of the limit
        self._met: dict[_Path, _Met] = {}
        self._last: dict[_Path, int] = {}  # rate replies of this process that were told, Unix ms
        self._alarm = Alarm()

    def attach(self, open_connections: Callable[[str, str], int], listen: Callable[[bool], None]) -> None:
        """`open_connections` gives those of this process, by site and IP of a `LimitOrder`; `listen` hears whether
        `delivered` is to be called."""
        self._open_connections = open_connections
        self._listen = listen

    def take_pools(self, pools: Mapping[str, PoolSettings]) -> None:
        """These are in force from now on."""
        self._pools = pools

    def take_orders(self, orders: LimitOrders) -> None:
        """These limit orders are in force from now on."""
        now = self._clock()
        narrow = {
            _Path(order.site, order.ip): order
            for order in orders.values()
            if order.reaction == SLOW_START and order.until > now
        }
        self._delivered = {
            path: count for path, count in self._delivered.items() if self._narrow.get(path) == narrow.get(path)
        }
        if bool(narrow) != bool(self._narrow):
            self._listen(bool(narrow))
            self._alarm.ring()
        self._narrow = narrow

    def failed(self, claimed: Claimed, outcome: Outcome) -> None:
        """A delivery got a reply that is no success, or none."""
        if outcome.origin is Origin.REMOTE and is_rate_reply(outcome.reply, outcome.known):
            self._note(claimed.queue, outcome.reply, outcome.mx, outcome.mta, refused=False)

    def refused(self, queue: QueueKey, reply: Reply, host: str, ip: str) -> None:
        """A host refused one more connection, which no delivery waited for."""
        self._note(queue, reply, host, ip, refused=True)

    def delivered(self, claimed: Claimed, outcome: Outcome) -> None:
        """A destination took a delivery."""
        path = self._path(claimed.queue, outcome.mx, outcome.mta)
        if path in self._narrow:
            self._delivered[path] = self._delivered.get(path, 0) + 1

    def _path(self, queue: QueueKey, host: str, ip: str) -> _Path:
        site = self._sites.of_target(queue.domain, host) if host else self._sites.of(queue.domain) or queue.domain
        return _Path(site, ip_of_order(self._pools, pool_of(queue.pool), ip, self._node))

    def _note(self, queue: QueueKey, reply: Reply, host: str, ip: str, *, refused: bool) -> None:
        path = self._path(queue, host, ip)
        if path in self._met or len(self._met) >= _MOST_WAITING:
            return
        last, narrow = self._last.get(path, 0), self._narrow.get(path)
        if self._clock() - last < ROUND_MS and (narrow is None or changed_at(narrow) <= last):
            return  # of the same burst
        self._met[path] = _Met(self._open_connections(*path), reply_text(reply), refused)
        self._alarm.ring()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._alarm.sleep(_LOOK if self._narrow else 60.0)
            await asyncio.sleep(_GATHER)
            try:
                await self.tell()
            except StoreError as error:
                log.log(severity(error), "rate replies change the limits of their paths later: %s", error)
                await asyncio.sleep(_AWAY)
                self._alarm.ring()
            except BadValue as error:
                log.error("a rate reply changes no limit: %s", error)

    async def tell(self) -> None:
        """Halve and open paths by what has come. Raises StoreError; then that is done later."""
        for path, met in list(self._met.items()):
            await self._halve(path, met)
            del self._met[path]
        now = self._clock()
        for path, order in list(self._narrow.items()):
            delivered = self._delivered.get(path, 0)
            if delivered and is_full_round(order, delivered, self._open_connections(*path), self._workers, now):
                self._delivered[path] = 0
                await self._open(order, now)

    async def _halve(self, path: _Path, met: _Met) -> None:
        now = self._clock()
        if len(self._last) >= _MOST_WAITING:
            self._last.clear()
        before, self._last[path] = self._last.get(path, 0), now
        if met.open_connections < 2 and path not in self._narrow and now - before > _AGAIN_MS:
            return  # a single connection; other processes may have none
        there = met.open_connections * self._workers
        asked = LimitOrder(site=path.site, ip=path.ip, reaction=SLOW_START)

        def edit(was: LimitOrder | None) -> LimitOrder | None:
            return (fallen if met.refused else halved)(path.site, path.ip, there, met.words, now, was)

        order = await self._store.edit(asked.id, edit)
        if order is not None:
            log.info("at most %d connections to %s (%s): %s", order.connections, *path, order.reason)

    async def _open(self, seen: LimitOrder, now: int) -> None:
        """One process of those that have seen the same limit opens it."""
        if opened(seen, now) is None:
            await self._store.remove(seen)
        else:
            await self._store.edit(seen.id, lambda was: opened(seen, now) if was == seen else None)
