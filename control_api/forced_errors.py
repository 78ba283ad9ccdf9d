"""Forced errors over REST: besides what all rules have, taking back what one ended."""

from typing import Any

from aiohttp import web

from control_api import dependencies
from control_api.problems import json_response
from control_api.query import LONGEST_WAIT, read_query, read_wait
from control_api.rule_view import shown_effect
from control_api.rules_resource import RulesResource, order_made
from mta.model.rules import Kind

RESOURCE = RulesResource(Kind.ERROR)


async def undo(request: web.Request) -> web.Response:
    """POST /v1/errors/{id}/undo?wait=: the rule is disabled, what it ended and is still kept returns to its queues;
    202 where that goes on. A rule that was removed can be undone while something of it is kept."""
    asked = read_query(request, ("wait",))
    deps = dependencies.of(request)
    wait = read_wait(asked.get("wait"), "wait", deps.api.wait, LONGEST_WAIT)
    rule_id = request.match_info["id"]
    rule = await deps.rules.rule(rule_id)
    if rule is not None:
        RESOURCE.check(rule)
    undone = await deps.undo.undo(rule_id, rule, "admin", wait)
    if undone is None:
        raise RESOURCE.unknown()
    body: dict[str, Any] = {"id": rule_id, "reinstated": undone.reinstated, "left": undone.left}
    if undone.effect is not None:
        with order_made(undone.effect.rule):
            body |= await shown_effect(deps, undone.effect)
    return json_response(body, 200 if undone.done else 202)
