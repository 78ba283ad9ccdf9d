"""Whether this process answers, and whether this node can do its work; open to everybody, so it names no addresses."""

from aiohttp import web

from control_api import dependencies
from control_api.dependencies import Dependencies
from control_api.problems import json_response
from control_api.query import read_query
from mta.model.errors import StoreAway, StoreError, StoreUnsafe


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
        return reason or await _missing_workers(deps)
    except StoreUnsafe:
        return "the store is unsafe; the log names the setting"
    except StoreAway:
        return "the store is away"
    except StoreError:
        return "the store cannot be used"


async def _missing_workers(deps: Dependencies) -> str:
    if not deps.workers:
        return ""
    sessions = (await deps.rules.sessions()).values()
    here = sum(not state.dead and state.node == deps.node and "delivery" in state.roles for state in sessions)
    return f"{here} of {deps.workers} workers are there" if here < deps.workers else ""
