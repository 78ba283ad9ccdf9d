"""How busy the store is: mail that passes through it, memory, and events that wait for the journal."""

from collections.abc import Mapping
from typing import Any

from mta.redis_store import keys
from mta.redis_store.each_lane import each_lane
from mta.redis_store.link import Link


class MeasuredLoad:
    """Fulfils ports.store_load.StoreLoad."""

    def __init__(self, link: Link, lanes: int) -> None:
        self._link = link
        self._lanes = lanes

    async def traffic(self) -> int:
        found = await each_lane(range(self._lanes), self._counts)
        return sum(int(count or 0) for counts in found for count in counts)

    async def _counts(self, lane: int) -> list[bytes | None]:
        counts: list[bytes | None] = await self._link.quick(
            "HMGET", keys.lane_key(lane, b"count"), "accepted", "delivered"
        )
        return counts

    async def memory_share(self) -> float:
        return max(_share(memory) for memory in await self._link.info("memory"))

    async def backlog(self, lane: int) -> int:
        return int(await self._link.command("XLEN", keys.lane_key(lane, b"events")))


def _share(memory: Mapping[str, Any]) -> float:
    limit = int(memory.get("maxmemory", 0)) or int(memory.get("total_system_memory", 0))
    return int(memory["used_memory"]) / limit if limit else 0.0
