"""Messages over REST: the record of one, and its cancellation."""

from collections.abc import Sequence

import msgspec
from aiohttp import web

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.http.bodies import read_fields
from control_api.http.operation import BODY_REFUSALS, Answer, Example, Group, Operation, Parameter, a_parameter
from control_api.http.problems import json_response
from control_api.http.query import read_query
from control_api.http.times import now_ms, shown
from control_api.injection.operations import INJECTING
from control_api.messages.content import OPERATIONS as CONTENT
from control_api.messages.record import headed, recipients_of
from control_api.messages.show import SHOW, unknown
from control_api.schemas.message_answers import Message, Recipient
from control_api.schemas.queries import WaitQuery
from control_api.schemas.values import ANY_ID
from mta.model.audit import Deed
from mta.model.errors import BadValue
from mta.model.ids import MessageId, delivery_id, delivery_text, message_text, parse_id
from mta.model.outcomes import Class
from mta.model.scopes import Scope
from mta.policy.served_pools import unserved
from mta.ports.messages import DeliveryStatus

_LIVE = (Class.QUEUED, Class.HELD, Class.PARKED)
_MARGIN = 0.5  # seconds beyond S, after which no worker that has not heard of a cancellation sends a final dot


async def _record(
    request: web.Request, message: MessageId, only: int, standings: Sequence[DeliveryStatus]
) -> Message | Recipient:
    """With the reason to wait of deliveries in a pool that no worker serves. With `only` the record of that one."""
    pools = {standing.pool for standing in standings if standing.state is Class.QUEUED and standing.pool}
    sessions = await dependencies.of(request).rules.sessions() if pools else {}
    recipients = recipients_of(message, standings, now_ms(), frozenset(unserved(pools, sessions)))
    return recipients[0] if only else headed(message, recipients)


async def cancel_message(request: web.Request) -> web.Response:
    """200 canceled, now or before; 409 all of it has ended otherwise; 202 a worker that holds some of it has not
    answered yet. The body is the record of the message, or of the delivery, each time."""
    deps = dependencies.of(request)
    asked = read_query(request, WaitQuery)
    message, only = parse_id(request.match_info["id"])
    if request.body_exists:
        for name in await read_fields(request):
            raise BadValue(name[:100], "is not a field of a cancellation; it has none")
    wait = deps.api.wait if asked.wait is None else asked.wait
    actor, before = actor_of(request), await deps.messages.show(message, only)
    tenant = tenant_in(before)
    if not before or not actor.sees(tenant):
        raise unknown()
    of = delivery_text(delivery_id(message, only)) if only else message_text(message)
    await deps.audit.note(actor, Deed("message.cancel", of, tenant=tenant))
    standings = await deps.messages.cancel(message, actor, wait, only)
    if not standings:
        raise unknown()  # its record was dropped meanwhile
    record = await _record(request, message, only, standings)
    if any(standing.state in _LIVE for standing in standings):
        asked_at = max(standing.asked_at for standing in standings) or now_ms()
        effective_by = shown(asked_at + int((await deps.rules.max_staleness() + _MARGIN) * 1000))
        return json_response(msgspec.structs.replace(record, effective_by=effective_by), 202)
    if any(standing.state is Class.CANCELED for standing in standings):
        return json_response(record)
    return json_response(record, 409, {"x-should-retry": "false"})


def tenant_in(standings: Sequence[DeliveryStatus]) -> str:
    """The tenant of a message; "" = it has none, or nothing is known of it any more."""
    about = (standing.common or standing.record for standing in standings)
    return next((one.tenant for one in about if one is not None), "")


_ID = a_parameter("id", ANY_ID)
_ONCE = Parameter("x-should-retry", {"type": "string"}, "false")

OPERATIONS = Group(
    "Messages",
    "Single messages.",
    (
        *INJECTING,
        SHOW,
        Operation(
            "POST",
            "/v1/messages/{id}/cancel",
            cancel_message,
            "cancelMessage",
            "Cancel one message, or one delivery of it; may be repeated",
            (
                Answer(
                    200,
                    Message,
                    "canceled for at least one recipient, now or before; no other is under way",
                    or_of=(Recipient,),
                ),
                Answer(202, Message, "a worker that holds some of it has not answered yet", or_of=(Recipient,)),
                Answer(409, Message, "all of it has ended otherwise", (_ONCE,), or_of=(Recipient,)),
            ),
            Example("/v1/messages/$MESSAGE/cancel?wait=5s"),
            description="With the id of a delivery only this recipient is canceled, and the answer is its record.",
            scope=Scope.MESSAGES_CANCEL,
            for_tenants=True,
            refusals=(404, *BODY_REFUSALS),
            path_values=(_ID,),
            query=WaitQuery,
        ),
        *CONTENT,
    ),
)
