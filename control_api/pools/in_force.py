"""The pools in force: those of the cluster, and those of this node's settings file that the cluster has not."""

import asyncio
from collections.abc import Mapping
from typing import Final

from control_api.dependencies import Dependencies
from mta.model import process_metrics as told
from mta.model.pools import PoolSettings
from mta.model.rules import SessionState
from mta.policy.pools import in_force
from mta.policy.served_pools import SERVES

_LOOK_EVERY: Final = 0.1  # seconds


async def pools_in_force(deps: Dependencies) -> dict[str, PoolSettings]:
    """By name."""
    return in_force(deps.own_pools, (await deps.pools.shared()).pools)


async def all_follow(deps: Dependencies, number: int, wait: float) -> bool:
    """Whether every process that delivers has put this change of the pools in force, now or within `wait` seconds."""
    until = asyncio.get_running_loop().time() + wait
    while not _follow(await deps.rules.sessions(), number):
        if asyncio.get_running_loop().time() >= until:
            return False
        await asyncio.sleep(_LOOK_EVERY)
    return True


async def servers(deps: Dependencies) -> dict[str, list[str]]:
    """Pool -> the nodes that serve it."""
    found: dict[str, set[str]] = {}
    for state in (await deps.rules.sessions()).values():
        for name in state.metrics if not state.dead and state.delivers else ():
            if name.startswith(SERVES):
                found.setdefault(name[len(SERVES) :], set()).add(state.node)
    return {pool: sorted(nodes) for pool, nodes in found.items()}


def _follow(sessions: Mapping[str, SessionState], number: int) -> bool:
    return all(
        state.metrics.get(told.POOLS_CHANGE.key, -1) >= number
        for state in sessions.values()
        if not state.dead and state.delivers
    )
