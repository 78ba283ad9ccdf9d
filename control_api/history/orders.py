"""Orders about history over REST: the erasure of an address, and a lane whose missing events are given up."""

import asyncio
import secrets
import time
from typing import Final

from aiohttp import web
from msgspec import UNSET

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.http.bodies import read_fields
from control_api.http.operation import BODY_REFUSALS, Answer, Example, Operation, a_parameter
from control_api.http.problems import Problem, json_response
from control_api.http.query import read_no_query, read_query
from control_api.http.times import now_ms
from control_api.schemas.history_orders import (
    ERASURE_ID,
    FORGET,
    SKIP,
    Erasing,
    ForgetOrder,
    LogWithAddress,
    SkipOrder,
    Skipped,
)
from control_api.schemas.queries import WaitQuery
from mta.model.audit import Deed
from mta.model.scopes import Scope
from mta.ports.history_orders import Erasure

_LOOK: Final = 0.1  # seconds


async def forget(request: web.Request) -> web.Response:
    """The journals erase the address; 202 while one of them has not answered."""
    order = ForgetOrder(**FORGET.read(await read_fields(request), "a field of this order"))
    wait = read_query(request, WaitQuery).wait
    deps = dependencies.of(request)
    await deps.history.coverage()  # where this node has no history, the refusal says why
    erasure = Erasure(secrets.token_hex(16), order.address, secrets.token_hex(32), now_ms())
    # The audit names the erasure and not the address: its events stay in the logs.
    await deps.audit.note(actor_of(request), Deed("history.forget", erasure.id))
    await deps.history_orders.erase(erasure)
    end = time.monotonic() + (deps.api.wait if wait is None else wait)
    found = await _state(request, erasure.id)
    while found.state == "running" and time.monotonic() < end:
        await asyncio.sleep(_LOOK)
        found = await _state(request, erasure.id)
    return json_response(found, 200 if found.state == "done" else 202)


async def show_erasure(request: web.Request) -> web.Response:
    """How far an erasure is."""
    read_no_query(request)
    erasure = ERASURE_ID.read(request.match_info["id"], "id")
    known = await dependencies.of(request).history_orders.erasures()
    found = await _state(request, erasure)
    if found.state == "running" and not any(one.id == erasure for one in known):
        raise Problem(404, "no erasure with this id is known; an hour after its end it is forgotten")
    return json_response(found)


async def skip(request: web.Request) -> web.Response:
    """History goes on without events that it waits for."""
    read_no_query(request)
    order = SkipOrder(**SKIP.read(await read_fields(request), "a field of this order"))
    deps = dependencies.of(request)
    await deps.audit.note(actor_of(request), Deed("history.skip", order.lane))
    await deps.history_orders.skip(order.lane)
    return json_response(Skipped(lane=order.lane))


async def _state(request: web.Request, erasure: str) -> Erasing:
    """Its address is kept no longer once every living journal has reported."""
    deps = dependencies.of(request)
    reports = await deps.history_orders.reports(erasure)
    journals = {journal.node for journal in await deps.journals.journals()}
    waiting = sorted(journals - {report.node for report in reports})
    is_done = bool(reports) and not waiting
    if is_done:
        await deps.history_orders.end(erasure)
    return Erasing(
        id=erasure,
        state="done" if is_done else "running",
        deliveries=sum(report.deliveries for report in reports),
        events=sum(report.events for report in reports),
        log_files=[LogWithAddress(node=report.node, path=path) for report in reports for path in report.files],
        waiting=waiting or UNSET,
    )


OPERATIONS = (
    Operation(
        "POST",
        "/v1/history/forget",
        forget,
        "forgetAddress",
        "Erase an address from history",
        (
            Answer(200, Erasing, "it is erased"),
            Answer(202, Erasing, "a journal has not answered yet; ask again with the id"),
        ),
        Example("/v1/history/forget?wait=10s", {"address": "someone@example.com"}),
        description="A salted hash takes the place of the address, of the replies' texts and of the metadata in every "
        "delivery from or to it; dialogues are removed. The answer names the files of delivery logs that still have "
        "it. Mail that is still queued brings it back: let it end first.",
        scope=Scope.ADMIN,
        refusals=BODY_REFUSALS,
        query=WaitQuery,
        body=FORGET,
    ),
    Operation(
        "GET",
        "/v1/history/forget/{id}",
        show_erasure,
        "showErasure",
        "The progress of the erasure of an address",
        (Answer(200, Erasing, "the progress"),),
        Example(f"/v1/history/forget/{'0' * 32}", status=404),
        scope=Scope.ADMIN,
        refusals=(404,),
        path_values=(a_parameter("id", ERASURE_ID),),
    ),
    Operation(
        "POST",
        "/v1/history/skip",
        skip,
        "skipEvents",
        "Give up the events of a lane that history waits for",
        (Answer(200, Skipped, "where a journal waits for them, history shows a Gap and goes on"),),
        Example("/v1/history/skip", {"lane": "3"}),
        description="Use it where a node is gone for good, with events that no other node has.",
        scope=Scope.ADMIN,
        refusals=BODY_REFUSALS,
        body=SKIP,
    ),
)
