"""Suppressions over REST: one made, lists, removals by filter, and exports."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

from aiohttp import hdrs, web

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.dependencies import Dependencies
from control_api.history.lines import csv_header, csv_rows
from control_api.http.bodies import read_fields
from control_api.http.problems import json_response
from control_api.http.query import read_query
from control_api.http.times import now_ms
from control_api.schemas import suppression_shapes as shapes
from control_api.suppressions.selection import Selection, fields_of, made
from mta.model import process_metrics as told
from mta.model.audit import Deed
from mta.model.errors import BadValue, StoreError
from mta.model.json_lines import json_lines
from mta.model.suppressions import Suppressed
from mta.ports.suppressions import SuppressionPlace

_LONGEST_SEARCH: Final = 0.25  # seconds for a page
_LOOK_EVERY: Final = 0.1  # seconds
_AT_ONCE: Final = 500  # lines that are made without letting the loop run


async def add_suppression(request: web.Request) -> web.Response:
    """201: there was none for this address or domain, tenant and topic."""
    asked = read_query(request, shapes.AddQuery)
    given = shapes.SUPPRESSION.read(await read_fields(request), "a field of a suppression")
    deps, actor = dependencies.of(request), actor_of(request)
    item = made(given, actor, now_ms())
    deed = Deed("suppressions.put", item.key.subject, after=fields_of(item), tenant=item.key.tenant)
    await deps.audit.note(actor, deed)
    number, added = await deps.suppressions.put([item])
    effective = await in_force(deps, number, deps.api.wait if asked.wait is None else asked.wait)
    return json_response(shapes.AddedSuppression(effective=effective, **fields_of(item)), 201 if added else 200)


async def in_force(deps: Dependencies, number: int, wait: float) -> bool:
    """Whether every process of this node has put this announcement in force, now or within `wait` seconds."""
    until = asyncio.get_running_loop().time() + wait
    while True:
        states = (await deps.rules.sessions()).values()
        known = [
            one.metrics.get(told.SUPPRESSIONS_CHANGE.key) for one in states if one.node == deps.node and not one.dead
        ]
        if all(one is None or one >= number for one in known):
            return True
        if asyncio.get_running_loop().time() >= until:
            return False
        await asyncio.sleep(_LOOK_EVERY)


async def list_suppressions(request: web.Request) -> web.Response:
    """In the order of the store."""
    asked = read_query(request, shapes.SuppressionsQuery)
    deps, selection = dependencies.of(request), Selection(asked, actor_of(request))
    found: list[Suppressed] = []
    place: SuppressionPlace | None = asked.cursor or SuppressionPlace()
    until = time.monotonic() + _LONGEST_SEARCH
    while place is not None:
        page = await deps.suppressions.page(place, selection.subject)
        room, looked = asked.limit - len(found), 0
        for item in page.items:
            if room == 0:
                break
            looked += 1
            if selection.takes(item):
                found.append(item)
                room -= 1
        place = place._replace(skip=place.skip + looked) if looked < len(page.items) else page.after
        if room == 0 or time.monotonic() >= until:
            break
        await deps.turns.rest()
    shown = [shapes.Suppression(**fields_of(item)) for item in found]
    return json_response(
        shapes.Suppressions(suppressions=shown, cursor=None if place is None else shapes.cursor_of(place))
    )


async def remove_suppressions(request: web.Request) -> web.Response:
    """By filter; a dry run counts."""
    asked = read_query(request, shapes.RemovalQuery)
    fields = {name: getattr(asked, name) for name in shapes.SuppressionFilter.__struct_fields__}
    given = {name: value for name, value in fields.items() if value is not None}
    if not given:
        names = "address, domain, tenant, topic, reason, from, until, text"
        raise BadValue("address", f"no filter is given, which would remove all suppressions; give one of {names}")
    deps, actor = dependencies.of(request), actor_of(request)
    selection, matched, removed = Selection(asked, actor), 0, 0
    if not asked.dry_run:
        await deps.audit.note(
            actor, Deed("suppressions.remove", asked.address or "", before=given, tenant=actor.tenant)
        )
    async for items in selection.all(deps):
        matched += len(items)
        if items and not asked.dry_run:
            removed += await deps.suppressions.remove([item.key for item in items])
    return json_response(shapes.RemovedSuppressions(matched=matched, removed=removed))


async def export_suppressions(request: web.Request) -> web.StreamResponse:
    """A stream of any length, in the order of the store."""
    asked = read_query(request, shapes.ExportQuery)
    deps, selection = dependencies.of(request), Selection(asked, actor_of(request))
    pages = aiter(selection.all(deps))
    first = await anext(pages, ())  # the store is there
    is_csv = asked.format == "csv"
    media = "text/csv; charset=utf-8" if is_csv else "application/x-ndjson"
    response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: media})
    await response.prepare(request)
    try:
        if is_csv:
            await response.write(csv_header(shapes.COLUMNS))
        await _write(deps, response, first, is_csv)
        async for items in pages:
            await _write(deps, response, items, is_csv)
        await response.write_eof()
    except StoreError:  # the client must not take a part for the whole
        response.force_close()
        if request.transport is not None:
            request.transport.abort()
    except ConnectionError:
        pass  # the client went away
    return response


async def _write(deps: Dependencies, response: web.StreamResponse, items: Sequence[Suppressed], is_csv: bool) -> None:
    for at in range(0, len(items), _AT_ONCE):
        rows = [fields_of(item) for item in items[at : at + _AT_ONCE]]
        await response.write(csv_rows([_cells(row) for row in rows]) if is_csv else json_lines(rows))
        await deps.turns.rest()


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(row.get(name, "") for name in shapes.COLUMNS)
