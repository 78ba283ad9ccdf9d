"""Bodies of requests, read strictly: JSON or a form, every field known, every value of the type it should have."""

import asyncio
import json
import urllib.parse
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, NoReturn

from aiohttp import hdrs, web

from control_api.http.problems import Problem
from mta.model.errors import BadValue

MAX_BODY = 1024 * 1024
MAX_LARGE_BODY = 16 * 1024 * 1024
BODY_TIMEOUT = 30.0
_MAX_FIELDS = 500  # of a form: two lists of 100 tags, one of 250 domains, and all else

JSON_TYPE = "application/json"
NDJSON_TYPE = "application/x-ndjson"
FORM_TYPE = "application/x-www-form-urlencoded"


_KEPT = web.RequestKey("kept_body", bytes)  # where it was read before the handler


async def keep_body(request: web.Request, most: int) -> bytes:
    """The body, which handlers read again. Raises Problem 408, 413."""
    if _KEPT not in request:
        request[_KEPT] = await _in_time(lambda: _up_to(request, most))
    return request[_KEPT]


async def read_fields(request: web.Request, lists: Collection[str] = (), nulls: bool = False) -> dict[str, Any]:
    """The body's fields by name. Raises Problem 408, 413, 415 and BadValue; JSON null means absent, unless `nulls`
    keeps it. In a form, fields of `lists` may repeat and come as lists."""

    async def read() -> bytes:
        if _KEPT not in request:
            return await request.read()
        if len(request[_KEPT]) > MAX_BODY:
            raise web.HTTPRequestEntityTooLarge(MAX_BODY, len(request[_KEPT]))
        return request[_KEPT]

    text = await _text(request, (JSON_TYPE, FORM_TYPE), read)
    fields = parse_json(text) if request.content_type == JSON_TYPE else _form(text, lists)
    return {name: value for name, value in fields.items() if value is not None or nulls}


async def read_large_json(request: web.Request) -> dict[str, Any]:
    """The fields of a JSON body of up to MAX_LARGE_BODY bytes, decoded beside the loop; null means absent. Raises
    Problem 408, 413, 415 and BadValue."""

    async def read() -> bytes:
        return request[_KEPT] if _KEPT in request else await _up_to(request, MAX_LARGE_BODY)

    text = await _text(request, (JSON_TYPE,), read)
    fields = await asyncio.to_thread(parse_json, text)
    return {name: value for name, value in fields.items() if value is not None}


def check_encoding(request: web.Request, types: Sequence[str]) -> None:
    """Raises Problem 415 where the body is none of these types, or not in UTF-8."""
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity").strip().lower() != "identity":
        raise Problem(415, "send the body without Content-Encoding", "Content-Encoding")
    kinds = request.headers.getall(hdrs.CONTENT_TYPE, [])
    if len(kinds) != 1 or request.content_type not in types:
        raise Problem(415, f"send {' or '.join(types)}", "Content-Type")
    if (request.charset or "utf-8").lower() not in ("utf-8", "utf8", "us-ascii"):
        raise Problem(415, "send UTF-8", "Content-Type")


async def _up_to(request: web.Request, most: int) -> bytes:
    """Raises Problem 413."""
    found = bytearray()
    async for chunk in request.content.iter_any():
        found += chunk
        if len(found) > most:
            raise Problem(413, f"the body is larger than {most >> 20} MiB; give it in several calls")
    return bytes(found)


async def _in_time(read: Callable[[], Awaitable[bytes]]) -> bytes:
    """Raises Problem 408."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            return await read()
    except TimeoutError:
        raise Problem(408, f"the body did not arrive within {BODY_TIMEOUT:g} s") from None


async def _text(request: web.Request, types: Sequence[str], read: Callable[[], Awaitable[bytes]]) -> str:
    """Raises Problem 408, 413, 415 and BadValue."""
    check_encoding(request, types)
    raw = await _in_time(read)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise BadValue("body", "is not UTF-8") from None


def parse_value(text: str) -> Any:
    """A JSON value. Raises BadValue."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except BadValue:
        raise
    except (ValueError, RecursionError):
        raise BadValue("body", "is not JSON") from None


def parse_json(text: str) -> dict[str, Any]:
    """The fields of a JSON object. Raises BadValue."""
    found = parse_value(text)
    if not isinstance(found, dict):
        raise BadValue("body", "is not a JSON object")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise BadValue(name[:100], "stands twice in the body; give it once")
            seen.add(name)
    return found


def _no_constant(name: str) -> NoReturn:
    raise BadValue("body", f"{name} is not JSON")


def _form(text: str, lists: Collection[str]) -> dict[str, Any]:
    try:
        pairs = urllib.parse.parse_qsl(
            text, keep_blank_values=True, strict_parsing=bool(text), errors="strict", max_num_fields=_MAX_FIELDS
        )
    except ValueError:
        raise BadValue("body", f"is not {FORM_TYPE}; for JSON send Content-Type: {JSON_TYPE}") from None
    found = _unique([(name, value) for name, value in pairs if name not in lists])
    for name, value in pairs:
        if name in lists:
            found.setdefault(name, []).append(value)
    return found
