"""The health of this process and of this node; it is open to everybody, so it names no addresses."""

import asyncio
from typing import Final

from aiohttp import web
from msgspec import UNSET

from control_api import dependencies
from control_api.dependencies import Dependencies
from control_api.http.operation import Answer, Example, Opening, Operation
from control_api.http.problems import json_response
from control_api.http.query import read_no_query
from control_api.http.times import shown
from control_api.node.unserved_pools import waiting_pools
from control_api.schemas.node_answers import Health
from mta.model.errors import StoreAway, StoreError, reason_of
from mta.model.rules import Build
from mta.policy.pools import hidden, in_force
from mta.policy.served_pools import why_it_waits

_PATIENCE: Final = (
    0.4  # seconds: with the question whether the store answers, readyz says within a second that it does not
)


async def healthz(request: web.Request) -> web.Response:
    """This process answers."""
    read_no_query(request)
    return json_response(Health(status="ok"))


async def readyz(request: web.Request) -> web.Response:
    """503 with the reason; 200 with warnings about things that an operator should look at all the same."""
    read_no_query(request)
    deps = dependencies.of(request)
    warnings: list[str] = []
    try:
        reason = await deps.health()
        if not reason:
            async with asyncio.timeout(_PATIENCE):
                reason = await _of_the_cluster(deps)
                warnings = [] if reason else await _warnings(deps)
    except TimeoutError:
        reason = reason_of(StoreAway())
    except StoreError as error:
        reason = reason_of(error)
    if reason:
        return json_response(Health(status="unready", reason=reason), 503, {"Retry-After": "1"})
    return json_response(Health(status="ready", warnings=warnings or UNSET))


async def _warnings(deps: Dependencies) -> list[str]:
    flight = await deps.canaries.last()
    trouble = flight.trouble() if flight is not None else ""
    shared = (await deps.pools.shared()).pools
    pools = in_force(deps.own_pools, shared)
    return [
        *(why_it_waits(pool, pools.get(pool)) for pool in await waiting_pools(deps)),
        *(
            f"pool {name} is as the cluster has it, not as [pools.{name}] in the settings file of this node; remove "
            f"that table, or the pool of the cluster (floodgate pools remove {name})"
            for name in hidden(deps.own_pools, shared)
        ),
        *([trouble] if trouble else []),
    ]


async def _of_the_cluster(deps: Dependencies) -> str:
    emptied_at = await deps.fate.emptied_at()
    if emptied_at:
        return f"the store was found emptied at {shown(emptied_at)}; POST /v1/store/acknowledge when that is known"
    return await _missing_workers(deps)


async def _missing_workers(deps: Dependencies) -> str:
    if not deps.workers:
        return ""
    builds, sessions = await deps.rules.builds(), await deps.rules.sessions()
    here = [
        builds.get(session, Build()).unreadable
        for session, state in sessions.items()
        if not state.dead and state.node == deps.node and "delivery" in state.roles
    ]
    if unreadable := sorted(filter(None, here)):
        return f"{len(unreadable)} of {deps.workers} workers deliver nothing: {unreadable[0]}"
    return f"{len(here)} of {deps.workers} workers are there" if len(here) < deps.workers else ""


_HEALTHY = Answer(200, Health, "yes")

OPERATIONS = (
    Operation(
        "GET",
        "/healthz",
        healthz,
        "healthz",
        "Whether the API answers",
        (_HEALTHY,),
        Example("/healthz"),
        scope=None,
        opening=Opening.OPEN,
    ),
    Operation(
        "GET",
        "/readyz",
        readyz,
        "readyz",
        "Whether this node can do its work",
        (_HEALTHY, Answer(503, Health, "no, and why")),
        Example("/readyz"),
        scope=None,
        opening=Opening.OPEN,
    ),
)
