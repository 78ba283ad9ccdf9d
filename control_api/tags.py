"""The statement of a tag: what became of all mail that carries it."""

import msgspec
from aiohttp import web

from control_api import dependencies
from control_api.problems import json_response
from control_api.query import read_query
from control_api.rule_body import read_tag
from control_api.times import now_ms
from mta.model.errors import BadValue
from mta.orders.statement import tag_statement


async def show_tag(request: web.Request) -> web.Response:
    """GET /v1/tags/{tag}."""
    read_query(request)
    return await _statement(request, read_tag(request.match_info["tag"], "tag"))


async def find_tag(request: web.Request) -> web.Response:
    """GET /v1/tags?tag=, for tags that a path cannot carry."""
    tags = request.query.getall("tag", [])
    read_query(request, ("tag",))
    if not tags:
        raise BadValue("tag", "is required")
    return await _statement(request, read_tag(tags[0], "tag"))


async def _statement(request: web.Request, tag: str) -> web.Response:
    deps = dependencies.of(request)
    counts = await deps.books.tag(tag)
    table = await deps.catalogue.readable()
    of_tag: list[str] = []
    async for some in deps.turns.slices(list(table.rules())):
        of_tag += [rule.id for rule in some if tag == rule.selectors.tag or tag in (rule.selectors.tags_all or ())]
    statement = tag_statement(tag, counts, sorted(of_tag), now_ms(), tracked=bool(counts))
    return json_response(msgspec.to_builtins(statement))
