"""Folding: counters of tags at rest go from the store to history, so that tags of one message each cost memory only
while their mail lives."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Final

from mta.model.errors import HistoryError, StoreError, severity
from mta.ports.tag_counters import RestingTags, TagArchive

_BUSY: Final = 0.1  # seconds of each look that are spent on pages
_REST: Final = 60.0  # seconds, or a part of the retention, between two walks through all lanes
_SHARE: Final = 100

_log = logging.getLogger(__name__)


class Folding:
    """Walks through the lanes of this journal, a few pages at a time."""

    def __init__(
        self,
        tags: RestingTags,
        retention: float,
        lanes: Callable[[], Sequence[int]],
        archive: TagArchive | None = None,
        on_thread: Callable[[Callable[[], Any]], "Future[Any]"] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`retention` in seconds: for so long counters rest before they are folded. Without `archive` they are
        deleted: there is no history."""
        self._tags = tags
        self._retention = max(1, int(retention))
        self._lanes = lanes
        self._archive = archive
        self._on_thread = on_thread
        self._clock = clock
        self._left: list[int] = []  # lanes of this walk
        self._cursor = 0
        self._next_walk = 0.0
        self._task: asyncio.Task[None] | None = None
        self.folded = 0

    def look(self) -> None:
        """Go on in the background, where it is time."""
        if self._task is None or self._task.done():
            if not self._left and self._clock() >= self._next_walk:
                self._left = list(self._lanes())
                self._next_walk = self._clock() + min(_REST, self._retention / _SHARE)
            if self._left:
                self._task = asyncio.create_task(self._walk(self._clock() + _BUSY))

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _walk(self, end: float) -> None:
        try:
            while self._left and self._clock() < end:
                await self._page()
        except (StoreError, HistoryError) as error:
            _log.log(severity(error), "counters of tags stay in the store: %s", error)

    async def _page(self) -> None:
        lane = self._left[0]
        found, behind = await self._tags.at_rest(lane, self._cursor, self._retention)
        if found:
            if self._archive is not None and self._on_thread is not None:
                archive = self._archive
                await asyncio.wrap_future(self._on_thread(lambda: archive.keep(found)))
            self.folded += await self._tags.drop(lane, found)
        self._cursor = behind
        if not behind:
            self._left.pop(0)
