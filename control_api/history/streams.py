"""Records as a stream of any length: one page of rows in memory, the next one read meanwhile."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Final, NamedTuple

from aiohttp import hdrs, web

from control_api import dependencies
from control_api.history.lines import csv_header, csv_lines
from control_api.history.selection import Selection
from control_api.http.turns import Turns
from mta.model.errors import HistoryError, StoreError
from mta.model.record_lines import record_lines
from mta.model.status import DeliveryRow
from mta.ports.history import MOST_ROWS, History, RowPage

_AT_ONCE: Final = 500  # rows whose lines are made without letting the loop run: a few milliseconds
_log = logging.getLogger(__name__)

Rows = Sequence[DeliveryRow]


class Form(NamedTuple):
    """A form of the stream."""

    media: str
    lines: Callable[[Rows], bytes]  # each with its line end
    before: bytes = b""
    between: bytes = b""  # stands between two records in place of the line end
    after: bytes = b""


JSON: Final = Form("application/json", record_lines, b"[\n", b",\n", b"\n]\n")
NDJSON: Final = Form("application/x-ndjson", record_lines)
CSV: Final = Form("text/csv; charset=utf-8", csv_lines, csv_header())
FORMS: Final = {"json": JSON, "ndjson": NDJSON, "csv": CSV}


async def stream(request: web.Request, pages: AsyncGenerator[Rows, None], form: Form) -> web.StreamResponse:
    """All rows of the pages. Raises HistoryError, BadValue before the answer has begun. Later the connection is cut
    off, so that no client takes a part for the whole."""
    turns = dependencies.of(request).turns
    async with contextlib.aclosing(pages):
        first = await anext(pages, ())
        response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: form.media})
        await response.prepare(request)
        try:
            await response.write(form.before)
            begun = await _write(response, form, first, False, turns)
            async for rows in pages:
                begun = await _write(response, form, rows, begun, turns)
            await response.write(form.after if begun else form.after.lstrip())
            await response.write_eof()
        except (HistoryError, StoreError) as error:
            _log.warning("a list was cut off: %s", error)
            response.force_close()
            if request.transport is not None:
                request.transport.abort()
        except ConnectionError:
            pass  # the client went away
    return response


async def streamed_pages(
    history: History, selection: Selection, cursor: str = "", limit: int | None = None
) -> AsyncGenerator[Rows, None]:
    """The rows of the selection behind the cursor, at most `limit`, a page at a time. The next page is read while the
    last one is used."""
    most = MOST_ROWS if limit is None else limit

    def ask(after: str) -> asyncio.Task[RowPage]:
        return asyncio.create_task(history.rows(selection.wanted, most, after), name="page of history")

    following: asyncio.Task[RowPage] | None = ask(cursor)
    left = limit
    try:
        while following is not None:
            asked, following = following, None
            page = await asked
            rows = selection.of(page.rows)
            if left is not None:
                rows = rows[:left]
                left -= len(rows)
            if page.cursor and left != 0:
                following = ask(page.cursor)
            yield rows
    finally:
        if following is not None:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError, HistoryError):
                await following


async def _write(response: web.StreamResponse, form: Form, rows: Rows, begun: bool, turns: Turns) -> bool:
    """Returns whether a line was written by now."""
    for at in range(0, len(rows), _AT_ONCE):
        lines = form.lines(rows[at : at + _AT_ONCE])
        if form.between and lines:
            lines = (form.between if begun else b"") + lines[:-1].replace(b"\n", form.between)
        begun = begun or bool(lines)
        await response.write(lines)
        await turns.rest()
    return begun
