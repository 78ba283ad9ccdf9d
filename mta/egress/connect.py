"""The connector: tries the addresses of a destination until a connection is ready for MAIL."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from mta.egress.connection_budget import Attempt, ConnectionBudget
from mta.egress.dead_hosts import DeadHosts
from mta.egress.dial import Dialer, ReadyConnection
from mta.egress.sending_ips import SendingIps
from mta.egress.shutdown import Shutdown
from mta.egress.slots import Slot, Slots
from mta.egress.targets import Target, find_targets
from mta.model.mail import QueueKey
from mta.model.outcomes import Verdict
from mta.model.phases import Phase
from mta.model.settings import Settings
from mta.policy.failures import Trouble, after_all_hosts, unroutable
from mta.policy.shaping import Shaping
from mta.ports.delivery import Resolver, Sites

Greeted = Callable[[], Awaitable[None]]


class Connected(NamedTuple):
    """A new connection, and the addresses of the next hosts in the order to try them."""

    peer: ReadyConnection
    slot: Slot
    next_targets: tuple[Target, ...]


class Connector:
    """Connects for all outlets of a worker. It skips an address for a while after a failure to connect to it."""

    def __init__(
        self,
        settings: Settings,
        resolver: Resolver,
        shaping: Shaping,
        sites: Sites,
        slots: Slots,
        ips: SendingIps,
        budget: ConnectionBudget,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._delivery = settings.delivery
        self._listeners = settings.smtp.listen
        self._resolver = resolver
        self._shaping = shaping
        self._sites = sites
        self._slots = slots
        self._budget = budget
        self._loop = loop
        self._dialer = Dialer(settings.delivery)
        self._ips = ips
        self._dead = DeadHosts()

    async def connect(self, queue: QueueKey, slot: Slot, attempt: Attempt, greeted: Greeted) -> Connected | Trouble:
        """Connect to the first host of the queue's domain that is ready for MAIL. Returns the trouble if none is.
        `slot` becomes that of the host's site."""
        targets = await find_targets(queue.domain, self._delivery, self._listeners, self._resolver)
        if isinstance(targets, Trouble):
            return targets
        return await self.connect_first(queue, targets, slot, attempt, greeted)

    async def connect_first(
        self, queue: QueueKey, targets: Sequence[Target], slot: Slot, attempt: Attempt, greeted: Greeted
    ) -> Connected | Trouble:
        """Connect to the first of `targets` that is ready for MAIL. Returns the trouble if none is. `slot` becomes that
        of the host's site."""
        troubles: list[Trouble] = []
        for number, target in enumerate(targets):
            known = self._dead.trouble_of(target, self._loop.time())
            if known is not None:
                troubles.append(known)
                continue
            if not await self._slots.move(slot, queue, self._sites.of_target(queue.domain, target.host), target.ip):
                words = f"the limits of {self._sites.of_target(queue.domain, target.host)} allow no connection now"
                troubles.append(unroutable(words, "4.4.5", temporary=True)._replace(host=target.host, ip=target.ip))
                continue
            source = slot.source or self._ips.pick(queue.pool, 6 if ":" in target.ip else 4)
            if source is None:
                words = f"the pool {queue.pool} has no address to reach {target.ip} from"
                troubles.append(unroutable(words, "4.4.1", temporary=True)._replace(host=target.host, ip=target.ip))
                continue
            attempt.host, attempt.ip = target.host, target.ip
            self._budget.next_host(attempt, self._loop.time())
            found = await self._dialer.dial(target, source, greeted)
            if not isinstance(found, Trouble):
                others = tuple(other for other in targets[number + 1 :] if other.host != target.host)
                return Connected(found, slot, others)
            troubles.append(self._judged(found))
            if found.phase is Phase.CONNECT and not source.ip:  # with a sending IP, that IP may be the cause
                self._dead.add(target, found, self._loop.time() + self._shaping.plan(queue).back_off)
        return after_all_hosts(troubles)

    def tick(self, now: float) -> None:
        self._dead.forget_expired(now)

    def _judged(self, trouble: Trouble) -> Trouble:
        """The trouble, made permanent for a 5xx greeting if delivery.greeting_5xx is "bounce"."""
        final = trouble.phase is Phase.GREETING and trouble.reply.code >= 500
        if final and self._delivery.greeting_5xx == "bounce":
            return trouble._replace(verdict=Verdict.PERMANENT)
        return trouble


class Connecting(NamedTuple):
    """The parts that open the connections of a queue; the outlets of a worker share them."""

    connector: Connector
    budget: ConnectionBudget
    slots: Slots
    sites: Sites
    shutdown: Shutdown
    loop: asyncio.AbstractEventLoop
