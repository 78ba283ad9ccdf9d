"""The events of the rule table in this node's log, where another node's journal has the lease of their lane."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from mta.model.entries import Entry, order_of
from mta.ports.journal import RULES_LANE, Outbox, source_of
from mta.ports.spool import Sourced, Spool

_ROOM: Final = 256 * 1024  # bytes of events taken at once
_SOURCE: Final = source_of(RULES_LANE)


class RuleLog:
    """Copies what the journal with the lease has counted, and never more: should this journal get the lease, it goes on
    behind its last copy, so that no event is in the spool twice."""

    def __init__(self, outbox: Outbox, spool: Spool, node: str) -> None:
        """`node` keeps its place in the lane from one journal to the next."""
        self._outbox = outbox
        self._spool = spool
        self._node = node
        self._at_start = spool.last(_SOURCE)
        self._begin = ""  # the place of earlier journals, "" = not known yet
        self._noted = ""

    async def position(self) -> str:
        """The last entry of the lane that is in this node's spool. Raises StoreError.

        The spool knows it best, unless it is new, or the store is another one or lost what it had."""
        last = self._spool.last(_SOURCE)
        if last != self._at_start:
            return last
        if not self._begin:
            self._noted = noted = await self._outbox.copied(self._node)
            newer = order_of(last) > order_of(noted) and await self._outbox.has(RULES_LANE, last)
            self._begin = last if newer else noted
        return self._begin

    async def follow(self, leased: bool, copy: Callable[[Sequence[Sourced]], Awaitable[None]]) -> None:
        """`copy` makes entries durable and hands them to the sinks; not where this journal has `leased` the lane: there
        they are read as those of any lane. Raises StoreError, OSError."""
        at = await self.position()
        if not leased:
            counted = await self._outbox.position(RULES_LANE)
            while order_of(at) < order_of(counted) and not self._spool.is_full():
                entries = await self._counted(at, counted)
                if not entries:
                    break  # they are trimmed
                await copy([(_SOURCE, entry) for entry in entries])
                at = entries[-1].id
        if at != self._noted:
            await self._outbox.note_copied(self._node, at)
            self._noted = at

    async def _counted(self, after: str, last: str) -> list[Entry]:
        page = await self._outbox.read(RULES_LANE, after, _ROOM)
        return [entry for entry in page.entries if order_of(entry.id) <= order_of(last)]
