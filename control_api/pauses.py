"""Pauses over REST: besides what all rules have, making one a forced error ("freeze now, decide later")."""

from aiohttp import web

from control_api import dependencies
from control_api.bodies import read_fields
from control_api.problems import Problem
from control_api.rule_body import LISTS, read_conversion
from control_api.rules_resource import PATHS, RulesResource, changed, patience
from control_api.times import now_ms
from mta.model.rules import Kind
from mta.ports.rule_store import Exists

RESOURCE = RulesResource(Kind.PAUSE)


async def convert(request: web.Request) -> web.Response:
    """POST /v1/pauses/{id}/convert?wait=&until=: the pause becomes a forced error of the same id in one change of the
    table, so that nothing gets through between."""
    wait, until = patience(request)
    deps = dependencies.of(request)
    conversion = RESOURCE.only_ours(request, read_conversion(await read_fields(request, LISTS), now_ms()))
    try:
        effect = await deps.orders.edit(request.match_info["id"], conversion, "admin", wait, until)
    except Exists as exists:
        other = f"{PATHS[Kind.ERROR]}/{exists.args[0]}"
        raise Problem(409, f"there is a forced error with exactly these selectors already: {other}") from None
    if effect is None:
        raise RESOURCE.unknown()
    return await changed(deps, effect, until)
