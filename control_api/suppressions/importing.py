"""The import of suppressions: rows are read, checked and kept as they arrive, in memory for a few thousand of them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from aiohttp import hdrs, web

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.dependencies import Dependencies
from control_api.http.bodies import BODY_TIMEOUT, JSON_TYPE, read_large_json
from control_api.http.problems import Problem, json_response
from control_api.http.query import read_query
from control_api.http.times import now_ms
from control_api.schemas import suppression_shapes as shapes
from control_api.suppressions.resource import in_force
from control_api.suppressions.rows import Row, csv_rows, ndjson_rows
from control_api.suppressions.selection import made
from mta.model.actor import Actor
from mta.model.audit import Deed
from mta.model.errors import BadValue
from mta.model.suppressions import Suppressed

NDJSON: Final = "application/x-ndjson"
CSV: Final = "text/csv"
_KEPT_AT_ONCE: Final = 10_000  # rows: each share of the store gets some dozens in one step
_SLICE: Final = 200  # rows that are checked without letting the loop run


class _Account:
    """The counts of the rows so far."""

    def __init__(self) -> None:
        self.rows = self.added = self.refused = self.number = 0
        self.kept = 0  # added and replaced
        self.errors: list[shapes.BadRow] = []

    def refuse(self, line: int, field: str | None, words: str) -> None:
        self.refused += 1
        if len(self.errors) < shapes.MOST_NAMED:
            self.errors.append(shapes.BadRow(line=line, field=field, message=words))


async def import_suppressions(request: web.Request) -> web.Response:
    """200 with the account. Rows before one that cannot be read at all are kept: a repeat changes nothing of them."""
    asked = read_query(request, shapes.AddQuery)
    deps, actor = dependencies.of(request), actor_of(request)
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity").strip().lower() != "identity":
        raise Problem(415, "send the body without Content-Encoding", "Content-Encoding")
    if request.content_type not in (JSON_TYPE, NDJSON, CSV):
        raise Problem(415, f"send {NDJSON}, {CSV} or {JSON_TYPE}", "Content-Type")
    account = _Account()
    keeping = _Keeping(deps, account)
    waiting = await _whole(request, actor, account) if request.content_type == JSON_TYPE else []
    await deps.audit.note(actor, Deed("suppressions.import", request.content_type, tenant=actor.tenant))
    try:
        async for rows in _STREAMS[request.content_type](_chunks(request)):
            for at in range(0, len(rows), _SLICE):
                for row in rows[at : at + _SLICE]:
                    _take(row, actor, account, waiting)
                await deps.turns.rest()
            if len(waiting) >= _KEPT_AT_ONCE:
                await keeping.keep(waiting)
                waiting = []
    finally:
        await keeping.keep(waiting)
        await keeping.end()
    effective = await in_force(deps, account.number, deps.api.wait if asked.wait is None else asked.wait)
    return json_response(
        shapes.ImportedSuppressions(
            rows=account.rows, added=account.added, replaced=account.kept - account.added, refused=account.refused,
            errors=account.errors, effective=effective,
        )
    )  # fmt: skip


async def _whole(request: web.Request, actor: Actor, account: _Account) -> list[Suppressed]:
    """The suppressions of a body of JSON. Raises BadValue for the first that cannot be taken."""
    given = shapes.IMPORT.read(await read_large_json(request), "a field of an import")
    found = []
    for place, fields in enumerate(given["suppressions"]):
        name = f"suppressions[{place}]"
        if not isinstance(fields, dict):
            raise BadValue(name, "is not an object; give the fields of a suppression")
        try:
            found.append(_made(fields, actor))
        except BadValue as bad:
            raise BadValue(f"{name}.{bad.field}", bad.reason) from None
        if place % _SLICE == 0:
            await dependencies.of(request).turns.rest()
    account.rows = len(found)
    return found


def _made(fields: dict[str, Any], actor: Actor) -> Suppressed:
    return made(shapes.IMPORTED.read(fields, "a field of a suppression"), actor, now_ms())


def _take(row: Row, actor: Actor, account: _Account, waiting: list[Suppressed]) -> None:
    account.rows += 1
    try:
        if isinstance(row.fields, BadValue):
            raise row.fields
        waiting.append(_made(row.fields, actor))
    except BadValue as bad:
        account.refuse(row.line, bad.field, bad.reason)
    except Problem as problem:
        account.refuse(row.line, problem.field, str(problem))


class _Keeping:
    """Keeps rows in the store while the next ones are read."""

    def __init__(self, deps: Dependencies, account: _Account) -> None:
        self._deps = deps
        self._account = account
        self._under_way: asyncio.Task[None] | None = None

    async def keep(self, items: Sequence[Suppressed]) -> None:
        """Once those before are kept. Raises StoreError of these."""
        await self.end()
        self._under_way = asyncio.create_task(self._put(items), name="suppressions")

    async def end(self) -> None:
        if self._under_way is not None:
            await self._under_way

    async def _put(self, items: Sequence[Suppressed]) -> None:
        if items:
            self._account.number, added = await self._deps.suppressions.put(items)
            self._account.added += added
            self._account.kept += len(items)


async def _nothing(chunks: AsyncIterator[bytes]) -> AsyncIterator[Sequence[Row]]:
    """For a body that was read whole."""
    return
    yield ()


_STREAMS: Final = {JSON_TYPE: _nothing, NDJSON: ndjson_rows, CSV: csv_rows}


async def _chunks(request: web.Request) -> AsyncIterator[bytes]:
    """The body as it arrives. Raises Problem 408 where nothing more does."""
    while True:
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                chunk = await request.content.readany()
        except TimeoutError:
            raise Problem(408, f"nothing more of the body arrived for {BODY_TIMEOUT:g} s") from None
        if not chunk:
            return
        yield chunk
