"""Forced errors over REST: besides the operations of all rules, the undo of one."""

from typing import Any

from aiohttp import web

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.http.problems import json_response
from control_api.http.query import read_query
from control_api.rules.resource import RulesResource, order_made, wait_of
from control_api.rules.tenancy import require_own
from control_api.rules.view import shown_effect
from control_api.schemas.queries import WaitQuery
from control_api.schemas.rule_answers import Undone
from mta.model.rules import Kind

RESOURCE = RulesResource(Kind.ERROR)


async def undo(request: web.Request) -> web.Response:
    """Disable the rule, and return the deliveries that it ended and that are still kept to their queues. 202:
    deliveries are left. A removed rule can be undone while deliveries of it are kept."""
    asked = read_query(request, WaitQuery)
    deps = dependencies.of(request)
    actor, rule_id = actor_of(request), request.match_info["id"]
    rule = await deps.rules.rule(rule_id)
    if rule is not None:
        require_own(RESOURCE.require(rule, actor), actor)
    elif actor.tenant:
        removed = await deps.rules.removed(rule_id)
        require_own(RESOURCE.require(None if removed is None else removed.rule, actor), actor)
    undone = await deps.undo.undo(rule_id, rule, actor, wait_of(request, asked))
    if undone is None:
        raise RESOURCE.not_found()
    effect: dict[str, Any] = {}
    if undone.effect is not None:
        with order_made(undone.effect.rule):
            effect = await shown_effect(deps, undone.effect)
    found = Undone(id=rule_id, reinstated=undone.reinstated, left=undone.left, **effect)
    return json_response(found, 200 if undone.done else 202)
