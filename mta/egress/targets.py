"""The addresses of a destination: those of its route, or of the hosts that DNS names, in the order to try them."""

from collections.abc import Sequence
from typing import NamedTuple

from mta.model.errors import BadValue
from mta.model.outcomes import Verdict
from mta.model.settings import Address
from mta.policy.failures import Trouble, unroutable
from mta.policy.mx import MOST_ADDRESSES, MOST_HOSTS, is_address, is_own, literal_address, normal, why_refused
from mta.policy.routes import MX, Route
from mta.ports.delivery import Resolver


class Target(NamedTuple):
    """One address to try."""

    host: str  # as DNS or the route names it, in lower case; the address itself when it has no name
    ip: str
    port: int
    route: Route = MX


class Targets(NamedTuple):
    """The addresses of a destination."""

    in_order: Sequence[Target]  # in which they are tried
    first: Sequence[Target]  # those of the best preference


def _alike(targets: Sequence[Target]) -> Targets:
    """No preference tells them apart."""
    return Targets(targets, targets)


class Onward(NamedTuple):
    """Where mail goes that a host does not take now."""

    targets: tuple[Target, ...] = ()  # addresses of the next hosts of the same route
    routes: tuple[Route, ...] = ()  # and then

    @property
    def first_host(self) -> str:
        """ "" = DNS decides it."""
        if self.targets:
            return self.targets[0].host
        address = self.routes[0].address if self.routes else None
        return "" if address is None else address.host


NO_TARGETS = Targets((), ())
NOWHERE = Onward()


async def find_targets(
    domain: str, route: Route, mx_port: int, own: tuple[Address, ...], resolver: Resolver
) -> Targets | Trouble:
    """The addresses of at most 5 hosts, 2 for each; Trouble if there is none."""
    if route.address is not None:
        return await _routed(route, route.address, own, resolver)
    try:
        literal = literal_address(domain)
    except BadValue as error:
        return unroutable(str(error), "5.1.3", temporary=False)
    if literal is not None:
        refused = why_refused(literal, mx_port, own)
        if refused is not None:
            return unroutable(f"{domain} is {refused.words}", refused.enhanced, temporary=False)
        return _alike([Target(literal, literal, mx_port)])
    return await _by_mx(domain, mx_port, own, resolver)


async def _routed(route: Route, address: Address, own: tuple[Address, ...], resolver: Resolver) -> Targets | Trouble:
    """The addresses of a configured route. Any address is allowed but those of this node's listeners; trouble is
    temporary."""
    if is_address(address.host):
        ips: tuple[str, ...] = (address.host,)
    else:
        answer = await resolver.addresses(address.host)
        if not answer.addresses:
            return unroutable(f"route {route.name}: {answer.failure}", "4.4.3", temporary=True)
        ips = answer.addresses
    usable = [ip for ip in ips if not is_own(ip, address.port, own)]
    if not usable:
        return unroutable(f"route {route.name} is this node itself: a mail loop", "4.4.6", temporary=True)
    return _alike([_target(address.host, ip, address.port, route) for ip in usable[: MOST_HOSTS * MOST_ADDRESSES]])


def fixed_targets(route: Route, own: tuple[Address, ...]) -> Targets:
    """The address of a route that names one; none = the route has a host name or none, or names this node itself."""
    address = route.address
    if address is None or not is_address(address.host) or is_own(address.host, address.port, own):
        return NO_TARGETS
    return _alike([_target(address.host, address.host, address.port, route)])


async def _by_mx(domain: str, port: int, own: tuple[Address, ...], resolver: Resolver) -> Targets | Trouble:
    answer = await resolver.mx(domain)
    if not answer.hosts:
        return unroutable(answer.failure, answer.enhanced or "5.4.4", answer.temporary)
    targets: list[Target] = []
    troubles: list[Trouble] = []
    equal = 0
    for number, host in enumerate(answer.hosts[:MOST_HOSTS]):
        found = await resolver.addresses(host)
        if not found.addresses:
            enhanced = "4.4.3" if found.temporary else "5.1.2" if host == domain else "5.4.4"
            troubles.append(unroutable(found.failure, enhanced, found.temporary))
            continue
        usable = []
        for ip in found.addresses:
            refused = why_refused(ip, port, own)
            if refused is None:
                usable.append(ip)
                continue
            troubles.append(unroutable(f"{host} ({ip}) is {refused.words}", refused.enhanced, temporary=False))
        if not usable and any(is_own(ip, port, own) for ip in found.addresses):
            break  # this node is an MX of the domain: hosts of lower preference would send the mail back (RFC 5321 5.1)
        targets += [_target(host, ip, port) for ip in usable[:MOST_ADDRESSES]]
        if number < answer.first or not equal:  # those of the best preference may have no usable address
            equal = len(targets)
    if targets:
        return Targets(targets, targets[:equal])
    return next((trouble for trouble in troubles if trouble.verdict is Verdict.TEMPORARY), troubles[-1])


def _target(host: str, ip: str, port: int, route: Route = MX) -> Target:
    """Name and address in the one form in which rules name them."""
    return Target(host.lower().rstrip("."), normal(ip), port, route)
