"""The warm-up of the sending IPs of a queue, as limits that people read."""

from control_api.dependencies import Dependencies
from control_api.pools.in_force import pools_in_force
from mta.model.mail import QueueKey
from mta.policy.limits_in_force import LimitInForce
from mta.policy.warm_up import warm_up_limits


async def warm_ups_of(deps: Dependencies, queue: QueueKey, site: str | None, now: int) -> list[LimitInForce]:
    """`now` is Unix ms; without a site no worker has counted anything."""
    pools = await pools_in_force(deps)
    name, alone = queue.pool, ""
    if name.startswith("@"):
        alone = name[1:]
        name = next((pool for pool, known in pools.items() if alone in known.ips), "")
    pool = pools.get(name)
    if pool is None or not pool.warmup:
        return []
    ips = [alone] if alone else list(pool.ips)
    asked = [ip for ip in ips if ip not in pool.warm]
    states = {} if site is None else await deps.limits.warm_ups(site, asked)
    return warm_up_limits(name, pool, ips, states, now)
