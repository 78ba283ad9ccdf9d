"""Reply entries over REST: the knowledge about replies that all nodes share, and the replies that nobody knows yet."""

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.dependencies import Dependencies
from control_api.http.bodies import read_fields
from control_api.http.problems import Problem, json_response
from control_api.http.query import read_no_query, read_query
from control_api.http.times import shown
from control_api.schemas import reply_shapes as shapes
from control_api.schemas.answers import known
from mta.model.audit import Deed
from mta.model.errors import BadValue
from mta.model.replies import ReplyEntry, category_of
from mta.model.text import visible


async def list_entries(request: web.Request) -> web.Response:
    """In the order in which a reply meets them, those that are hidden left out."""
    asked = read_query(request, shapes.EntriesQuery)
    every = [
        entry
        for entry in await _entries(dependencies.of(request))
        if asked.category in (None, entry.category) and asked.layer in (None, entry.layer)
    ]
    start = 0
    if asked.cursor is not None:
        places = [place for place, entry in enumerate(every) if entry.name == asked.cursor]
        start = places[0] + 1 if places else len(every)
    page = every[start : start + asked.limit]
    cursor = page[-1].name if len(every) > start + len(page) else None
    return json_response(shapes.Entries(replies=page, cursor=cursor))


async def list_unknown(request: web.Request) -> web.Response:
    """The most frequent first."""
    asked = read_query(request, shapes.UnknownQuery)
    found = [
        shapes.UnknownReply(
            provider=visible(reply.provider),
            code=reply.code,
            text=visible(reply.text),
            count=many,
            last_at=shown(last_at),
            **known({"enhanced": reply.enhanced or None}),
        )
        for reply, many, last_at in (await dependencies.of(request).replies.unknown())[: asked.limit]
    ]
    return json_response(shapes.UnknownReplies(replies=found))


async def put_entry(request: web.Request) -> web.Response:
    """201: there was none of this name in the cluster."""
    from mta.policy.replies import fault_of  # RE2 is loaded with the first entry that comes

    read_no_query(request)
    name = _name(request)
    given = shapes.ENTRY.read(await read_fields(request, shapes.ENTRY.lists()), "a field of a reply entry")
    entry = ReplyEntry(**given)
    fault = fault_of(entry)
    if fault is not None:
        raise fault
    deps = dependencies.of(request)
    await deps.audit.note(actor_of(request), Deed("replies.put", name, after=msgspec.to_builtins(entry)))
    created = await deps.replies.put(name, entry)
    return json_response(_shown(name, entry, "cluster"), 201 if created else 200)


async def delete_entry(request: web.Request) -> web.Response:
    """200 with the entry as it was. A settings file or the shipped list may have one of the same name."""
    read_no_query(request)
    name, deps = _name(request), dependencies.of(request)
    shared = await deps.replies.entries()
    entry = None if shared is None else shared.entries.get(name)
    if entry is None:
        words = f"the cluster has no reply entry {name}; to take a shipped one out of use, put one with enabled: false"
        raise Problem(404, words)
    await deps.audit.note(actor_of(request), Deed("replies.remove", name, before=msgspec.to_builtins(entry)))
    await deps.replies.remove(name)
    return json_response(_shown(name, entry, "cluster"))


def _name(request: web.Request) -> str:
    name: str = shapes.ENTRY_NAME.read(request.match_info["name"], "name")
    if name in ("unknown", "version"):
        raise BadValue("name", "is taken; give another one")
    return name


async def _entries(deps: Dependencies) -> list[shapes.Entry]:
    shared = await deps.replies.entries()
    layers: list[tuple[str, Mapping[str, ReplyEntry]]] = [
        ("cluster", {} if shared is None else shared.entries),
        ("settings", deps.own_replies),
        ("shipped", deps.shipped_replies()),
    ]
    found: dict[str, shapes.Entry] = {}
    for layer, entries in layers:
        for name, entry in entries.items():
            found.setdefault(name, _shown(name, entry, layer))
    return list(found.values())


def _shown(name: str, entry: ReplyEntry, layer: str) -> shapes.Entry:
    fields: dict[str, Any] = {
        "pattern": entry.pattern or None,
        "code": list(entry.code) or None,
        "enhanced": entry.enhanced or None,
        "provider": entry.provider or None,
        "sample": entry.sample or None,
        "source": entry.source or None,
    }
    return shapes.Entry(
        name=name,
        layer=layer,  # type: ignore[arg-type]  # one of three
        category=category_of(entry.category) or entry.category,
        fault=entry.fault,
        reaction=entry.reaction,
        enabled=entry.enabled,
        **known(fields),
    )
