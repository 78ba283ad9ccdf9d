"""The pools that no living worker serves, with advice for the operator."""

from collections.abc import Iterable, Mapping
from typing import Final

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


def why_it_waits(pool: str) -> str:
    """The reason, for people, why the mail of an unserved pool waits."""
    if pool.startswith("@"):
        return f"no node holds the IP address {pool[1:]}: start one that does, or let it expire"
    return f"no node serves pool {pool}: give it to a node in [pools], with an IP address of that node"
