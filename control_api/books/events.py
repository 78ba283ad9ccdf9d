"""Live events as a stream that a browser or a script can read (server-sent events, WHATWG HTML 9.2)."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
from aiohttp import hdrs, web

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.books.missed_events import MissedEvents, parse_place
from control_api.dependencies import Dependencies
from control_api.http.operation import Answer, Example, Operation, Parameter
from control_api.http.problems import Problem
from control_api.http.query import read_query
from control_api.schemas.queries import EventsQuery
from mta.model.actor import Actor
from mta.model.errors import StoreError
from mta.model.events import EventType
from mta.model.scopes import Scope

MAX_WATCHERS = 100
_WATCH_AGAIN = 20.0  # seconds; the store forgets a watcher after a minute
_KEEP_ALIVE = 15.0
_BATCH = 500
_TURN = 1.0  # seconds that one look may wait
MAY_LACK = "some events may be missing: history cannot tell them"

WATCHERS = web.AppKey("watchers", set[asyncio.Task[Any]])


class Filter:
    """The events that a watcher wants: all that is given must match, one of the types suffices."""

    def __init__(self, asked: EventsQuery, actor: Actor) -> None:
        self._actor = actor
        self._tag = asked.tag
        self._domain = asked.domain
        self._pool = asked.pool
        self._tenant = asked.tenant
        self._recipient = None if asked.recipient is None else asked.recipient.lower()
        self._rule = asked.rule
        self._types = frozenset(asked.types)

    def takes(self, event: dict[str, Any]) -> bool:
        return (
            self._actor.sees(event.get("tenant"))
            and (event.get("type") != EventType.AUDIT or self._actor.may(Scope.ADMIN))
            and (not self._types or event.get("type") in self._types)
            and (self._tag is None or self._tag in event.get("tags", ()))
            and (self._domain is None or event.get("domain") == self._domain)
            and (self._pool is None or event.get("pool") == self._pool)
            and (self._tenant is None or event.get("tenant") == self._tenant)
            and (self._recipient is None or event.get("recipient", "").lower() == self._recipient)
            and (self._rule is None or event.get("forced", {}).get("rule") == self._rule)
        )

    def shown(self, event: dict[str, Any], line: bytes) -> bytes:
        """The line of the event; the addresses of those who order are the administrator's to know."""
        if event.get("type") != EventType.RULE or (self._actor.may(Scope.ADMIN) and not self._actor.tenant):
            return line
        return orjson.dumps({name: value for name, value in event.items() if name != "client"})


async def stream_events(request: web.Request) -> web.StreamResponse:
    """The events from now on, or from behind `Last-Event-ID` on, until the limit or the time is reached."""
    asked = read_query(request, EventsQuery)
    last_id = request.headers.get("Last-Event-ID")
    place = None if last_id is None else parse_place(last_id)
    watchers = request.app[WATCHERS]
    if len(watchers) >= MAX_WATCHERS:
        raise Problem(
            503, f"{MAX_WATCHERS} watchers are connected already; no more are served", headers={"Retry-After": "10"}
        )
    task = asyncio.current_task()
    assert task is not None
    watchers.add(task)
    try:
        deps = dependencies.of(request)
        missed = None
        if place is not None and (place.at is not None or await deps.tail.lacks(place.tail)):
            missed = MissedEvents(deps, place)
        await deps.tail.watch()
        start = place.tail if place is not None else await deps.tail.newest()
        response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        await _send(response, deps, Filter(asked, actor_of(request)), start, missed, asked)
    finally:
        watchers.discard(task)
    return response


async def _send(
    response: web.StreamResponse,
    deps: Dependencies,
    wanted: Filter,
    start: str,
    missed: MissedEvents | None,
    asked: EventsQuery,
) -> None:
    left = asked.limit
    try:
        await response.write(f": watching from {start}\n\n".encode())
        async for tail_id, line in _all(deps, start, missed, asked.lasting):
            if not line:
                await response.write(f": {tail_id}\n\n".encode())
                continue
            event = orjson.loads(line)
            if not wanted.takes(event):
                continue
            await response.write(
                f"id: {tail_id}\nevent: {event['type']}\ndata: ".encode() + wanted.shown(event, line) + b"\n\n"
            )
            if left is not None:
                left -= 1
                if left == 0:
                    break
        await response.write_eof()
    except ConnectionError:
        pass  # the watcher went away
    except StoreError:
        await response.write_eof()  # it comes back with Last-Event-ID


async def _all(
    deps: Dependencies, start: str, missed: MissedEvents | None, lasting: float | None
) -> AsyncIterator[tuple[str, bytes]]:
    """(id, line) of the events that were missed, then of those that happen; a remark stands without a line."""
    told: set[str] = set()
    if missed is not None:
        begun = time.monotonic()
        async for found in missed.tell():
            yield found
            if lasting is not None and time.monotonic() >= begun + lasting:
                return
        lasting = None if lasting is None else max(0.0, begun + lasting - time.monotonic())
        told = missed.told
        if missed.may_lack:
            yield MAY_LACK, b""
    async for tail_id, line in _follow(deps, start, lasting):
        if not told or not line or orjson.loads(line).get("event") not in told:
            yield tail_id, line


async def _follow(deps: Dependencies, after: str, lasting: float | None) -> AsyncIterator[tuple[str, bytes]]:
    """(tail id, line) until the time is over; a remark without a line where nothing was said for a while."""
    end = None if lasting is None else time.monotonic() + lasting
    watched = said = time.monotonic()
    while True:
        now = time.monotonic()
        if end is not None and now >= end:
            return
        if now - watched >= _WATCH_AGAIN:
            await deps.tail.watch()
            watched = now
        if now - said >= _KEEP_ALIVE:
            said = now
            yield "still here", b""
        found = await deps.tail.follow(after, _BATCH, _TURN if end is None else min(_TURN, end - now))
        for after, line in found:
            yield after, line


async def release_watchers(app: web.Application) -> None:
    """On shutdown: streams have no end of their own."""
    watchers: set[asyncio.Task[Any]] = app[WATCHERS]
    for task in tuple(watchers):
        task.cancel()


STREAM = Operation(
    "GET",
    "/v1/events",
    stream_events,
    "streamEvents",
    "Live events",
    (Answer(200, {"type": "string"}, "server-sent events", media="text/event-stream"),),
    Example("/v1/events?tag=spring-sale&for=1s"),
    scope=Scope.MESSAGES_READ,
    for_tenants=True,
    headers=(Parameter("Last-Event-ID", {"type": "string"}, "go on behind this event; history tells what was missed"),),
    query=EventsQuery,
)
