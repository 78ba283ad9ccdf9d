"""Slots: the shares in the limits of a site that a connection holds from before it is opened until it is closed."""

import ipaddress

from mta.egress.sending_ips import SendingIps, Source
from mta.model.errors import StoreError
from mta.model.mail import QueueKey
from mta.model.paths import SendingPath, pool_of
from mta.policy.shaping import Shaping
from mta.ports.delivery import Limits


class Slot:
    """The share of one connection. It is given back once."""

    __slots__ = ("held", "path", "source")

    def __init__(self, path: SendingPath, source: Source | None, *, held: bool = True) -> None:
        """`source`: chosen with the slot, because a limit of its IP holds; None: the connector chooses."""
        self.path = path
        self.source = source
        self.held = held


class Slots:
    """Takes the slots of all connections of a worker, and chooses the sending IP where its limits decide."""

    def __init__(self, limits: Limits, shaping: Shaping, ips: SendingIps) -> None:
        self._limits = limits
        self._shaping = shaping
        self._ips = ips

    async def take(self, queue: QueueKey, site: str, version: int = 0) -> Slot | float:
        """A slot for a connection from an IPv`version` address (0: any), or the seconds to wait before asking again.
        Raises StoreError."""
        plan = self._shaping.plan(queue, site)
        if not plan.limits_ips:
            path = SendingPath(site, queue.domain, pool_of(queue.pool))
            wait = await self._limits.take_connection(path)
            return wait if wait > 0 else Slot(path, None)
        sources = self._ips.candidates(queue.pool, version)
        if not sources:
            return Slot(
                SendingPath(site, queue.domain, pool_of(queue.pool)), None, held=False
            )  # the connector tells why
        waits = []
        for source in sources:
            path = SendingPath(site, queue.domain, pool_of(queue.pool), source.ip)
            wait = await self._limits.take_connection(path)
            if wait <= 0:
                return Slot(path, source)
            waits.append(wait)
        return min(waits)

    async def move(self, slot: Slot, queue: QueueKey, site: str, ip: str) -> bool:
        """Make the slot one for a connection to `ip`, a host of that site. False: its limits allow none now, or cannot
        be asked, and the slot is given back."""
        version = 6 if ":" in ip else 4
        if slot.held and slot.path.site == site and _fits(slot.source, version):
            return True
        self.give(slot)
        try:
            taken = await self.take(queue, site, version)
        except StoreError:
            return False
        if not isinstance(taken, Slot):
            return False
        slot.path, slot.source, slot.held = taken.path, taken.source, True
        return True

    def is_wanted(self, slot: Slot) -> bool:
        """Whether mail of others waits for a slot of its site."""
        return slot.held and self._limits.is_wanted(slot.path.site)

    def give(self, slot: Slot) -> None:
        """The connection is closed, or was never made."""
        if slot.held:
            slot.held = False
            self._limits.give_connection(slot.path)


def _fits(source: Source | None, version: int) -> bool:
    return source is None or not source.ip or ipaddress.ip_address(source.ip).version == version
