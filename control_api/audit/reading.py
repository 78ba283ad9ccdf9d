"""The record of orders from the newest to the oldest: the store keeps the newest events, history the older ones."""

from collections.abc import Sequence

from mta.model.errors import HistoryError, HistoryNotBegun, HistoryOff
from mta.ports.audit import Audit, NotedEvent, OldOrders


class AuditReading:
    """One answer's reading. Entries are named alike in the store and in history."""

    def __init__(self, audit: Audit, old: OldOrders) -> None:
        self._audit = audit
        self._old = old
        self.missing = ""  # the reason for which older entries could not be read

    async def before(self, entry: str, most: int) -> Sequence[NotedEvent]:
        """About `most` events older than the entry, "" = the newest; [] = the end. Raises StoreError, StoreAway."""
        page = await self._audit.read(entry, most)
        if page:
            return page
        try:
            return await self._old.orders(entry, most)
        except (HistoryOff, HistoryNotBegun):
            return ()
        except HistoryError as error:
            self.missing = str(error)
            return ()
