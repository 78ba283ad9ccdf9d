"""The orders of a soak: every so often a campaign is canceled by its tag, whatever happens around it."""

import asyncio
import time
from typing import Any, NamedTuple

from tests.races.cluster import eventually
from tests.soak.cluster import Cluster
from tests.soak.plan import NODES, Plan, campaign
from tests.support.orders import seconds

_PATIENCE = 60.0  # seconds until an order must be effective


class Order(NamedTuple):
    """An order as the API tells of it; times are Unix milliseconds."""

    tag: str
    rule: str
    ordered_at: float
    effective_at: float  # 0.0 = never
    past_dot: frozenset[str]  # delivery ids


async def give(cluster: Cluster, plan: Plan, number: int) -> Order:
    """Until it is effective."""
    tag = campaign(number)
    ordered_at = time.time() * 1000
    body = {"code": 554, "extended": "5.7.1", "description": "stopped", "tag": tag}
    node = NODES[number % len(NODES)]
    answer = await cluster.call("POST", "/v1/errors?wait=5s", body, node)
    rule = answer["id"]

    async def effective() -> dict[str, Any] | None:
        found: dict[str, Any] = await cluster.call("GET", f"/v1/errors/{rule}", node=node)
        return found if found.get("effective") else None

    found = await eventually(effective, _PATIENCE)
    if not found:
        return Order(tag, rule, ordered_at, 0.0, frozenset())
    past = frozenset(entry["id"] for entry in found["past_dot"])
    return Order(tag, rule, ordered_at, round(seconds(found["effective_at"]) * 1000), past)


async def give_all(cluster: Cluster, plan: Plan, begun: float) -> list[Order]:
    """`begun` is the loop's time at the start."""

    async def at(number: int, moment: float) -> Order:
        await asyncio.sleep(max(0.0, begun + moment - asyncio.get_running_loop().time()))
        return await give(cluster, plan, number)

    return await asyncio.gather(*(at(number, moment) for number, moment in enumerate(plan.orders)))
