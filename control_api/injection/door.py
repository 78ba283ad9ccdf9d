"""The handlers of calls that hand mail in."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from aiohttp import web

from control_api.access.actor import actor_of
from control_api.http.bodies import NDJSON_TYPE
from control_api.http.middleware import Handler
from control_api.http.query import read_no_query
from control_api.http.times import now_ms
from control_api.injection.answers import Unanswerable, answer, problem_of
from control_api.injection.limits import CallLimits, CallRoom
from control_api.injection.mailerq import plan_injected
from control_api.injection.named_templates import NamedTemplates
from control_api.injection.plan import Plan, Planner
from control_api.injection.reading import LARGE, read_json
from control_api.injection.stream import send_stream
from mta.model.actor import Actor
from mta.ports.admission import Calls, Requester

_MANY: Final = 20  # recipients
_PROTOCOL: Final = "HTTP"  # the "with" keyword of the trace header


@dataclass(frozen=True)
class Door:
    """Everything that these handlers may touch."""

    calls: Calls
    planner: Planner
    templates: NamedTemplates
    limits: CallLimits
    room: CallRoom
    folder: str  # for answers that are too long for the memory


DOOR = web.AppKey("door", Door)


async def send_message(request: web.Request) -> web.StreamResponse:
    """Accept the messages of a call."""
    door = request.app[DOOR]
    if request.content_type != NDJSON_TYPE:
        return await _accept(request, door.planner.plan, door.templates)
    read_no_query(request)
    _check_refusal(door)
    with door.room.one_more():
        requester, most = requester_of(actor_of(request)), door.limits.body
        return await send_stream(request, door.calls, door.planner, door.templates, requester, most, door.folder)


async def inject_message(request: web.Request) -> web.StreamResponse:
    """Accept one message as MailerQ's JSON has it."""
    return await _accept(request, partial(plan_injected, request.app[DOOR].planner))


async def _accept(
    request: web.Request,
    plan: Callable[..., Plan],
    templates: NamedTemplates | None = None,
) -> web.StreamResponse:
    read_no_query(request)
    door, actor = request.app[DOOR], actor_of(request)
    _check_refusal(door)
    with door.room.one_more() as room:
        fields, size = await read_json(request, door.limits.body, room)
        if templates is not None and "template" in fields:
            plan = partial(plan, named=await templates.of(fields, actor))
        now, beside = now_ms(), size > LARGE or _has_many(fields)
        made = await asyncio.to_thread(plan, fields, actor, now) if beside else plan(fields, actor, now)
        call = door.calls.begin(requester_of(actor), made.sender, made.asked)
        handed = await call.submit(made.drafts)
    return answer(made.places, handed)


def _has_many(fields: Mapping[str, Any]) -> bool:
    """Whether so many messages may have to be made that the loop would wait for them."""
    to = fields.get("to")
    return isinstance(to, list) and len(to) > _MANY


def _check_refusal(door: Door) -> None:
    """Raises Problem while no message may come."""
    if (refused := door.calls.refusal()) is not None:
        raise problem_of(refused)


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
