"""The body of a call, read piece by piece with a bound."""

import asyncio
import hashlib
from typing import Any, Final, NamedTuple

from aiohttp import hdrs, web

from control_api.http.bodies import JSON_TYPE, NDJSON_TYPE, check_encoding, parse_json
from control_api.http.problems import Problem
from control_api.injection.limits import TakenRoom
from mta.model.errors import BadValue

LARGE: Final = 256 * 1024  # bytes, above which work on a body is done beside the loop
_PATIENCE: Final = 30.0  # seconds for each piece of a body
_STREAM_PATIENCE: Final = 600.0  # likewise, where its recipients are written one by one
MOST_OF_LINE: Final = 64 * 1024  # bytes


class Line(NamedTuple):
    """A line of a body, by its number in it (from 1)."""

    number: int
    text: bytes


class JsonBody(NamedTuple):
    """A JSON object, without the fields that are null."""

    fields: dict[str, Any]
    size: int
    hashed: bytes  # a hash of its bytes; b"" where nobody asked


async def read_json(request: web.Request, most: int, room: TakenRoom, *, hashed: bool = False) -> JsonBody:
    """`hashed`: the hash is asked for. Raises Problem and BadValue."""
    check_encoding(request, (JSON_TYPE,))
    raw = await _read(request, most, room)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise BadValue("body", "is not UTF-8") from None
    given = await asyncio.to_thread(parse_json, text) if len(raw) > LARGE else parse_json(text)
    digest = await asyncio.to_thread(_hash, raw) if hashed else b""
    return JsonBody({name: value for name, value in given.items() if value is not None}, len(raw), digest)


def _hash(raw: bytearray) -> bytes:
    return hashlib.blake2b(raw).digest()


class Lines:
    """The lines of a body as they come, without those that are empty."""

    def __init__(self, request: web.Request, most: int) -> None:
        """`most`: bytes of the first line; the others have MOST_OF_LINE at most. Raises Problem 415."""
        check_encoding(request, (NDJSON_TYPE,))
        self._content = request.content
        self._most = most
        self._buffer = bytearray()
        self._is_over = False
        self._number = 0  # of the line that was read last

    async def some(self, most: int) -> list[Line]:
        """The next lines: those that have come, at least one, at most so many; none at the end. Raises Problem 408,
        413."""
        found: list[Line] = []
        while not found and not (self._is_over and not self._buffer):
            self._take(found, most)
            if not found and not self._is_over:
                await self._more()
        return found

    def _take(self, found: list[Line], most: int) -> None:
        buffer, at = self._buffer, 0
        while len(found) < most and at < len(buffer):
            end = buffer.find(b"\n", at)
            if end < 0 and not self._is_over:
                break
            end = len(buffer) if end < 0 else end
            if end - at > self._most:
                if found:
                    break  # these are answered first
                raise Problem(413, f"line {self._number + 1} is longer than {self._most} bytes", "body")
            self._number += 1
            if line := bytes(buffer[at:end]).strip():
                found.append(Line(self._number, line))
                self._most = MOST_OF_LINE
            at = end + 1
        del buffer[:at]

    async def _more(self) -> None:
        try:
            async with asyncio.timeout(_STREAM_PATIENCE):
                piece = await self._content.readany()
        except TimeoutError:
            raise Problem(408, f"no more of the body came for {_STREAM_PATIENCE:g} s") from None
        self._is_over = not piece
        self._buffer += piece
        if len(self._buffer) > self._most and b"\n" not in self._buffer:
            raise Problem(413, f"line {self._number + 1} is longer than {self._most} bytes", "body")


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
