"""The handlers of calls that hand mail in."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

from aiohttp import web

from control_api.access.actor import actor_of
from control_api.http.bodies import NDJSON_TYPE
from control_api.http.keys import key_in
from control_api.http.middleware import Handler
from control_api.http.query import read_no_query
from control_api.http.times import now_ms
from control_api.injection.aids import CallAids
from control_api.injection.answers import Unanswerable, answer, problem_of, replay
from control_api.injection.keys import key_problem, keyed, refuse_key
from control_api.injection.limits import CallLimits, CallRoom
from control_api.injection.mailerq import plan_injected
from control_api.injection.plan import Plan, Planner
from control_api.injection.reading import LARGE, JsonBody, read_json
from control_api.injection.stream import send_stream
from mta.model.actor import Actor
from mta.model.idempotency import IdempotencyKey
from mta.ports.admission import Calls, Requester
from mta.ports.idempotency import KeyRefusal

MakePlan = Callable[..., Plan]  # of fields, actor, Unix ms

_MANY: Final = 20  # recipients
_PROTOCOL: Final = "HTTP"  # the "with" keyword of the trace header


@dataclass(frozen=True)
class Door:
    """Everything that these handlers may touch."""

    calls: Calls
    planner: Planner
    aids: CallAids
    limits: CallLimits
    room: CallRoom
    folder: str  # for answers that are too long for the memory


DOOR = web.AppKey("door", Door)


async def send_message(request: web.Request) -> web.StreamResponse:
    """Accept the messages of a call."""
    door = request.app[DOOR]
    if request.content_type != NDJSON_TYPE:
        return await _accept(request, _Form(door.planner.plan, door.planner.places, door.aids))
    read_no_query(request)
    refuse_key(request)
    _check_refusal(door)
    with door.room.one_more():
        requester, most = requester_of(actor_of(request)), door.limits.body
        return await send_stream(request, door.calls, door.planner, door.aids, requester, most, door.folder)


async def inject_message(request: web.Request) -> web.StreamResponse:
    """Accept one message as MailerQ's JSON has it."""
    plan = partial(plan_injected, request.app[DOOR].planner)
    return await _accept(request, _Form(plan, plan))


class _Form(NamedTuple):
    """A form in which a call hands mail in."""

    plan: MakePlan
    places: MakePlan  # of a call whose messages were made before
    aids: CallAids | None = None  # that such a call may ask for

    async def planned(self, body: JsonBody, actor: Actor, at: int, mark: bytes = b"") -> tuple[Plan, bytes]:
        """The plan, and the mark of the template that it was made of. `at`: Unix ms from which relative times count;
        `mark`: of the template that the call had when it was made before."""
        plan = self.plan
        if self.aids is not None:
            aids, mark = await self.aids.marked(body.fields, actor, mark)
            plan = partial(plan, aids=aids)
        return await _beside(plan, body, actor, at), mark


async def _beside(plan: MakePlan, body: JsonBody, actor: Actor, at: int) -> Plan:
    """A plan that takes long is made in a thread, so that the loop goes on."""
    if body.size > LARGE or _has_many(body.fields):
        return await asyncio.to_thread(plan, body.fields, actor, at)
    return plan(body.fields, actor, at)


def _has_many(fields: Mapping[str, Any]) -> bool:
    """Whether so many messages may have to be made that the loop would wait for them."""
    to = fields.get("to")
    return isinstance(to, list) and len(to) > _MANY


async def _accept(request: web.Request, form: _Form) -> web.StreamResponse:
    read_no_query(request)
    door, actor, key = request.app[DOOR], actor_of(request), key_in(request)
    _check_refusal(door)
    with door.room.one_more() as room:
        body = await read_json(request, door.limits.body, room, hashed=bool(key))
        if key:
            return await _accept_once(door, body, keyed(request, actor, key, body), actor, form)
        made, _ = await form.planned(body, actor, now_ms())
        call = door.calls.begin(requester_of(actor), made.sender, made.asked)
        handed = await call.submit(made.drafts)
    return answer(made.places, handed)


async def _accept_once(
    door: Door, body: JsonBody, key: IdempotencyKey, actor: Actor, form: _Form
) -> web.StreamResponse:
    """Accept the messages of a call that has a key, if none had it before."""
    try:
        async with door.calls.work_on(key) as work:
            at = work.began_at or now_ms()
            if work.is_complete:
                made = await _beside(form.places, body, actor, at)
                return replay(made.places, work.earlier)
            made, work.note = await form.planned(body, actor, at, work.note)
            call = door.calls.begin(requester_of(actor), made.sender, made.asked, work)
            later = await call.submit(made.drafts[len(work.earlier) :])
            return answer(made.places, [*work.earlier, *later])
    except KeyRefusal as refused:
        raise key_problem(refused) from None


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
