"""The events of the rule table in this node's log, where another node's journal has the lease of their lane."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from mta.journal.leases import HeldLane
from mta.model.entries import Entry, order_of
from mta.ports.journal import RULES_LANE, Outbox, StreamEnd, source_of
from mta.ports.spool import Sourced, Spool

_ROOM: Final = 256 * 1024  # bytes of events taken at once


class RuleLog:
    """Copies what the journal with the lease has counted, and never more: should this journal get the lease, it goes on
    behind its last copy, so that no event is in the spool twice."""

    def __init__(
        self, outbox: Outbox, spool: Spool, node: str, copy: Callable[[Sequence[Sourced]], Awaitable[None]]
    ) -> None:
        """`node` keeps its place in the lane from one journal to the next; `copy` makes entries durable and hands them
        to the sinks."""
        self._outbox = outbox
        self._spool = spool
        self._node = node
        self._copy = copy
        self._at = ""  # the last entry that is in this node's spool, as far as it is known; "" = not asked yet
        self._noted = ""
        self._stale = ""  # the newest entry in the spool, where it is none of this store's

    async def follow(self, leased: HeldLane | None) -> None:
        """Where this journal has the lane, its entries are read as those of any lane. Raises StoreError, OSError."""
        if leased is not None:
            self._at = leased.position
        else:
            counted = await self._outbox.position(RULES_LANE)
            if counted != self._at:
                await self.catch_up(counted, await self._outbox.end(RULES_LANE, counted))
        if self._at and self._at != self._noted:
            await self._outbox.note_copied(self._node, self._at)
            self._noted = self._at

    async def catch_up(self, counted: str, end: StreamEnd) -> None:
        """Copy what is counted up to that entry. Raises StoreError, OSError."""
        source = source_of(RULES_LANE, end.epoch)
        at = await self._position(self._spool.last(source), end)
        while order_of(at) < order_of(counted) and not self._spool.is_full():
            entries = await self._counted(at, counted)
            if not entries:
                at = counted  # they are trimmed, or the store lost them
                break
            await self._copy([(source, entry) for entry in entries])
            at = entries[-1].id
        self._at = at

    async def _position(self, spooled: str, end: StreamEnd) -> str:
        """Behind what this node goes on: the spool knows it best, unless it is new, or the store is another one. A
        stream that ends before (a failover) goes on at its end; the journal with the lease says what is missing."""
        if not self._at:
            self._at = self._noted = await self._outbox.copied(self._node)
            if order_of(spooled) > order_of(self._at) and not await self._outbox.has(RULES_LANE, spooled):
                self._stale = spooled
        if spooled != self._stale:
            self._at = max(self._at, spooled, key=order_of)
        return min(self._at, end.last, key=order_of)

    async def _counted(self, after: str, last: str) -> list[Entry]:
        page = await self._outbox.read(RULES_LANE, after, _ROOM)
        return [entry for entry in page.entries if order_of(entry.id) <= order_of(last)]
