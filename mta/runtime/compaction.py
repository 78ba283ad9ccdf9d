"""The embedded server's append-only file is written anew when space gets short: the server only looks at its size."""

import logging
import time
from typing import Final

from mta.policy.reserve import may_compact
from mta.redis_store.link import Link
from mta.runtime.room import Room

log = logging.getLogger(__name__)

_APART: Final = 10.0  # seconds from one to the next


class Compaction:
    """What was delivered or canceled leaves its history in the file until then."""

    def __init__(self, link: Link, room: Room) -> None:
        self._link = link
        self._room = room
        self._last = float("-inf")

    async def look(self) -> None:
        """Raises StoreError."""
        space = self._room.data_folder()
        if space is None or not space.is_getting_short or time.monotonic() - self._last < _APART:
            return
        (found,) = await self._link.info("persistence")
        (memory,) = await self._link.info("memory")
        if found.get("aof_rewrite_in_progress") != "0":
            return
        file, data = int(found.get("aof_current_size", 0)), int(memory.get("used_memory_dataset", 0))
        if may_compact(space.free, space.total, file, data):
            self._last = time.monotonic()
            await self._link.command("BGREWRITEAOF")
            log.info("space is getting short: the embedded server writes its file of %d MiB anew", file >> 20)
