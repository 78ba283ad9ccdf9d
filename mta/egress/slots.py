"""Slots: the shares in the limits of a site that a connection holds from before it is opened until it is closed."""

from collections.abc import Callable
from typing import Final
from weakref import WeakSet

from mta.egress.path_room import PathRoom, PathShare
from mta.egress.sending_ips import SendingIps, Source
from mta.model.errors import StoreError
from mta.model.mail import QueueKey
from mta.model.paths import SendingPath, pool_of
from mta.policy.shaping import Shaping
from mta.ports.delivery import ConnectionShare, Limits, WarmUps

STORE_AWAY_WAIT: Final = 1.0  # seconds until the limits are asked again after the store gave no answer
_LEAST_WAIT: Final = 0.01  # seconds


class Slot:
    """The share of one connection. It is given back once."""

    __slots__ = ("__weakref__", "outdated", "path", "path_share", "share", "source", "warms")

    def __init__(self, path: SendingPath, source: Source | None) -> None:
        """`source`: chosen with the slot, because a limit of its IP holds; None: the connector chooses."""
        self.path = path
        self.source = source
        self.share: ConnectionShare | None = None  # None: nothing was taken
        self.outdated = False  # the limits became tighter after it was asked for: its connection carries no mail
        self.warms = False  # its IP is warming up: each message is counted
        self.path_share: PathShare | None = None  # of what its path accepts; it has one from its first host on

    @property
    def held(self) -> bool:
        return self.share is not None

    @property
    def is_counted(self) -> bool:
        """Whether a limit of connections holds for it."""
        return self.share is not None and bool(self.share.scopes)


class Slots:
    """Takes the slots of all connections of a worker, and chooses the sending IP where its limits decide."""

    def __init__(
        self, limits: Limits, shaping: Shaping, ips: SendingIps, paths: PathRoom, warm_ups: WarmUps | None = None
    ) -> None:
        self._limits = limits
        self._paths = paths
        self._warm_ups = warm_ups
        self._shaping = shaping
        self._ips = ips
        self._all = WeakSet[Slot]()

    async def take(self, queue: QueueKey, site: str, version: int = 0) -> Slot | float:
        """A slot for a connection from an IPv`version` address (0: any), or the seconds to wait before asking again.
        Raises StoreError."""
        plan = self._shaping.plan(queue, site)
        warming = self.are_counted(queue.pool)
        narrow = self._paths.is_narrow(site)
        if not plan.limits_ips and not warming and not narrow:
            slot = self._new(SendingPath(site, queue.domain, pool_of(queue.pool)))
            taken = await self._limits.take_connection(slot.path)
            if not isinstance(taken, ConnectionShare):
                return taken
            slot.share = taken
            return slot
        sources = self._ips.candidates(queue.pool, version)
        if not sources:
            return self._new(SendingPath(site, queue.domain, pool_of(queue.pool)))  # the connector tells why
        waits: list[float] = []
        for source in sources:
            if self._warm_ups is not None and warming and (wait := await self._warm_ups.admits(site, source.ip)) > 0:
                waits.append(wait)
                continue
            room = self._paths.take(site, source.ip)
            if not isinstance(room, PathShare):
                waits.append(room)
                continue
            slot = self._new(SendingPath(site, queue.domain, pool_of(queue.pool), source.ip), source)
            slot.path_share = room
            if (wait := await self._fill(slot)) > 0:
                waits.append(wait)
                continue
            slot.warms = self._warm_ups is not None and self._warm_ups.is_warming(source.ip)
            return slot
        return min(waits)

    def _new(self, path: SendingPath, source: Source | None = None) -> Slot:
        """A slot that holds nothing yet. The limits may become tighter from now on."""
        slot = Slot(path, source)
        self._all.add(slot)
        return slot

    def tightened(self, is_meant: Callable[[SendingPath], bool]) -> None:
        """The limits of such paths are tighter now: connections that are being opened there carry no mail."""
        for slot in self._all:
            if is_meant(slot.path):
                slot.outdated = True

    async def _fill(self, slot: Slot) -> float:
        """Take the slot's share of the limits. Returns 0, or the seconds to wait; then it has no share of its path
        either."""
        try:
            taken = await self._limits.take_connection(slot.path)
            if isinstance(taken, ConnectionShare):
                slot.share = taken
                return 0.0
            return max(taken, _LEAST_WAIT)
        finally:
            if slot.share is None:
                self.give(slot)

    async def move(self, slot: Slot, queue: QueueKey, site: str, ip: str) -> float:
        """Make the slot one for a connection to `ip`, a host of that site. Returns 0, or the seconds to wait before
        asking again: the limits allow no connection now, or cannot be asked, and the slot is given back."""
        version = 6 if ":" in ip else 4
        if slot.held and slot.path.site == site and _fits(slot.source, version):
            return 0.0
        self.give(slot)
        try:
            taken = await self.take(queue, site, version)
        except StoreError:
            return STORE_AWAY_WAIT
        if not isinstance(taken, Slot):
            return max(taken, _LEAST_WAIT)
        slot.path, slot.source, slot.share, slot.warms = taken.path, taken.source, taken.share, taken.warms
        slot.path_share, slot.outdated = taken.path_share, taken.outdated
        return 0.0

    def enter_path(self, slot: Slot, site: str, ip: str) -> PathShare | float:
        """Make the slot one of the path from this IP to the site: its share, or the seconds to wait before asking
        again."""
        if slot.path_share is not None:
            if slot.path_share.path == (site, ip):
                return slot.path_share
            self._paths.give(slot.path_share)
            slot.path_share = None
        taken = self._paths.take(site, ip)
        if isinstance(taken, PathShare):
            slot.path_share = taken
        return taken

    def are_counted(self, pool: str) -> bool:
        """Whether an IP of the pool may be warming up, so that mail needs a slot before it is claimed."""
        return self._warm_ups is not None and self._warm_ups.concerns(pool_of(pool))

    def is_narrow(self, site: str) -> bool:
        """Whether the site has refused connections beside others, so that mail needs a slot before it is claimed."""
        return self._paths.is_narrow(site)

    def may_use(self, pool: str, ip: str) -> bool:
        """Whether a connection from this IP, which may have been begun a while ago, may carry mail of the pool."""
        return self._ips.may_use(pool, ip)

    def ip_scope(self, pool: str, ip: str) -> str:
        """The scope of the limits of a sending IP of the pool."""
        return self._ips.scope_of(pool, ip)

    def is_wanted(self, slot: Slot) -> bool:
        """Whether mail of others waits for a slot of its site."""
        return slot.held and self._limits.is_wanted(slot.path.site)

    def give(self, slot: Slot) -> None:
        """The connection is closed, or was never made."""
        share, slot.share = slot.share, None
        if share is not None:
            self._limits.give_connection(share)
        if slot.path_share is not None:
            self._paths.give(slot.path_share)
            slot.path_share = None


def _fits(source: Source | None, version: int) -> bool:
    return source is None or not source.ip or (6 if ":" in source.ip else 4) == version
