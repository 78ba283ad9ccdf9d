"""Whether this process answers, and whether this node can do its work; open to everybody, so it names no addresses."""

import asyncio
from typing import Final

from aiohttp import web

from control_api import dependencies
from control_api.dependencies import Dependencies
from control_api.problems import json_response
from control_api.query import read_query
from control_api.times import shown
from mta.model.errors import StoreAway, StoreError, StoreUnsafe

_PATIENCE: Final = (
    0.4  # seconds: with the question whether the store answers, readyz says within a second that it does not
)


async def healthz(request: web.Request) -> web.Response:
    """GET /healthz."""
    read_query(request)
    return json_response({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """GET /readyz: 503 with the reason."""
    read_query(request)
    reason = await _trouble(dependencies.of(request))
    if reason:
        return json_response({"status": "unready", "reason": reason}, 503, {"Retry-After": "1"})
    return json_response({"status": "ready"})


async def _trouble(deps: Dependencies) -> str:
    try:
        reason = await deps.health()
        if not reason:
            async with asyncio.timeout(_PATIENCE):
                reason = await _of_the_cluster(deps)
        return reason
    except StoreUnsafe as unsafe:
        return f"the store is unsafe: {unsafe.named}"
    except (StoreAway, TimeoutError):
        return "the store is away"
    except StoreError:
        return "the store cannot be used"


async def _of_the_cluster(deps: Dependencies) -> str:
    emptied_at = await deps.fate.emptied_at()
    if emptied_at:
        return f"the store was found emptied at {shown(emptied_at)}; POST /v1/store/acknowledge when that is known"
    return await _missing_workers(deps)


async def _missing_workers(deps: Dependencies) -> str:
    if not deps.workers:
        return ""
    sessions = (await deps.rules.sessions()).values()
    here = sum(not state.dead and state.node == deps.node and "delivery" in state.roles for state in sessions)
    return f"{here} of {deps.workers} workers are there" if here < deps.workers else ""
