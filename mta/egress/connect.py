"""The connector: tries the addresses of a destination until a connection is ready for MAIL."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple

from mta.egress.connection_budget import Attempt, ConnectionBudget
from mta.egress.dead_hosts import ANY_SOURCE, DeadHosts
from mta.egress.dial import Dialer, ReadyConnection
from mta.egress.host_tls import HostTls
from mta.egress.login import Login
from mta.egress.path_room import PathRoom, PathShare
from mta.egress.sending_ips import SendingIps, Source
from mta.egress.shutdown import Shutdown
from mta.egress.slots import Slot, Slots
from mta.egress.targets import NO_TARGETS, NOWHERE, Onward, Target, Targets, find_targets, fixed_targets
from mta.model.mail import QueueKey
from mta.model.outcomes import Origin, Verdict
from mta.model.phases import Phase
from mta.model.settings import Settings
from mta.policy.failures import Trouble, after_all_hosts, refuses_connection, unroutable
from mta.policy.mta_sts import StsPolicy
from mta.policy.routes import Route, Routes
from mta.policy.shaping import Shaping
from mta.policy.tls import TlsNeed
from mta.ports.delivery import Resolver, Sites

_KNOWN_FOR = 60.0  # seconds for which a domain may use connections to the hosts that were found
_MOST_KNOWN = 20_000
_UNUSED_FOR = 2.0  # seconds for which one connection may use the result of a search

_Searched = tuple[float, Targets | Trouble, StsPolicy | None]
_NOT_FOUND: Final[_Searched] = (float("-inf"), NO_TARGETS, None)

Greeted = Callable[[], Awaitable[None]]


class Connected(NamedTuple):
    """A new connection, and where mail goes that its host does not take now."""

    peer: ReadyConnection
    target: Target
    slot: Slot
    onward: Onward


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
        tls: HostTls,
        logins: Mapping[str, Login],
        dead: DeadHosts,
        paths: PathRoom,
    ) -> None:
        self._delivery = settings.delivery
        self._listeners = settings.smtp.listen
        self._resolver = resolver
        self._shaping = shaping
        self._sites = sites
        self._slots = slots
        self._budget = budget
        self._loop = loop
        self._dialer = Dialer(settings.delivery, logins)
        self._routes = Routes(settings.delivery, settings.relays)
        self._tls = tls
        self._ips = ips
        self._dead = dead
        self._paths = paths
        self._fixed: dict[Route, Targets] = {}  # of routes whose host is an address
        # Searches whose result no connection has used: until when it may be used (loop time), and the result.
        self._unused: dict[tuple[str, Route], _Searched] = {}
        self._known: dict[str, tuple[float, Targets]] = {}  # domain -> until when (loop time), its targets
        self._alike: dict[Targets, Targets] = {}  # domains with the same targets have one object

    async def connect(
        self, queue: QueueKey, slot: Slot, attempt: Attempt, greeted: Greeted, onward: Onward = NOWHERE
    ) -> Connected | Trouble:
        """Connect to the first host that is ready for MAIL, by the routes of the queue's domain in order, or to the
        first of those that are left (`onward`). Returns the trouble if none is. A permanent one ends the search: the
        answer of a route that mail may not go there holds for the routes after it. `slot` becomes that of the host's
        site."""
        routes = onward.routes if any(onward) else self._routes.of(queue.domain)
        troubles: list[Trouble] = []
        if onward.targets:
            policy = await self._tls.policy(queue.domain, onward.targets[0].route)
            found = await self._connect_first(queue, onward.targets, policy, slot, attempt, greeted)
            if not isinstance(found, Trouble):
                return found._replace(onward=found.onward._replace(routes=routes))
            troubles.append(found)
        for number, route in enumerate(routes):
            found = await self._connect_by(queue, route, slot, attempt, greeted)
            if not isinstance(found, Trouble):
                return found._replace(onward=found.onward._replace(routes=routes[number + 1 :]))
            troubles.append(found)
            if found.verdict is Verdict.PERMANENT:
                return found
        return after_all_hosts(troubles)

    async def _connect_by(
        self, queue: QueueKey, route: Route, slot: Slot, attempt: Attempt, greeted: Greeted
    ) -> Connected | Trouble:
        until, targets, policy = self._unused.pop((queue.domain, route), _NOT_FOUND)
        if until < self._loop.time():
            targets, policy = await self._search(queue.domain, route)
        if isinstance(targets, Trouble):
            return targets._replace(route=route.name)
        return await self._connect_first(queue, targets.in_order, policy, slot, attempt, greeted)

    async def find_shared(self, domain: str) -> None:
        """Look for the hosts whose connections the domain may share with others: those of its first route. A domain
        with an MTA-STS policy shares none, since connections of others are not verified for it (RFC 8461 4)."""
        route = self._routes.of(domain)[0]
        if self._unused.get((domain, route), _NOT_FOUND)[0] >= self._loop.time():
            return
        found, policy = await self._search(domain, route)
        now = self._loop.time()
        if len(self._unused) >= _MOST_KNOWN:
            self._unused.clear()
        self._unused[domain, route] = now + _UNUSED_FOR, found, policy
        if isinstance(found, Trouble) or policy is not None:
            return
        if max(len(self._known), len(self._alike)) >= _MOST_KNOWN:  # answers that change leave objects behind
            self._known.clear()
            self._alike.clear()
        alike = Targets(tuple(found.in_order), tuple(found.first))
        self._known[domain] = now + _KNOWN_FOR, self._alike.setdefault(alike, alike)

    async def _search(self, domain: str, route: Route) -> tuple[Targets | Trouble, StsPolicy | None]:
        """The addresses of the domain by this route, and its MTA-STS policy."""
        finding = find_targets(domain, route, self._delivery.mx_port, self._listeners, self._resolver)
        if self._tls.is_at_hand(domain, route):  # no tasks are needed
            return await finding, await self._tls.policy(domain, route)
        return await asyncio.gather(finding, self._tls.policy(domain, route))

    def shared_targets(self, domain: str) -> Sequence[Target]:
        """Those whose connections the domain may share: of the best preference (RFC 5321 5.1), found lately or such as
        need no search; () = none. The same object while they are the same."""
        return self._known_targets(domain).first

    def _known_targets(self, domain: str) -> Targets:
        known = self._known.get(domain)
        if known is not None and known[0] > self._loop.time():
            return known[1]
        route = self._routes.of(domain)[0]
        if route.address is None:
            return NO_TARGETS
        fixed = self._fixed.get(route)
        if fixed is None:
            fixed = self._fixed[route] = fixed_targets(route, self._listeners)
        return fixed

    def onward(self, domain: str, target: Target) -> Onward:
        """Where mail of the domain goes that the host of one of its targets does not take now."""
        targets, routes = self._known_targets(domain).in_order, self._routes.of(domain)
        if len(routes) == 1 and (not targets or targets[-1] == target):
            return NOWHERE
        rest = targets[targets.index(target) + 1 :] if target in targets else ()
        left = tuple(other for other in rest if other.host != target.host)
        return Onward(left, routes[1:])

    async def _connect_first(
        self,
        queue: QueueKey,
        targets: Sequence[Target],
        policy: StsPolicy | None,
        slot: Slot,
        attempt: Attempt,
        greeted: Greeted,
    ) -> Connected | Trouble:
        """Connect to the first of `targets` that is ready for MAIL. Returns the trouble if none is. `slot` becomes that
        of the host's site."""
        troubles: list[Trouble] = []
        for number, target in enumerate(targets):
            found = await self._connect_to(queue, target, policy, slot, attempt, greeted)
            if not isinstance(found, Trouble):
                left = tuple(other for other in targets[number + 1 :] if other.host != target.host)
                return Connected(found, target, slot, Onward(left))
            troubles.append(found._replace(route=target.route.name))
        return after_all_hosts(troubles)

    async def _connect_to(
        self,
        queue: QueueKey,
        target: Target,
        policy: StsPolicy | None,
        slot: Slot,
        attempt: Attempt,
        greeted: Greeted,
    ) -> ReadyConnection | Trouble:
        """One address, where it is not known to be dead and the limits allow it."""
        if (known := self._dead.trouble_of(target, ANY_SOURCE)) is not None:
            return known
        site = self._sites.of_target(queue.domain, target.host)
        need = self._tls.need(queue.domain, site, target, policy)
        if isinstance(need, Trouble):
            return need
        if wait := await self._slots.move(slot, queue, site, target.ip):
            return _no_room(site, target, wait)
        source = slot.source or self._ips.pick(queue.pool, 6 if ":" in target.ip else 4)
        if source is None:
            words = f"the pool {queue.pool} has no address to reach {target.ip} from"
            return unroutable(words, "4.4.1", temporary=True)._replace(host=target.host, ip=target.ip)
        if source.ip and (known := self._dead.trouble_of(target, source.ip)) is not None:
            return known
        share = self._slots.enter_path(slot, site, source.ip)
        if not isinstance(share, PathShare):
            return _no_room(site, target, share)
        if kept := await self._turn(share, target, source):
            return kept
        attempt.host, attempt.ip = target.host, target.ip
        self._budget.next_host(attempt, self._loop.time())
        try:
            found = await self._dial(queue.domain, target, need, policy, source, greeted)
        finally:
            self._paths.end(share, target)
        if not isinstance(found, Trouble):
            self._paths.opened(share)
            return found
        if found.phase is Phase.CONNECT:
            self._dead.add(target, source.ip, found, self._shaping.plan(queue, site).back_off)
        found = self._judged(found)._replace(mta=source.ip if found.origin is Origin.REMOTE else "")
        wait = self._paths.refused(share) if refuses_connection(found) else 0.0
        return found._replace(untried=True, wait=wait) if wait else found

    async def _turn(self, share: PathShare, target: Target, source: Source) -> Trouble | None:
        """Begin to connect to the target once few enough others do. Answers why not, as far as these found out."""
        while wait := self._paths.begin(share, target):
            await self._paths.wait_for_end(share, target, wait)
            if (known := self._dead.trouble_of(target, source.ip)) is not None:
                return known
            if self._paths.is_narrow(share.path.site):
                return _no_room(share.path.site, target, wait)
        return None

    async def _dial(
        self, domain: str, target: Target, need: TlsNeed, policy: StsPolicy | None, source: Source, greeted: Greeted
    ) -> ReadyConnection | Trouble:
        """One address. Under an MTA-STS policy in testing the certificate is checked, and where it fails a second
        connection goes on as without the policy (RFC 8461 5)."""
        trial = self._tls.trial(target, need, policy)
        if trial is not None:
            found = await self._dialer.dial(target, trial, source, greeted)
            if not isinstance(found, Trouble) or found.phase is not Phase.TLS:
                self._tls.came_to(domain, target, trial, policy, found)
                return found
            self._tls.trial_failed(target, found)
        found = await self._dialer.dial(target, need, source, greeted)
        self._tls.came_to(domain, target, need, policy, found)
        return found

    def tick(self, now: float) -> None:
        self._dead.forget_expired()
        self._paths.tick()
        self._tls.tick(now)

    def _judged(self, trouble: Trouble) -> Trouble:
        """The trouble, made permanent for a 5xx greeting if delivery.greeting_5xx is "bounce"."""
        final = trouble.phase is Phase.GREETING and trouble.reply.code >= 500
        if final and self._delivery.greeting_5xx == "bounce":
            return trouble._replace(verdict=Verdict.PERMANENT)
        return trouble


def _no_room(site: str, target: Target, wait: float) -> Trouble:
    """The limits of the site, or what it accepts, allow no connection for so many seconds."""
    trouble = unroutable(f"the limits of {site} allow no connection now", "4.4.5", temporary=True)
    return trouble._replace(untried=True, wait=wait, host=target.host, ip=target.ip)


class Connecting(NamedTuple):
    """The parts that open the connections of a queue; the outlets of a worker share them."""

    connector: Connector
    budget: ConnectionBudget
    slots: Slots
    sites: Sites
    shutdown: Shutdown
    loop: asyncio.AbstractEventLoop
