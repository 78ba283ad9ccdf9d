"""Query strings, read strictly: only the parameters that a resource has, each of them once unless it may repeat."""

from collections.abc import Collection
from typing import Any

from aiohttp import web

from mta.model.errors import BadValue
from mta.model.units import parse_duration

MAX_LIMIT = 10_000
LONGEST_WAIT = 600.0  # seconds


def read_query(request: web.Request, once: Collection[str] = (), repeatable: Collection[str] = ()) -> dict[str, str]:
    """The single parameters by name; `*` as a whole value means absent. Raises BadValue."""
    found: dict[str, str] = {}
    for name, value in request.query.items():
        if name in repeatable:
            continue
        if name not in once:
            allowed = ", ".join(sorted((*once, *repeatable))) or "none"
            raise BadValue(name[:100], f"is not a parameter of this resource; it has: {allowed}")
        if name in found:
            raise BadValue(name, "stands twice in the query; give it once")
        found[name] = value
    return {name: value for name, value in found.items() if value != "*"}


def read_query_fields(request: web.Request, names: Collection[str], lists: Collection[str]) -> dict[str, Any]:
    """The fields of a body as they may stand in the query of a method whose body some clients cannot send; beside
    `wait`. Raises BadValue."""
    found: dict[str, Any] = read_query(request, (*sorted(set(names).difference(lists)), "wait"), lists)
    found.pop("wait", None)
    for name in lists:
        if name in request.query:
            found[name] = request.query.getall(name)
    return found


def read_limit(value: str | None, default: int | None) -> int | None:
    if value is None:
        return default
    if value.isascii() and value.isdigit() and len(value) < 6 and 1 <= int(value) <= MAX_LIMIT:
        return int(value)
    raise BadValue("limit", f"is not a whole number from 1 to {MAX_LIMIT}")


def read_wait(value: str | None, field: str, default: float, most: float) -> float:
    """Seconds, at most `most`."""
    seconds = default if value is None else parse_duration(value, field)
    if seconds > most:
        raise BadValue(field, f"is longer than {most:g} s")
    return seconds


def cursor_of(*key: str) -> str:
    """An opaque cursor that stands behind the item with this key; `~` is in no part of a key."""
    return "~".join(key)


def read_cursor(value: str | None, parts: int) -> tuple[str, ...] | None:
    """The key that `cursor_of` was given, of as many parts. Raises BadValue."""
    if value is None:
        return None
    key = tuple(value.split("~"))
    if len(key) != parts or not all(part.isascii() and part.isprintable() and part for part in key):
        raise BadValue("cursor", "is not a cursor of this list; take it from the answer before")
    return key
