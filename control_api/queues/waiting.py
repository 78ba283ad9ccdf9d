"""The deliveries that are queued, page by page."""

from collections.abc import Collection
from typing import Final

from aiohttp import web

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.http.operation import Answer, Example, Operation
from control_api.http.problems import json_response
from control_api.http.query import read_query
from control_api.http.times import now_ms
from control_api.messages.record import message_record
from control_api.queues.tenancy import tenant_of
from control_api.schemas.message_answers import Recipient
from control_api.schemas.queries import WaitingQuery
from control_api.schemas.queue_answers import WaitingMail
from control_api.schemas.values import waiting_cursor_of
from mta.model.ids import message_of
from mta.model.outcomes import Class
from mta.model.scopes import Scope
from mta.model.units import format_time
from mta.policy.served_pools import unserved
from mta.ports.messages import DeliveryStatus
from mta.ports.queue_work import MailSelection
from mta.ports.sweeps import WaitingDelivery

_MOST: Final = 1000  # deliveries in one answer


async def list_waiting(request: web.Request) -> web.Response:
    """A page of the records of queued deliveries."""
    asked = read_query(request, WaitingQuery)
    deps = dependencies.of(request)
    as_of = now_ms()
    tenant = tenant_of(actor_of(request), asked.tenant)
    selection = MailSelection(asked.pool, asked.domain, asked.tag, tenant, asked.site)
    page = await deps.queue_work.waiting(selection, asked.cursor, min(asked.limit, _MOST))
    pools = {one.queue.pool for one in page.deliveries}
    unserved_pools = frozenset(unserved(pools, await deps.rules.sessions())) if pools else frozenset()
    records: list[Recipient] = []
    async for some in deps.turns.slices(page.deliveries):
        records += [shown_delivery(one, as_of, unserved_pools) for one in some]
    cursor = None if page.behind is None else waiting_cursor_of(page.behind)
    return json_response(WaitingMail(as_of=format_time(as_of), messages=records, cursor=cursor))


def shown_delivery(waiting: WaitingDelivery, now: int, unserved_pools: Collection[str]) -> Recipient:
    """The record of a queued delivery; `unserved_pools` are pools that no worker serves."""
    standing = DeliveryStatus(
        waiting.id,
        Class.QUEUED,
        waiting.record,
        due_at=waiting.due_at,
        uncertain=waiting.record.uncertain or waiting.reclaims > 0,
        pool=waiting.queue.pool,
    )
    return message_record(message_of(waiting.id), [standing], now, unserved_pools).recipients[0]


LIST = Operation(
    "GET",
    "/v1/queues/messages",
    list_waiting,
    "listWaiting",
    "The deliveries that are queued, with their next attempts",
    (Answer(200, WaitingMail, "by pool, domain and the time of the next attempt"),),
    Example("/v1/queues/messages?domain=example.com"),
    description="A delivery that a worker has claimed, or that a pause holds, is not in the list.",
    refusals=(404,),
    query=WaitingQuery,
    scope=Scope.QUEUES_READ,
    for_tenants=True,
)
