"""Slots: the shares in the limits of a site that a connection holds from before it is opened until it is closed."""

from typing import Final

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

    __slots__ = ("path", "share", "source", "warms")

    def __init__(self, path: SendingPath, source: Source | None, share: ConnectionShare | None) -> None:
        """`source`: chosen with the slot, because a limit of its IP holds; None: the connector chooses. `share` None:
        nothing was taken."""
        self.path = path
        self.source = source
        self.share = share
        self.warms = False  # its IP is warming up: each message is counted

    @property
    def held(self) -> bool:
        return self.share is not None

    @property
    def is_counted(self) -> bool:
        """Whether a limit of connections holds for it."""
        return self.share is not None and bool(self.share.scopes)


class Slots:
    """Takes the slots of all connections of a worker, and chooses the sending IP where its limits decide."""

    def __init__(self, limits: Limits, shaping: Shaping, ips: SendingIps, warm_ups: WarmUps | None = None) -> None:
        self._limits = limits
        self._warm_ups = warm_ups
        self._shaping = shaping
        self._ips = ips

    async def take(self, queue: QueueKey, site: str, version: int = 0) -> Slot | float:
        """A slot for a connection from an IPv`version` address (0: any), or the seconds to wait before asking again.
        Raises StoreError."""
        plan = self._shaping.plan(queue, site)
        warming = self.are_counted(queue.pool)
        if not plan.limits_ips and not warming:
            path = SendingPath(site, queue.domain, pool_of(queue.pool))
            taken = await self._limits.take_connection(path)
            return Slot(path, None, taken) if isinstance(taken, ConnectionShare) else taken
        sources = self._ips.candidates(queue.pool, version)
        if not sources:
            return Slot(SendingPath(site, queue.domain, pool_of(queue.pool)), None, None)  # the connector tells why
        waits: list[float] = []
        for source in sources:
            if self._warm_ups is not None and warming and (wait := await self._warm_ups.admits(site, source.ip)) > 0:
                waits.append(wait)
                continue
            path = SendingPath(site, queue.domain, pool_of(queue.pool), source.ip)
            taken = await self._limits.take_connection(path)
            if isinstance(taken, ConnectionShare):
                slot = Slot(path, source, taken)
                slot.warms = self._warm_ups is not None and self._warm_ups.is_warming(source.ip)
                return slot
            waits.append(taken)
        return min(waits)

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
        return 0.0

    def are_counted(self, pool: str) -> bool:
        """Whether an IP of the pool may be warming up, so that mail needs a slot before it is claimed."""
        return self._warm_ups is not None and self._warm_ups.concerns(pool_of(pool))

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


def _fits(source: Source | None, version: int) -> bool:
    return source is None or not source.ip or (6 if ":" in source.ip else 4) == version
