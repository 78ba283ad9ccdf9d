"""Pauses over REST: besides the operations of all rules, making one a forced error ("freeze now, decide later")."""

from aiohttp import web

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.http.bodies import read_fields
from control_api.http.problems import Problem
from control_api.http.query import read_query
from control_api.http.times import now_ms
from control_api.rules.body import read_conversion
from control_api.rules.resource import PATHS, RulesResource, order_response, wait_of
from control_api.schemas.queries import OrderQuery
from control_api.schemas.rule_bodies import CONVERSION
from mta.model.rules import Kind
from mta.ports.rule_store import Exists

RESOURCE = RulesResource(Kind.PAUSE)


async def convert(request: web.Request) -> web.Response:
    """Make the pause a forced error of the same id, in one change of the table, so that no mail goes out between."""
    asked = read_query(request, OrderQuery)
    deps = dependencies.of(request)
    fields = await read_fields(request, CONVERSION.lists())
    conversion = RESOURCE.guarded_edit(request, read_conversion(fields, now_ms()))
    rule_id, wait = request.match_info["id"], wait_of(request, asked)
    try:
        effect = await deps.orders.edit(rule_id, conversion, actor_of(request), wait, asked.until)
    except Exists as exists:
        other = f"{PATHS[Kind.ERROR]}/{exists.args[0]}"
        raise Problem(409, f"there is a forced error with exactly these selectors already: {other}") from None
    if effect is None:
        raise RESOURCE.not_found()
    return await order_response(deps, effect, asked.until, actor_of(request))
