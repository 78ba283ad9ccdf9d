"""History where this node has none to read: every call is refused with the reason."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

from mta.model.errors import HistoryError
from mta.model.events import EventType
from mta.model.ids import DeliveryId, MessageId
from mta.model.status import DeliveryRow
from mta.ports.audit import NotedEvent
from mta.ports.history import Behind, Coverage, Cursor, EventPage, HourCount, KeptEvent, RowFilter, RowPage
from mta.ports.tag_counters import TagCounters


class AbsentHistory:
    """Fulfils ports.history.History."""

    def __init__(self, reason: Callable[[], Awaitable[HistoryError]]) -> None:
        self._reason = reason

    async def coverage(self) -> Coverage:
        raise await self._reason()

    async def rows(self, wanted: RowFilter, limit: int, cursor: str = "") -> RowPage:
        raise await self._reason()

    async def row(self, delivery: DeliveryId) -> DeliveryRow | None:
        raise await self._reason()

    async def message(self, message: MessageId) -> list[DeliveryRow]:
        raise await self._reason()

    async def events_of(self, message: MessageId) -> list[KeptEvent]:
        raise await self._reason()

    async def events(self, after: Cursor, most: int, without: Collection[EventType] = ()) -> EventPage:
        raise await self._reason()

    async def events_at(self, places: Sequence[Cursor]) -> dict[Cursor, KeptEvent]:
        raise await self._reason()

    async def behind(self, after: Cursor) -> Behind:
        raise await self._reason()

    async def newest(self) -> Cursor:
        raise await self._reason()

    async def at(self, time: int) -> Cursor:
        raise await self._reason()

    async def counts(
        self, by: Sequence[str], interval: int, from_: int, until: int, tenant: str | None = None
    ) -> list[HourCount]:
        raise await self._reason()

    async def sites(self, domains: Iterable[str]) -> dict[str, str]:
        raise await self._reason()

    async def tag_counters(self, tag: str, tenant: str = "") -> Sequence[TagCounters]:
        raise await self._reason()

    async def rule_statement(self, rule_id: str) -> str:
        raise await self._reason()

    async def orders(self, below: str, most: int) -> list[NotedEvent]:
        raise await self._reason()

    async def close(self) -> None:
        """There is nothing to close."""
