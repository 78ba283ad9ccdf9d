"""The record of a message or a delivery: from the store while it knows it, else from history."""

import contextlib

from aiohttp import web
from msgspec import UNSET

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.dependencies import Dependencies
from control_api.history.lines import as_record
from control_api.http.operation import Answer, Example, Operation, a_parameter
from control_api.http.problems import Problem, json_response
from control_api.http.query import read_no_query
from control_api.http.times import now_ms
from control_api.messages.engagement import with_engagement
from control_api.messages.record import headed, recipients_of
from control_api.schemas.message_answers import Message, Recipient
from control_api.schemas.values import ANY_ID
from mta.model.errors import HistoryError, HistoryOff
from mta.model.ids import MessageId, delivery_id, delivery_text, parse_id
from mta.model.outcomes import Class
from mta.model.scopes import Scope
from mta.model.status import DeliveryRow
from mta.policy.served_pools import unserved


async def show_message(request: web.Request) -> web.Response:
    """The record of the message in the path, or of one delivery."""
    read_no_query(request)
    message, number = parse_id(request.match_info["id"])
    recipients = await known_recipients(dependencies.of(request), message)
    actor = actor_of(request)
    recipients = [one for one in recipients if actor.sees("" if one.tenant is UNSET else one.tenant)]
    if number:
        delivery = delivery_text(delivery_id(message, number))
        recipients = [one for one in recipients if one.id == delivery]
    if not recipients:
        raise unknown()
    if (deps := dependencies.of(request)).tracks:
        recipients = await with_engagement(deps, message, recipients)
    return json_response(recipients[0] if number else headed(message, recipients))


def unknown() -> Problem:
    return Problem(
        404,
        "no message with this id is known; the store drops records of ended messages after status.retention, history "
        "after history.retention",
    )


async def known_recipients(deps: Dependencies, message: MessageId) -> list[Recipient]:
    """Each delivery once, by number. Of a delivery that both know the record that has seen more changes counts. Raises
    HistoryError where only history could know the message."""
    standings = await deps.messages.show(message)
    pools = {standing.pool for standing in standings if standing.state is Class.QUEUED and standing.pool}
    sessions = await deps.rules.sessions() if pools else {}
    shown = recipients_of(message, standings, now_ms(), frozenset(unserved(pools, sessions)))
    found = {standing.id: recipient for standing, recipient in zip(standings, shown, strict=True)}
    counts = [told.recipients for standing in standings if (told := standing.final or standing.record) is not None]
    if len(found) < max(counts, default=1):
        for row in await _from_history(deps, message, bool(found)):
            known = found.get(row.id)
            if known is None or (known.seq is not UNSET and known.seq < row.last.seq):
                found[row.id] = as_record(row)
    return [found[id_] for id_ in sorted(found)]


async def _from_history(deps: Dependencies, message: MessageId, can_do_without: bool) -> list[DeliveryRow]:
    with contextlib.suppress(*(HistoryError,) if can_do_without else (HistoryOff,)):
        return await deps.history.message(message)
    return []


SHOW = Operation(
    "GET",
    "/v1/messages/{id}",
    show_message,
    "showMessage",
    "One message with the status of each recipient, or one delivery",
    (Answer(200, Message, "the record", or_of=(Recipient,)),),
    Example("/v1/messages/$MESSAGE"),
    scope=Scope.MESSAGES_READ,
    for_tenants=True,
    description="A record comes from the store while it knows the message, and then from history. On "
    "a node that tracks mail it has the first open and click by a reader.",
    refusals=(404,),
    path_values=(a_parameter("id", ANY_ID),),
)
