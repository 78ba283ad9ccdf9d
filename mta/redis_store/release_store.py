"""Staged releases beside the rule table, and how much of them has gone in each lane."""

from collections.abc import Callable
from typing import Final

import msgspec

from mta.model.releases import StagedRelease
from mta.redis_store import codec, keys
from mta.redis_store.link import Link

_decoder: Final = msgspec.msgpack.Decoder(StagedRelease)


class StoredReleases:
    """Fulfils ports.releases.ReleaseStore."""

    def __init__(self, link: Link, lanes: int) -> None:
        self.lanes = lanes
        self._link = link

    async def get(self, pause: str) -> StagedRelease | None:
        raw = await self._link.command("HGET", keys.RULES_RELEASES, pause)
        return None if raw is None else _decoder.decode(raw)

    async def all(self) -> list[StagedRelease]:
        return [_decoder.decode(raw) for raw in await self._link.command("HVALS", keys.RULES_RELEASES)]

    async def change(self, before: StagedRelease | None, after: StagedRelease) -> bool:
        known = b"" if before is None else codec.encode(before)
        step_keys = [keys.RULES_HEAD, keys.RULES_RELEASES]
        return bool(await self._link.call(b"release_change", step_keys, [after.pause, known, codec.encode(after)]))

    async def forget(self, pause: str) -> None:
        await self._link.command("HDEL", keys.RULES_RELEASES, pause)

    async def held(self, lane: int, pause: str) -> int:
        prefix = keys.lane_prefix(lane)
        return int(await self._link.command("ZCARD", keys.held_key(prefix, pause.encode())))

    async def released(self, lane: int, order: StagedRelease) -> int:
        key = keys.released_key(keys.lane_prefix(lane), order.pause.encode())
        at, n = await self._link.command("HMGET", key, "at", "n")
        return int(n) if at == order.round_id.encode() else 0

    async def close(self, lane: int, order: StagedRelease) -> int:
        prefix = keys.lane_prefix(lane)
        step_keys = [prefix + b"lane", keys.released_key(prefix, order.pause.encode())]
        return int(await self._link.call(b"release_close", step_keys, [order.round_id, keys.RELEASED_KEPT_MS]))

    def on_ordered(self, hint: Callable[[], None]) -> None:
        self._link.hear(keys.RELEASE_CHANNEL, lambda _: hint())
