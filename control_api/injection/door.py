"""The handlers of calls that hand mail in."""

import asyncio
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from control_api.access.actor import actor_of
from control_api.http.middleware import Handler
from control_api.http.query import read_no_query
from control_api.http.times import now_ms
from control_api.injection.answers import Unanswerable, answer, problem_of
from control_api.injection.limits import CallLimits, CallRoom
from control_api.injection.plan import Planner
from control_api.injection.reading import LARGE, read_json
from mta.model.actor import Actor
from mta.ports.admission import Calls, Requester

_PROTOCOL: Final = "HTTP"  # the "with" keyword of the trace header


@dataclass(frozen=True)
class Door:
    """Everything that these handlers may touch."""

    calls: Calls
    planner: Planner
    limits: CallLimits
    room: CallRoom


DOOR = web.AppKey("door", Door)


async def send_message(request: web.Request) -> web.StreamResponse:
    """Accept the messages of a call."""
    read_no_query(request)
    door, actor = request.app[DOOR], actor_of(request)
    if (refused := door.calls.refusal()) is not None:
        raise problem_of(refused)
    with door.room.one_more() as room:
        fields, size = await read_json(request, door.limits.body, room)
        plan = door.planner.plan
        made = await asyncio.to_thread(plan, fields, actor, now_ms()) if size > LARGE else plan(fields, actor, now_ms())
        call = door.calls.begin(requester_of(actor), made.sender, made.asked)
        handed = await call.submit(made.drafts)
    return answer(made.places, handed)


def requester_of(actor: Actor) -> Requester:
    """The client as trace header and log name it."""
    return Requester(actor.address, "", _PROTOCOL)


@web.middleware
async def hang_up(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Close the connection without an answer where none may be given."""
    try:
        return await handler(request)
    except Unanswerable:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=503)
