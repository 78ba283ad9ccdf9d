"""The pools that no living worker serves, with advice for the operator."""

from collections.abc import Iterable, Mapping
from typing import Final

from mta.model.pools import PoolSettings, SharedPool
from mta.model.rules import SessionState

SERVES: Final = "serves:"  # a worker has one metric with this prefix for each pool that it serves
GRACE_MS: Final = 5000  # a pool that is used for the first time is served within a few seconds


def unserved(pools: Iterable[str], sessions: Mapping[str, SessionState]) -> list[str]:
    """The pools that no living worker serves; none where no worker lives at all: then nothing is delivered anyway."""
    workers = [state for state in sessions.values() if not state.dead and state.delivers]
    if not workers:
        return []
    served = {name[len(SERVES) :] for state in workers for name in state.metrics if name.startswith(SERVES)}
    return sorted(set(pools).difference(served))


def why_it_waits(pool: str, known: PoolSettings | None = None) -> str:
    """The reason, for people, why the mail of an unserved pool waits. `known`: the pool, if the caller knows it."""
    if pool.startswith("@"):
        return f"no node holds the IP address {pool[1:]}: start one that does, or let it expire"
    if known is None:
        return (
            f"no node serves pool {pool}: give it to a node in [pools], with an IP address of that node, or "
            "to all nodes with floodgate pools set"
        )
    if not known.ips and isinstance(known, SharedPool):
        return f"no node serves pool {pool}: it has no IPs; floodgate pools add-ip {pool} gives it one"
    if known.ips:
        return f"no node serves pool {pool}: none holds {', '.join(known.ips)}; add an IP that a node holds"
    return f"no node serves pool {pool}: no node that delivers has it"
