"""Parked mail over REST: a list, its release, its removal."""

import time
from collections.abc import Sequence
from typing import Final

from aiohttp import web

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.http.bodies import read_fields
from control_api.http.operation import BODY_REFUSALS, Answer, Example, Operation
from control_api.http.problems import json_response
from control_api.http.query import read_query
from control_api.http.times import now_ms, shown
from control_api.queues.tenancy import tenant_of
from control_api.schemas.answers import known
from control_api.schemas.parked import (
    RELEASE,
    Parked,
    ParkedList,
    ParkedReleased,
    ParkedRemoved,
    ParkedSelectors,
)
from control_api.schemas.queries import ParkedQuery, WaitQuery
from control_api.schemas.values import parked_cursor_of
from mta.model.audit import Deed
from mta.model.errors import BadValue
from mta.model.ids import delivery_text, message_of, message_text
from mta.model.scopes import Scope
from mta.model.text import visible
from mta.model.units import format_time
from mta.ports.parked import ParkedDelivery, ParkedPlace, ParkedSelection

_MOST: Final = 1000  # deliveries in one answer
_NAMED: Final = 100  # lost deliveries that one answer names


async def list_parked(request: web.Request) -> web.Response:
    """A page of the parked mail."""
    asked = read_query(request, ParkedQuery)
    deps = dependencies.of(request)
    selection = ParkedSelection(None, asked.pool, asked.domain, tenant_of(actor_of(request), asked.tenant))
    page = await deps.parked.page(selection, asked.cursor, min(asked.limit, _MOST))
    found = [shown_parked(one) for one in page.deliveries]
    return json_response(ParkedList(as_of=format_time(now_ms()), parked=found, cursor=_cursor(page.behind)))


async def release_parked(request: web.Request) -> web.Response:
    """Selected mail goes back to its queues."""
    order = ParkedSelectors(**RELEASE.read(await read_fields(request, RELEASE.lists()), "a field of this order"))
    asked = read_query(request, WaitQuery)
    selection, rest, until = _selected(request, order, asked.wait)
    await _note(request, "parked.release", selection, order)
    done = await dependencies.of(request).parked.release(selection, actor_of(request), rest, until)
    answer = ParkedReleased(released=len(done.done), unreadable=done.unreadable, cursor=_cursor(done.rest))
    return json_response(answer, 200 if done.rest is None else 202)


async def remove_parked(request: web.Request) -> web.Response:
    """Selected mail is given up."""
    order = read_query(request, ParkedSelectors)
    selection, rest, until = _selected(request, order, order.wait)
    await _note(request, "parked.remove", selection, order)
    done = await dependencies.of(request).parked.remove(selection, actor_of(request), rest, until)
    answer = ParkedRemoved(
        removed=len(done.done),
        uncertain=sum(is_uncertain(one) for one in done.done),
        lost=[shown_parked(one) for one in done.done[:_NAMED]],
        cursor=_cursor(done.rest),
    )
    return json_response(answer, 200 if done.rest is None else 202)


async def _note(request: web.Request, action: str, selection: ParkedSelection, order: ParkedSelectors) -> None:
    """In the audit, unless the order goes on behind a cursor."""
    if order.cursor is None:
        chosen = {name: str(value) for name, value in selection._asdict().items() if value is not None}
        words = " ".join(f"{name}={value}" for name, value in chosen.items()) or "everything"
        deed = Deed(action, words, after=chosen, tenant=selection.tenant or "")
        await dependencies.of(request).audit.note(actor_of(request), deed)


def _selected(
    request: web.Request, order: ParkedSelectors, wait: float | None
) -> tuple[ParkedSelection, ParkedPlace, float]:
    """Raises BadValue where nothing is selected and `everything` does not say so."""
    selection = ParkedSelection(order.id, order.pool, order.domain, order.tenant)
    if selection == ParkedSelection() and not order.everything:
        reason = "must be true for an order about all parked mail; or give id, pool, domain or tenant"
        raise BadValue("everything", reason)
    selection = selection._replace(tenant=tenant_of(actor_of(request), order.tenant))
    seconds = dependencies.of(request).api.wait if wait is None else wait
    return selection, order.cursor or ParkedPlace(), time.monotonic() + seconds


def _cursor(place: ParkedPlace | None) -> str | None:
    return None if place is None else parked_cursor_of(place)


def shown_parked(parked: ParkedDelivery) -> Parked:
    """Untrusted text in it is made visible, as in the log."""
    record = parked.record
    found = known(
        {
            "id": delivery_text(parked.id),
            "message_id": message_text(message_of(parked.id)),
            "pool": parked.queue.pool,
            "domain": parked.queue.domain,
            "since": shown(parked.since),
            "why": why_parked(parked),
            "recipient": visible(record.recipient) if record is not None else None,
            "sender": visible(record.sender) if record is not None else None,
            "tags": _visible(record.tags) if record is not None else None,
            "tenant": (record.tenant or None) if record is not None else None,
            "size": record.size if record is not None else None,
            "attempts": record.attempts if record is not None else None,
            "accepted_at": shown(record.accepted_at) if record is not None else None,
            "uncertain": is_uncertain(parked),
        }
    )
    return Parked(**found)


def why_parked(parked: ParkedDelivery) -> str:
    """For people."""
    if parked.record is None:
        return "its record cannot be read" if parked.raw else "its record is gone"
    return "process after process died or gave up while it held the delivery"


def is_uncertain(parked: ParkedDelivery) -> bool:
    """Whether it may have reached its recipient."""
    return parked.record is None or parked.record.uncertain


def _visible(texts: Sequence[str]) -> list[str]:
    return [visible(text) for text in texts]


OPERATIONS = (
    Operation(
        "GET",
        "/v1/parked",
        list_parked,
        "listParked",
        "The deliveries that Floodgate itself failed to process",
        (Answer(200, ParkedList, "oldest first"),),
        Example("/v1/parked?limit=10"),
        scope=Scope.ADMIN,
        for_tenants=True,
        refusals=(404,),
        query=ParkedQuery,
    ),
    Operation(
        "POST",
        "/v1/parked/release",
        release_parked,
        "releaseParked",
        "Put parked mail back into its queues, due now",
        (
            Answer(200, ParkedReleased, "all of it is done"),
            Answer(202, ParkedReleased, "how far it is; repeat the order with the cursor to go on"),
        ),
        Example("/v1/parked/release?wait=5s", {"domain": "example.com"}),
        description="Its age does not count the time for which it was parked. Mail that cannot be read stays parked.",
        scope=Scope.ADMIN,
        for_tenants=True,
        refusals=(404, *BODY_REFUSALS),
        query=WaitQuery,
        body=RELEASE,
    ),
    Operation(
        "DELETE",
        "/v1/parked",
        remove_parked,
        "removeParked",
        "Give parked mail up: it ends as canceled and is lost",
        (
            Answer(200, ParkedRemoved, "all of it is done"),
            Answer(202, ParkedRemoved, "how far it is; repeat the order with the cursor to go on"),
        ),
        Example("/v1/parked?domain=example.com&wait=5s"),
        description="Each delivery leaves a Cancellation event.",
        scope=Scope.ADMIN,
        for_tenants=True,
        refusals=(404,),
        query=ParkedSelectors,
    ),
)
