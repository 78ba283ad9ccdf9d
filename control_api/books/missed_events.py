"""Events that the live stream does not have any more, read from history for a watcher that comes back."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

import orjson

from control_api.dependencies import Dependencies
from control_api.http.times import now_ms
from mta.model.errors import BadValue, HistoryAway, HistoryError
from mta.ports.history import Cursor

_PAGE: Final = 500
_MARGIN_MS: Final = 10_000  # a round of history is written that much later than its events, at most
_SURE_MS: Final = 2_000  # after the watcher came back; from then on the journal surely feeds the live stream
_PATIENCE: Final = 20.0  # seconds that a history may take to be complete so far
_TICK: Final = 0.25
_MOST_KNOWN: Final = 10_000  # as long as the live stream is

_ID: Final = re.compile(
    r"(?P<tail>(?P<ms>[0-9]{1,20})-[0-9]{1,20}\.[0-9]{1,9})(?:~(?P<batch>[0-9]{1,18})\.(?P<place>[0-9]{1,9}))?",
    re.ASCII,
)


class StreamPlace(NamedTuple):
    """The place of a watcher: behind an event of the live stream, and perhaps behind some that history had to tell."""

    tail: str
    ms: int  # at which the store took that event
    at: Cursor | None = None

    def __str__(self) -> str:
        return self.tail if self.at is None else f"{self.tail}~{self.at.batch}.{self.at.place}"


def parse_place(text: str) -> StreamPlace:
    """Of a `Last-Event-ID`. Raises BadValue."""
    found = _ID.fullmatch(text)
    if found is None:
        raise BadValue("Last-Event-ID", "is not the id of an event of this stream")
    at = None if found["batch"] is None else Cursor(int(found["batch"]), int(found["place"]))
    return StreamPlace(found["tail"], int(found["ms"]), at)


class MissedEvents:
    """Tells a watcher what happened since its place; `told` has the ids of these events, which the live stream may
    have as well."""

    def __init__(self, deps: Dependencies, place: StreamPlace) -> None:
        self._deps = deps
        self._place = place
        self.told: set[str] = set()
        self.may_lack = False  # history did not tell all of them

    async def tell(self) -> AsyncIterator[tuple[str, bytes]]:
        """(id, line of the log) of each, until history has everything up to now."""
        place, deps, sure = self._place, self._deps, now_ms() + _SURE_MS
        known = await self._known()
        deadline = asyncio.get_running_loop().time() + _PATIENCE
        at = place.at
        while True:
            page = None
            try:
                at = at or await deps.history.at(place.ms - _MARGIN_MS)
                complete = (await deps.history.coverage()).as_of >= sure
                page = await deps.history.events(at, _PAGE)
            except HistoryAway:
                pass  # for a moment, perhaps
            except HistoryError:
                self.may_lack = True
                return
            if page is not None:
                self.may_lack = self.may_lack or bool(page.missing)
                for one in page.events:
                    if one.event_id not in known:
                        self.told.add(one.event_id)
                        here = place._replace(at=Cursor(one.at.batch, one.at.place + 1))
                        yield str(here), deps.log_lines([(one.event_id, one.event)]).rstrip(b"\n")
                at = page.next
                if page.at_end and complete:
                    return
            if asyncio.get_running_loop().time() > deadline:
                self.may_lack = True
                return
            await asyncio.sleep(_TICK if page is None or page.at_end else 0)

    async def _known(self) -> set[str]:
        """Ids of events that the watcher has seen, as far as the live stream still has them."""
        begin = f"{max(0, self._place.ms - 2 * _MARGIN_MS)}-0.0"
        known: set[str] = set()
        for tail_id, line in await self._deps.tail.follow(begin, _MOST_KNOWN, 0.0):
            if _order(tail_id) > _order(self._place.tail):
                break
            known.add(orjson.loads(line).get("event", ""))
        return known


def _order(tail_id: str) -> tuple[int, int, int]:
    entry, _, index = tail_id.partition(".")
    ms, _, number = entry.partition("-")
    return int(ms), int(number), int(index)
