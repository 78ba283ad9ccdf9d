"""Orders about history in memory, for tests of the API and of the journal."""

from collections.abc import Sequence

from mta.ports.history_orders import Erasure, ErasureReport


class MemoryHistoryOrders:
    """Fulfils ports.history_orders.HistoryOrders."""

    def __init__(self) -> None:
        self.pending: dict[str, Erasure] = {}
        self.told: dict[str, dict[str, ErasureReport]] = {}
        self.skips: set[str] = set()

    async def erase(self, erasure: Erasure) -> None:
        self.pending[erasure.id] = erasure

    async def erasures(self) -> Sequence[Erasure]:
        return list(self.pending.values())

    async def report(self, erasure: str, report: ErasureReport) -> None:
        self.told.setdefault(erasure, {}).setdefault(report.node, report)

    async def reports(self, erasure: str) -> Sequence[ErasureReport]:
        return list(self.told.get(erasure, {}).values())

    async def end(self, erasure: str) -> None:
        self.pending.pop(erasure, None)

    async def skip(self, lane: str) -> None:
        self.skips.add(lane)

    async def take_skip(self, lane: str) -> bool:
        there = lane in self.skips
        self.skips.discard(lane)
        return there
