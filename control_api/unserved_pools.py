"""Pools whose mail waits for a node that serves them, as the API tells of them."""

from control_api.dependencies import Dependencies
from control_api.times import now_ms
from mta.policy.served_pools import GRACE_MS, unserved

MOST = 20  # pools that are named: clients may name any IP address


async def waiting_pools(deps: Dependencies) -> dict[str, int]:
    """Pool -> the earliest due time of its mail (Unix ms), for pools that no worker serves; the oldest, so many."""
    pools = unserved(await deps.sweeps.pools(), await deps.rules.sessions())
    if not pools:
        return {}
    late = now_ms() - GRACE_MS
    found = [(at, pool) for pool, at in (await deps.books.earliest(pools)).items() if at <= late]
    return {pool: at for at, pool in sorted(found)[:MOST]}
