"""Query strings, read strictly: only the parameters that a resource has, each of them once unless it may repeat."""

from collections.abc import Collection
from typing import Any, TypeVar

from aiohttp import web
from msgspec import Struct

from control_api.http.bodies import read_fields
from control_api.schemas.queries import NoQuery, WaitQuery
from control_api.schemas.reading import Body, check_names, read_struct
from mta.model.errors import BadValue

_NOUN = "a parameter of this resource"
_Query = TypeVar("_Query", bound=Struct)


def read_query(request: web.Request, struct: type[_Query]) -> _Query:
    """The parameters as a struct. Raises BadValue."""
    asked = Body("", struct)
    return read_struct(struct, _parameters(request, asked.fields(), asked.lists()), _NOUN)


def read_no_query(request: web.Request) -> None:
    """For a resource without parameters. Raises BadValue."""
    read_query(request, NoQuery)


async def read_query_or_body(request: web.Request, body: Body) -> tuple[dict[str, Any], WaitQuery]:
    """The fields of a body, which may stand in the query string of a method whose body some clients cannot send, and
    the wait, which is in the query. Raises BadValue, and Problem as `read_fields` does."""
    given = _parameters(request, {*body.fields(), "wait"}, body.lists())
    wait = read_struct(WaitQuery, {"wait": given.pop("wait")} if "wait" in given else {}, _NOUN)
    if not request.body_exists:
        return given, wait
    if any(name != "wait" for name in request.query):
        raise BadValue("body", "cannot be combined with fields in the query; give them in one of the two")
    return await read_fields(request, body.lists()), wait


def _parameters(request: web.Request, known: Collection[str], lists: Collection[str]) -> dict[str, Any]:
    """By name, those that may repeat as lists."""
    check_names(list(request.query), known, _NOUN)
    found: dict[str, Any] = {}
    for name, value in request.query.items():
        if name in lists:
            found.setdefault(name, []).append(value)
        elif name in found:
            raise BadValue(name, "stands twice in the query; give it once")
        else:
            found[name] = value
    return {name: value for name, value in found.items() if value != "*"}
