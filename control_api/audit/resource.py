"""The audit over REST: the newest orders first, page by page."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from aiohttp import web
from msgspec import UNSET

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.audit.reading import AuditReading
from control_api.http.operation import Answer, Example, Group, Operation
from control_api.http.problems import json_response
from control_api.http.query import read_query
from control_api.schemas.answers import known
from control_api.schemas.audit_shapes import AuditEntry, AuditPage, AuditQuery
from mta.model.actor import Actor
from mta.model.entries import order_of
from mta.model.events import EventType
from mta.model.scopes import Scope
from mta.model.text import visible
from mta.model.units import format_time
from mta.ports.audit import NotedEvent

_LOOKED_AT: Final = 20_000  # events after which a page ends although it is shorter than its limit
_PIECE: Final = 500
_SKEW: Final = 3_600_000  # ms; an event's time is of a node's clock, and the name of its entry has the store's


async def show_audit(request: web.Request) -> web.Response:
    """A page of the audit."""
    asked, actor = read_query(request, AuditQuery), actor_of(request)
    deps = dependencies.of(request)
    reading = AuditReading(deps.audit, deps.history)
    found: list[AuditEntry] = []
    below: str | None = asked.cursor
    if below is None and asked.until is not None:
        below = f"{asked.until + _SKEW}-0"
    seen = 0
    while seen < _LOOKED_AT:
        page = await reading.before(below or "", _PIECE)
        for place, noted in enumerate(page):
            below = noted.entry
            if takes(asked, actor, noted):
                found.append(shown_entry(noted))
            # Events of one entry belong to one page: the cursor names entries.
            last = place + 1 == len(page) or page[place + 1].entry != noted.entry
            if last and len(found) >= asked.limit:
                return _answer(found, below, reading)
        seen += len(page)
        if not page or _is_before(below, asked.since):
            below = None
            break
        await deps.turns.rest()
    return _answer(found, below, reading)


def _is_before(entry: str | None, since: int | None) -> bool:
    """Nothing older than the entry can be of the time that is asked for."""
    return entry is not None and since is not None and order_of(entry)[0] < since - _SKEW


def _answer(found: list[AuditEntry], cursor: str | None, reading: AuditReading) -> web.Response:
    missing = visible(reading.missing) if reading.missing else UNSET
    return json_response(AuditPage(entries=found, cursor=cursor, older_missing=missing))


def takes(asked: AuditQuery, actor: Actor, noted: NotedEvent) -> bool:
    """Whether the entry is one of an order that the query selects, and the actor may see."""
    event = noted.event
    told = event.properties or {}
    action = action_of(event.type, told)
    names = {event.actor, event.actor.rpartition(" (")[0] or event.actor, told.get("token", "")}
    return (
        action != ""
        and actor.sees(event.tenant)
        and (asked.action is None or action == asked.action or action.partition(".")[0] == asked.action)
        and (asked.of is None or asked.of == told.get("of", told.get("rule", "")))
        and (asked.by is None or asked.by in names)
        and (asked.tenant is None or event.tenant == asked.tenant)
        and (asked.since is None or event.time >= asked.since)
        and (asked.until is None or event.time < asked.until)
    )


def action_of(kind: EventType, told: Mapping[str, str]) -> str:
    """The action of an entry; "" = the event is no order."""
    if kind is EventType.AUDIT:
        return told.get("action", "")
    if told.get("op") not in ("put", "remove", "regain"):
        return ""
    return f"{told.get('kind', 'error')}.{told.get('change', '')}"


def shown_entry(noted: NotedEvent) -> AuditEntry:
    event = noted.event
    told = event.properties or {}
    is_rule = event.type is EventType.RULE
    more: dict[str, Any] = {
        "token": told.get("token"),
        "client": event.client or None,
        "tenant": event.tenant or None,
        "generation": event.forced.generation if is_rule and event.forced is not None else None,
        "before": _as_object(told.get("before")),
        "after": _as_object(told.get("after")),
        "reason": visible(event.reason) if event.reason else None,
    }
    return AuditEntry(
        event=noted.event_id,
        at=format_time(event.time),
        action=action_of(event.type, told),
        of=told.get("of", told.get("rule", "")),
        by=visible(event.actor),
        result="done" if is_rule else told.get("result", ""),
        **known(more),
    )


def _as_object(raw: str | None) -> Any:
    return None if not raw else msgspec.json.decode(raw)


SHOW = Operation(
    "GET",
    "/v1/audit",
    show_audit,
    "showAudit",
    "Orders, the newest first: actor, time, origin, and the state before and after",
    (Answer(200, AuditPage, "a page"),),
    Example("/v1/audit?limit=10"),
    scope=Scope.ADMIN,
    for_tenants=True,
    description="The store keeps the last 20,000 events of rules and of orders beside them; older ones come from "
    "history, as far as history.retention reaches. A page may be shorter than limit, and another one follows as long "
    "as cursor is not null.",
    query=AuditQuery,
)

OPERATIONS = Group("Audit", "The record of all orders.", (SHOW,))
