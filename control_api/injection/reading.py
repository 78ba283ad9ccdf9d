"""The body of a call, read piece by piece with a bound."""

import asyncio
from typing import Any, Final

from aiohttp import hdrs, web

from control_api.http.bodies import JSON_TYPE, check_encoding, parse_json
from control_api.http.problems import Problem
from control_api.injection.limits import TakenRoom
from mta.model.errors import BadValue

LARGE: Final = 256 * 1024  # bytes, above which work on a body is done beside the loop
_PATIENCE: Final = 30.0  # seconds for each piece of a body


async def read_json(request: web.Request, most: int, room: TakenRoom) -> tuple[dict[str, Any], int]:
    """The fields of a JSON object, without those that are null, and its size. Raises Problem and BadValue."""
    check_encoding(request, (JSON_TYPE,))
    raw = await _read(request, most, room)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise BadValue("body", "is not UTF-8") from None
    given = await asyncio.to_thread(parse_json, text) if len(raw) > LARGE else parse_json(text)
    return {name: value for name, value in given.items() if value is not None}, len(raw)


async def _read(request: web.Request, most: int, room: TakenRoom) -> bytearray:
    length = request.content_length or 0
    if length > most:
        raise _too_large(most)
    room.more(length)
    found = bytearray()
    try:
        while True:
            async with asyncio.timeout(_PATIENCE):
                piece = await request.content.readany()
            if not piece:
                return found
            found += piece
            if len(found) > most:
                raise _too_large(most)
            if len(found) > room.size:
                room.more(len(piece))
    except TimeoutError:
        raise Problem(408, f"no more of the body came for {_PATIENCE:g} s") from None


def _too_large(most: int) -> Problem:
    words = f"the body is larger than {most >> 20} MiB; the largest message is smtp.max_message_size"
    return Problem(413, words, "body")


def check_kind(request: web.Request) -> str:
    """The type of the body, in lower case."""
    return request.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower()
