"""Opens and clicks of a cluster, in memory."""

from collections.abc import Mapping, Sequence

from mta.model.errors import SealError, StoreAway
from mta.model.events import Event
from mta.ports.tracking import LinkCount, LinkDay


class Engagements:
    """Fulfils ports.tracking.EngagementStore."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.clicks: dict[int, dict[LinkCount, int]] = {}  # by day
        self.lost = 0
        self.away = False

    async def note(self, events: Sequence[Event]) -> None:
        self._reach()
        self.events += events

    async def add_clicks(self, day: int, counts: Mapping[LinkCount, int]) -> None:
        self._reach()
        known = self.clicks.setdefault(day, {})
        for count, many in counts.items():
            known[count] = known.get(count, 0) + many

    async def add_dropped(self, events: int) -> None:
        self._reach()
        self.lost += events

    async def dropped(self) -> int:
        self._reach()
        return self.lost

    async def click_days(self, first: int, last: int) -> list[LinkDay]:
        self._reach()
        return [LinkDay(day, clicks) for day, clicks in sorted(self.clicks.items()) if first <= day <= last]

    def _reach(self) -> None:
        if self.away:
            raise StoreAway("no answer")


class TrackingKeys:
    """Fulfils ports.tracking.TrackingKeys."""

    def __init__(self, trouble: SealError | None = None) -> None:
        self._trouble = trouble

    async def key(self) -> bytes:
        if self._trouble is not None:
            raise self._trouble
        return b"k" * 32
