"""Orders about history, as the journals find them."""

from collections.abc import Sequence
from typing import Final

import msgspec

from mta.ports.history_orders import Erasure, ErasureReport
from mta.redis_store import keys
from mta.redis_store.link import Link

_KEPT: Final = 3600  # seconds

_decode = msgspec.json.Decoder(Erasure).decode
_decode_report = msgspec.json.Decoder(ErasureReport).decode


class StoredHistoryOrders:
    """Fulfils ports.history_orders.HistoryOrders."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def erase(self, erasure: Erasure) -> None:
        await self._link.command("HSET", keys.JOURNAL_ERASURES, erasure.id, msgspec.json.encode(erasure))
        await self._link.command("EXPIRE", keys.JOURNAL_ERASURES, _KEPT)

    async def erasures(self) -> Sequence[Erasure]:
        return [_decode(raw) for raw in await self._link.command("HVALS", keys.JOURNAL_ERASURES)]

    async def report(self, erasure: str, report: ErasureReport) -> None:
        key = keys.erased_key(erasure)
        await self._link.command("HSETNX", key, report.node, msgspec.json.encode(report))
        await self._link.command("EXPIRE", key, _KEPT)

    async def reports(self, erasure: str) -> Sequence[ErasureReport]:
        return [_decode_report(raw) for raw in await self._link.command("HVALS", keys.erased_key(erasure))]

    async def end(self, erasure: str) -> None:
        await self._link.command("HDEL", keys.JOURNAL_ERASURES, erasure)

    async def skip(self, lane: str) -> None:
        await self._link.command("SADD", keys.JOURNAL_SKIPS, lane)
        await self._link.command("EXPIRE", keys.JOURNAL_SKIPS, _KEPT)

    async def take_skip(self, lane: str) -> bool:
        return bool(await self._link.command("SREM", keys.JOURNAL_SKIPS, lane))
