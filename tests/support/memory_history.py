"""History in memory: rows and events that a test puts in, read as ports.history.History says."""

from collections.abc import Callable, Collection, Iterable, Sequence

from mta.model.entries import order_of
from mta.model.events import Event, EventType
from mta.model.ids import DeliveryId, MessageId, message_of
from mta.model.status import DeliveryRow, rank_of
from mta.ports.audit import NotedEvent
from mta.ports.history import Behind, Coverage, Cursor, EventPage, HourCount, KeptEvent, RowFilter, RowPage
from mta.ports.tag_counters import TagCounters

AS_OF = 1_700_000_100_000  # Unix ms


class MemoryHistory:
    """Fulfils ports.history.History. `reach` is called by each question, and may raise."""

    def __init__(self, reach: Callable[[], None] = lambda: None) -> None:
        self.reach = reach
        self.kept: list[KeptEvent] = []
        self.rows_by_id: dict[DeliveryId, DeliveryRow] = {}
        self.asked: list[tuple[RowFilter, int, str]] = []
        self.asked_counts: list[tuple[Sequence[str], int, int, int, str | None]] = []
        self.found_counts: list[HourCount] = []
        self.statements: dict[str, str] = {}
        self.sites_by_domain: dict[str, str] = {}
        self.noted: list[NotedEvent] = []
        self.most_rows = 10_000
        self.dropped = 0  # events that each page misses, since they were dropped with their day

    def add(self, event: Event) -> DeliveryRow:
        """The row of its delivery afterwards."""
        assert event.id is not None
        self.kept.append(KeptEvent(Cursor(1, len(self.kept)), f"0.1-{len(self.kept)}.0", event))
        known = self.rows_by_id.get(event.id)
        if rank_of(event) and (known is None or rank_of(event) > rank_of(known.last)):
            self.rows_by_id[event.id] = DeliveryRow(event.id, event)
        return self.rows_by_id[event.id]

    async def coverage(self) -> Coverage:
        self.reach()
        return Coverage(0, 0, AS_OF, 1, ())

    async def rows(self, wanted: RowFilter, limit: int, cursor: str = "") -> RowPage:
        self.asked.append((wanted, limit, cursor))
        self.reach()
        at = int(cursor) if cursor.isdigit() else 0
        sites = self.sites_by_domain
        found = [
            row
            for row in reversed(self.rows_by_id.values())
            if takes(wanted, row) and wanted.site in (None, sites.get(row.last.domain))
        ]
        page = found[at : at + min(limit, self.most_rows)]
        end = at + len(page)
        return RowPage(page, str(end) if end < len(found) else "", AS_OF)

    async def row(self, delivery: DeliveryId) -> DeliveryRow | None:
        self.reach()
        return self.rows_by_id.get(delivery)

    async def message(self, message: MessageId) -> list[DeliveryRow]:
        self.reach()
        return [row for _, row in sorted(self.rows_by_id.items()) if message_of(row.id) == message]

    async def events_of(self, message: MessageId) -> list[KeptEvent]:
        self.reach()
        return [one for one in self.kept if one.event.id is not None and message_of(one.event.id) == message]

    async def events(self, after: Cursor, most: int, without: Collection[EventType] = ()) -> EventPage:
        self.reach()
        found = [one for one in self.kept if one.at >= after and one.event.type not in without][:most]
        behind = found[-1].at.place + 1 if found else len(self.kept)
        return EventPage(found, Cursor(1, behind), behind == len(self.kept), self.dropped)

    async def events_at(self, places: Sequence[Cursor]) -> dict[Cursor, KeptEvent]:
        self.reach()
        return {one.at: one for one in self.kept if one.at in places}

    async def behind(self, after: Cursor) -> Behind:
        self.reach()
        left = [one for one in self.kept if one.at >= after]
        return Behind(len(left), left[0].event.time if left else 0)

    async def newest(self) -> Cursor:
        return Cursor(1, len(self.kept))

    async def at(self, time: int) -> Cursor:
        return Cursor(1, 0)

    async def counts(
        self, by: Sequence[str], interval: int, from_: int, until: int, tenant: str | None = None
    ) -> list[HourCount]:
        self.reach()
        self.asked_counts.append((by, interval, from_, until, tenant))
        return self.found_counts

    async def sites(self, domains: Iterable[str]) -> dict[str, str]:
        self.reach()
        return {domain: self.sites_by_domain[domain] for domain in domains if domain in self.sites_by_domain}

    async def tag_counters(self, tag: str, tenant: str = "") -> Sequence[TagCounters]:
        return ()

    async def orders(self, below: str, most: int) -> list[NotedEvent]:
        self.reach()
        noted = sorted(self.noted, key=lambda one: order_of(one.entry), reverse=True)
        return [one for one in noted if not below or order_of(one.entry) < order_of(below)][:most]

    async def rule_statement(self, rule_id: str) -> str:
        self.reach()
        return self.statements.get(rule_id, "")

    async def close(self) -> None:
        pass


def takes(wanted: RowFilter, row: DeliveryRow) -> bool:
    event = row.last
    return (
        (wanted.tag is None or wanted.tag in event.tags)
        and wanted.tenant in (None, event.tenant)
        and (wanted.recipient is None or wanted.recipient.lower() == event.recipient.lower())
        and (wanted.sender is None or wanted.sender.lower() == (event.sender or "").lower())
        and wanted.domain in (None, event.domain)
        and wanted.pool in (None, event.pool)
        and (not wanted.statuses or row.standing.status in wanted.statuses)
        and (wanted.rule is None or (event.forced is not None and event.forced.rule == wanted.rule))
        and wanted.category in (None, event.category)
        and wanted.uncertain in (None, event.uncertain)
        and (wanted.accepted_from is None or row.accepted_at >= wanted.accepted_from)
        and (wanted.accepted_until is None or row.accepted_at < wanted.accepted_until)
    )
