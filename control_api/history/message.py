"""The history of one message or delivery: each of its events, and the SMTP session of the last attempt that failed."""

from collections.abc import Sequence

import orjson
from aiohttp import web

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.dependencies import Dependencies
from control_api.http.operation import Answer, Example, Operation, a_parameter
from control_api.http.problems import Problem
from control_api.http.query import read_no_query
from control_api.schemas.history_answers import MessageHistory
from control_api.schemas.values import ANY_ID
from mta.model.actor import Actor
from mta.model.ids import DeliveryId, MessageId, delivery_id, parse_id
from mta.model.scopes import Scope
from mta.model.text import visible
from mta.model.units import format_time
from mta.ports.history import KeptEvent


async def message_history(request: web.Request) -> web.Response:
    """Every event of the message or the delivery in the path, in order."""
    read_no_query(request)
    deps, actor = dependencies.of(request), actor_of(request)
    message, number = parse_id(request.match_info["id"])
    as_of = (await deps.history.coverage()).as_of
    kept = [one for one in await deps.history.events_of(message) if actor.sees(one.event.tenant)]
    if number:
        delivery = delivery_id(message, number)
        kept = [one for one in kept if one.event.id == delivery]
    if not kept and not await _lives(deps, actor, message, number):
        raise Problem(404, "no message with this id is known; history keeps it for history.retention")
    body = b'{"id":"%s","as_of":"%s","events":[%s]}\n' % (
        request.match_info["id"].upper().encode(),
        format_time(as_of).encode(),
        b",".join(_objects(deps, kept)),
    )
    return web.Response(body=body, content_type="application/json")


async def _lives(deps: Dependencies, actor: Actor, message: MessageId, number: int) -> bool:
    """Whether the store knows it already: history follows within a second."""
    for standing in await deps.messages.show(message):
        about = standing.common or standing.record
        if number in (0, int.from_bytes(standing.id[16:], "big")):
            return actor.sees(about.tenant if about is not None else "")
    return False


def _objects(deps: Dependencies, kept: Sequence[KeptEvent]) -> list[bytes]:
    """As lines of the log; the last attempt of each delivery that failed with its session."""
    last: dict[DeliveryId | None, int] = {}
    for at, one in enumerate(kept):
        if one.event.dialogue:
            last[one.event.id] = at
    with_dialogue = set(last.values())
    lines = deps.log_lines([(one.event_id, one.event) for one in kept]).splitlines()
    return [
        _with_dialogue(line, one.event.dialogue) if at in with_dialogue else line
        for at, (line, one) in enumerate(zip(lines, kept, strict=True))
    ]


def _with_dialogue(line: bytes, dialogue: Sequence[str]) -> bytes:
    return line[:-1] + b',"dialogue":' + orjson.dumps([visible(said) for said in dialogue]) + b"}"


HISTORY = Operation(
    "GET",
    "/v1/messages/{id}/history",
    message_history,
    "messageHistory",
    "Every event of a message or a delivery",
    (Answer(200, MessageHistory, "the events, in order"),),
    Example("/v1/messages/$MESSAGE/history"),
    scope=Scope.MESSAGES_READ,
    for_tenants=True,
    description="An event is an object as in the delivery log. The last attempt that failed has `dialogue`, too: the "
    "lines of its SMTP session, without content.",
    refusals=(404,),
    path_values=(a_parameter("id", ANY_ID),),
)
