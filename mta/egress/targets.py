"""The addresses of a destination: those of its route, or of the hosts that DNS names, in the order to try them."""

import ipaddress
from typing import NamedTuple

from mta.model.errors import BadValue
from mta.model.outcomes import Verdict
from mta.model.settings import Address, DeliverySettings
from mta.policy.failures import Trouble, unroutable
from mta.policy.mx import MOST_ADDRESSES, MOST_HOSTS, is_address, is_own, literal_address, route_for, why_refused
from mta.ports.delivery import Resolver


class Target(NamedTuple):
    """One address to try."""

    host: str  # as DNS or the route names it, in lower case; the address itself when it has no name
    ip: str
    port: int


async def find_targets(
    domain: str, settings: DeliverySettings, own: tuple[Address, ...], resolver: Resolver
) -> list[Target] | Trouble:
    """The addresses of at most 5 hosts, 2 for each; Trouble if there is none."""
    try:
        route = route_for(domain, settings.route, settings.routes)
        literal = None if route else literal_address(domain)
    except BadValue as error:
        return unroutable(str(error), "5.1.3", temporary=False)
    if route is not None:
        return await _routed(route, own, resolver)
    if literal is not None:
        refused = why_refused(literal, settings.mx_port, own)
        if refused is not None:
            return unroutable(f"{domain} is {refused.words}", refused.enhanced, temporary=False)
        return [Target(literal, literal, settings.mx_port)]
    return await _by_mx(domain, settings.mx_port, own, resolver)


async def _routed(route: Address, own: tuple[Address, ...], resolver: Resolver) -> list[Target] | Trouble:
    """The addresses of a configured route. Any address is allowed but those of this node's listeners; trouble is
    temporary."""
    if is_address(route.host):
        addresses: tuple[str, ...] = (route.host,)
    else:
        answer = await resolver.addresses(route.host)
        if not answer.addresses:
            return unroutable(f"route {route}: {answer.failure}", "4.4.3", temporary=True)
        addresses = answer.addresses
    usable = [ip for ip in addresses if not is_own(ip, route.port, own)]
    if not usable:
        return unroutable(f"route {route} is this node itself: a mail loop", "4.4.6", temporary=True)
    return [_target(route.host, ip, route.port) for ip in usable[: MOST_HOSTS * MOST_ADDRESSES]]


async def _by_mx(domain: str, port: int, own: tuple[Address, ...], resolver: Resolver) -> list[Target] | Trouble:
    answer = await resolver.mx(domain)
    if not answer.hosts:
        return unroutable(answer.failure, answer.enhanced or "5.4.4", answer.temporary)
    targets: list[Target] = []
    troubles: list[Trouble] = []
    for host in answer.hosts[:MOST_HOSTS]:
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
    if targets:
        return targets
    return next((trouble for trouble in troubles if trouble.verdict is Verdict.TEMPORARY), troubles[-1])


def _target(host: str, ip: str, port: int) -> Target:
    """Name and address in the one form in which rules name them."""
    return Target(host.lower().rstrip("."), str(ipaddress.ip_address(ip.strip("[]."))), port)
