"""The limits in force for queues: of their sites, their domains, and the sending IPs of their pools."""

from collections.abc import Mapping, Sequence

from control_api.dependencies import Dependencies
from control_api.pools.in_force import pools_in_force
from mta.model.limit_orders import LimitOrders
from mta.model.limit_use import LimitUse
from mta.model.mail import QueueKey
from mta.model.paths import SendingPath
from mta.model.pools import PoolSettings
from mta.policy.limits_in_force import LimitInForce, limits_in_force
from mta.policy.shaping import Budget


async def limits_of(
    deps: Dependencies, queues: Sequence[QueueKey], sites: Mapping[str, str], now: int, *, with_ips: bool = False
) -> dict[QueueKey, list[LimitInForce]]:
    """Of each queue that has limits; `sites` by domain, `now` in Unix ms. `with_ips`: those of sending IPs, too."""
    await go_by_orders(deps, now)
    pools = await pools_in_force(deps) if with_ips else {}
    wanted: dict[QueueKey, tuple[Budget, ...]] = {}
    for queue in queues:
        site = sites.get(queue.domain, "")
        plan = deps.shaping.plan(queue, site)
        if plan.is_limited or plan.messages_per_connection or plan.carried_by_ip:
            wanted[queue] = _budgets(deps, queue, site, pools) if with_ips else plan.budgets
    asked = {
        (sites[queue.domain], budget.scope): None
        for queue, budgets in wanted.items()
        for budget in budgets
        if queue.domain in sites  # else no worker has counted anything
    }
    uses = dict(zip(asked, await deps.limits.use(list(asked)), strict=True)) if asked else {}
    return {
        queue: limits_in_force(
            deps.shaping.plan(queue, site := sites.get(queue.domain, "")),
            {budget: uses.get((site, budget.scope), LimitUse()) for budget in budgets},
            now,
        )
        for queue, budgets in wanted.items()
    }


async def go_by_orders(deps: Dependencies, now: int) -> LimitOrders:
    """The limit orders, by which the shaping of this process goes from now on."""
    shared = await deps.limit_orders.orders()
    orders = {} if shared is None else shared.orders
    deps.shaping.adopt(orders, now)
    return orders


def _budgets(deps: Dependencies, queue: QueueKey, site: str, pools: Mapping[str, PoolSettings]) -> tuple[Budget, ...]:
    pool = pools.get(queue.pool)
    ips = (queue.pool[1:],) if queue.pool.startswith("@") else (pool.ips if pool is not None else ()) or ("",)
    paths = (SendingPath(site, queue.domain, queue.pool, ip) for ip in ips)
    return tuple(dict.fromkeys(budget for path in paths for budget in deps.shaping.budgets(path)))
