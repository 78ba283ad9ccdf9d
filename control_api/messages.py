"""Messages over REST: the record of one, and its cancellation."""

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from control_api import dependencies
from control_api.bodies import read_fields
from control_api.message_record import message_record
from control_api.problems import Problem, json_response
from control_api.query import LONGEST_WAIT, read_query, read_wait
from control_api.times import now_ms, shown
from mta.model.errors import BadValue
from mta.model.ids import MessageId, parse_message_id
from mta.model.outcomes import Class
from mta.policy.served_pools import unserved
from mta.ports.messages import DeliveryStatus

_LIVE = (Class.QUEUED, Class.HELD, Class.PARKED)
_MARGIN = 0.5  # seconds beyond S, after which nobody can hand over a dot who has not heard of a cancellation


async def show_message(request: web.Request) -> web.Response:
    """GET /v1/messages/{id}."""
    read_query(request)
    message = parse_message_id(request.match_info["id"])
    standings = await dependencies.of(request).messages.show(message)
    if not standings:
        raise _unknown()
    return json_response(await _record(request, message, standings))


async def _record(request: web.Request, message: MessageId, standings: Sequence[DeliveryStatus]) -> dict[str, Any]:
    """With why it waits, where nobody serves its pool."""
    pools = {standing.pool for standing in standings if standing.state is Class.QUEUED and standing.pool}
    sessions = await dependencies.of(request).rules.sessions() if pools else {}
    return message_record(message, standings, now_ms(), frozenset(unserved(pools, sessions)))


async def cancel_message(request: web.Request) -> web.Response:
    """POST /v1/messages/{id}/cancel?wait=: 200 canceled, now or before; 409 all of it has ended otherwise; 202 a worker
    that holds some of it has not answered yet. The body is the message's record each time."""
    deps = dependencies.of(request)
    wait = read_wait(read_query(request, ("wait",)).get("wait"), "wait", deps.api.wait, LONGEST_WAIT)
    message = parse_message_id(request.match_info["id"])
    if request.can_read_body:
        for name in await read_fields(request):
            raise BadValue(name[:100], "is not a field of a cancellation; it has none")
    standings = await deps.messages.cancel(message, wait)
    if not standings:
        raise _unknown()
    record = await _record(request, message, standings)
    if any(standing.state in _LIVE for standing in standings):
        asked_at = max(standing.asked_at for standing in standings) or now_ms()
        staleness = await deps.rules.max_staleness()
        return json_response(record | {"effective_by": shown(asked_at + int((staleness + _MARGIN) * 1000))}, 202)
    if any(standing.state is Class.CANCELED for standing in standings):
        return json_response(record)
    return json_response(record, 409, {"x-should-retry": "false"})


def _unknown() -> Problem:
    return Problem(404, "no message with this id is known; what has ended is forgotten after status.retention")
