"""IP pools of a node's settings and of the cluster together, and the faults that a pool may have."""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Final

from mta.model.errors import BadValue
from mta.model.pools import PoolSettings, SharedPool

MOST_DAYS: Final = 366  # of a warm-up
POOL_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", re.ASCII)
HOST_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.IPv]+\]", re.ASCII)


def in_force(own: Mapping[str, PoolSettings], shared: Mapping[str, SharedPool]) -> dict[str, PoolSettings]:
    """The pools by name: one of the cluster takes the place of one of the settings file."""
    return {**own, **shared}


def is_usable(pool: PoolSettings) -> bool:
    """Whether mail of the pool may leave at all: the system chooses an IP for pools of a settings file only."""
    return bool(pool.ips) or not isinstance(pool, SharedPool)


def hidden(own: Mapping[str, PoolSettings], shared: Mapping[str, SharedPool]) -> list[str]:
    """The pools of a settings file that do not hold, since the cluster has one of the name. A file without pools has
    one without keys, which nobody wrote."""
    return sorted(name for name in shared if own.get(name, PoolSettings()) != PoolSettings())


def faults_of(pool: PoolSettings) -> Iterator[BadValue]:
    """Each with the field of the pool."""
    for number, ip in enumerate(pool.ips):
        if normal_ip(ip) is None:
            yield BadValue("ips", f"{ip!r} is not an IP address")
        elif any(normal_ip(other) == normal_ip(ip) for other in pool.ips[:number]):
            yield BadValue("ips", f"{ip} is in it twice; an IP belongs to one pool, once")
    for ip in pool.weights:
        if ip not in pool.ips:
            yield BadValue(f'weights."{ip}"', f"{ip!r} is not one of its ips; add it there")
    for ip in pool.warm:
        if ip not in pool.ips:
            yield BadValue("warm", f"{ip!r} is not one of its ips; add it there")
    if any(messages < 1 for messages in pool.warmup) or len(pool.warmup) > MOST_DAYS:
        yield BadValue("warmup", f"must be at most {MOST_DAYS} numbers of messages, 1 or more for each day")
    if pool.warmup and not pool.ips:
        yield BadValue("warmup", "needs ips: it counts the mail of each of them")
    if pool.ehlo and not HOST_NAME.fullmatch(pool.ehlo):
        yield BadValue("ehlo", f"{pool.ehlo!r} is not a host name")


def owners(pools: Mapping[str, PoolSettings]) -> dict[str, str]:
    """The pool of each IP."""
    found: dict[str, str] = {}
    for name, pool in pools.items():
        for ip in pool.ips:
            found.setdefault(normal_ip(ip) or ip, name)
    return found


def normal_ip(text: str) -> str | None:
    """The address in the form in which sockets tell it; None: it is none, or has a zone."""
    try:
        found = str(ipaddress.ip_address(text))
    except ValueError:
        return None
    return None if "%" in found else found
