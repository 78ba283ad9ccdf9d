"""How busy the store is: mail that passes through it, memory, keys of calls, and events that wait for the journal."""

from collections.abc import Mapping
from typing import Any, Final

from mta.redis_store import keys
from mta.redis_store.each_lane import each_lane
from mta.redis_store.link import Link
from mta.timing.clock import wall_ms

_EXPIRY_STEP_MS: Final = 300_000  # of `idem_use`, as in 01_idempotency.lua


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

    async def key_bytes(self) -> int:
        return sum(await each_lane(range(self._lanes), self._key_bytes))

    async def _key_bytes(self, lane: int) -> int:
        key, now = keys.idem_use_key(keys.lane_prefix(lane)), wall_ms()
        answer = await self._link.quick("HGETALL", key)
        kept, past = 0, []
        for end, count in zip(answer[::2], answer[1::2], strict=True):
            if int(end) * _EXPIRY_STEP_MS < now:
                past.append(end)
            else:
                kept += int(count)
        if past:
            await self._link.quick("HDEL", key, *past)
        return kept


def _share(memory: Mapping[str, Any]) -> float:
    limit = int(memory.get("maxmemory", 0)) or int(memory.get("total_system_memory", 0))
    return int(memory["used_memory"]) / limit if limit else 0.0
