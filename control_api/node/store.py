"""An operator acknowledges that the store was found emptied."""

import logging

from aiohttp import web

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.http.operation import Answer, Example, Operation
from control_api.http.problems import json_response
from control_api.http.query import read_no_query
from control_api.http.times import shown
from control_api.schemas.node_answers import Emptied
from mta.model.audit import Deed
from mta.model.scopes import Scope

log = logging.getLogger(__name__)


async def acknowledge(request: web.Request) -> web.Response:
    """That the store was found emptied is known; a second request has nothing left to acknowledge."""
    read_no_query(request)
    deps, actor = dependencies.of(request), actor_of(request)
    if emptied_at := await deps.fate.emptied_at():
        await deps.audit.note(actor, Deed("store.acknowledge", "store", before={"emptied_at": shown(emptied_at)}))
    at = await deps.fate.acknowledge()
    if at:
        log.warning("%s acknowledges that the store was found emptied at %s", actor, shown(at))
    return json_response(Emptied(emptied_at=shown(at)))


ACKNOWLEDGE = Operation(
    "POST",
    "/v1/store/acknowledge",
    acknowledge,
    "acknowledgeEmptiedStore",
    "Acknowledge that the store was found emptied",
    (Answer(200, Emptied, "when that was; null where there is nothing to acknowledge"),),
    Example("/v1/store/acknowledge"),
    scope=Scope.ADMIN,
    description="Until then /readyz answers 503 and says so.",
)
