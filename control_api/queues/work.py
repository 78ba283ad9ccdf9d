"""Orders about waiting mail: its next attempt is due now, or it goes to another pool."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.dependencies import Dependencies
from control_api.http.bodies import read_fields
from control_api.http.operation import BODY_REFUSALS, Answer, Example, Operation
from control_api.http.problems import Problem, json_response
from control_api.http.query import read_query
from control_api.pools.in_force import pools_in_force
from control_api.queues.tenancy import tenant_of
from control_api.schemas.queries import WaitQuery
from control_api.schemas.queue_answers import QueueWorkDone
from control_api.schemas.queue_bodies import MOVE, RETRY, MailSelectors, MoveOrder, RetryOrder
from control_api.schemas.reading import Body
from control_api.schemas.values import work_cursor_of
from mta.model.actor import Actor
from mta.model.audit import Deed
from mta.model.errors import BadValue
from mta.model.scopes import Scope
from mta.policy.pools import owners
from mta.policy.served_pools import unserved
from mta.ports.queue_work import MailSelection, WorkDone, WorkPlace

_START: Final = WorkPlace()
_NOUN: Final = "a field of this order"

Work = Callable[[MailSelection, WorkPlace, float], Awaitable[WorkDone]]


async def retry(request: web.Request) -> web.Response:
    """Make the selected mail due now."""
    order = RetryOrder(**await _read(request, RETRY))
    return await _work(request, "queue.retry", order, dependencies.of(request).queue_work.retry)


async def move(request: web.Request) -> web.Response:
    """Move the selected mail to another pool."""
    order = MoveOrder(**await _read(request, MOVE))
    deps = dependencies.of(request)
    await _check_served(deps, order.to_pool)

    async def work(selection: MailSelection, rest: WorkPlace, until: float) -> WorkDone:
        return await deps.queue_work.move(selection, order.to_pool, rest, until)

    return await _work(request, "queue.move", order, work)


async def _read(request: web.Request, body: Body) -> dict[str, Any]:
    return body.read(await read_fields(request), _NOUN)


async def _work(request: web.Request, action: str, order: RetryOrder, work: Work) -> web.Response:
    """200 when all is done, 202 with a cursor when the time that the client waits is over."""
    asked = read_query(request, WaitQuery)
    deps, actor = dependencies.of(request), actor_of(request)
    wait = deps.api.wait if asked.wait is None else asked.wait
    selection = selection_of(order, actor)
    if order.cursor is None:  # else it goes on
        await deps.audit.note(actor, _deed(action, selection, order))
    done = await work(selection, order.cursor or _START, time.monotonic() + wait)
    cursor = None if done.rest is None else work_cursor_of(done.rest)
    answer = QueueWorkDone(moved=done.moved, seen=done.seen, kept=done.kept, cursor=cursor)
    return json_response(answer, 200 if cursor is None else 202)


def _deed(action: str, selection: MailSelection, order: RetryOrder) -> Deed:
    chosen = {name: value for name, value in selection._asdict().items() if value is not None}
    more = {"to_pool": order.to_pool} if isinstance(order, MoveOrder) else {}
    words = " ".join(f"{name}={value}" for name, value in chosen.items()) or "everything"
    return Deed(action, words, after=chosen | more, tenant=selection.tenant or "")


def selection_of(selectors: MailSelectors, actor: Actor) -> MailSelection:
    """Of the mail that the actor sees. Raises BadValue where nothing is selected and `everything` does not say so."""
    selection = MailSelection(selectors.pool, selectors.domain, selectors.tag, selectors.tenant, selectors.site)
    if selection == MailSelection() and not selectors.everything:
        raise BadValue(
            "everything", "must be true for an order about all mail; or give pool, domain, site, tag or tenant"
        )
    return selection._replace(tenant=tenant_of(actor, selectors.tenant))


async def _check_served(deps: Dependencies, pool: str) -> None:
    """Raises Problem 409 for a pool whose mail would wait for ever."""
    pools = await pools_in_force(deps)
    ips = {"@" + ip for ip in owners(pools)}
    if pool not in pools and pool not in ips and unserved([pool], await deps.rules.sessions()):
        words = f"no node serves pool {pool}; give it an IP that a node holds, or name another pool"
        raise Problem(409, words, "to_pool")


_DONE = (
    Answer(200, QueueWorkDone, "all of it is done"),
    Answer(202, QueueWorkDone, "how far it is; repeat the order with the cursor to go on"),
)

OPERATIONS = (
    Operation(
        "POST",
        "/v1/queues/retry",
        retry,
        "retryQueues",
        "Make waiting mail due now, after an outage of its destination",
        _DONE,
        Example("/v1/queues/retry?wait=5s", {"domain": "example.com"}),
        description="Mail that waits for a time that its sender asked for keeps that time. Deliveries that a worker "
        "has claimed, or that a pause holds, stay as they are.",
        refusals=(404, *BODY_REFUSALS),
        query=WaitQuery,
        body=RETRY,
        scope=Scope.QUEUES_WRITE,
        for_tenants=True,
    ),
    Operation(
        "POST",
        "/v1/queues/move",
        move,
        "moveQueues",
        "Move queued and held mail to another pool",
        _DONE,
        Example("/v1/queues/move?wait=5s", {"domain": "example.com", "to_pool": "default"}),
        description="Each delivery keeps the time of its next attempt, and held mail stays held. Deliveries that a "
        "worker has claimed, and mail that a rule is to end or to hold, stay where they are.",
        refusals=(404, *BODY_REFUSALS, 409),
        query=WaitQuery,
        body=MOVE,
        scope=Scope.QUEUES_WRITE,
        for_tenants=True,
    ),
)
