"""Rewrites the embedded server's append-only file when space gets short; the server itself looks only at its size."""

import logging
import time
from typing import Final, Protocol

from mta.policy.reserve import may_compact
from mta.runtime.room import Room

log = logging.getLogger(__name__)

_APART: Final = 10.0  # seconds from one to the next


class File(Protocol):
    """The append-only file of the embedded server; each call raises StoreError."""

    async def sizes(self) -> tuple[int, int] | None: ...

    async def rewrite(self) -> None: ...


class Compaction:
    """Rewrites the file in time. Until then it keeps the history of mail that was delivered or canceled."""

    def __init__(self, file: File, room: Room) -> None:
        self._file = file
        self._room = room
        self._last = float("-inf")

    async def look(self) -> None:
        """Raises StoreError."""
        space = self._room.data_folder()
        if space is None or not space.is_getting_short or time.monotonic() - self._last < _APART:
            return
        sizes = await self._file.sizes()
        if sizes is None:
            return
        file, data = sizes
        if may_compact(space.free, space.total, file, data):
            self._last = time.monotonic()
            await self._file.rewrite()
            log.info("space is getting short: the embedded server writes its file of %d MiB anew", file >> 20)
