"""Epochs: a stream that lost entries which this journal had read gets a new one, and the log a Gap."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from mta.journal.leases import HeldLane, Leases
from mta.model.entries import order_of
from mta.model.events import Event, EventType
from mta.ports.event_sinks import Item
from mta.ports.journal import Outbox, StreamEnd, name_of
from mta.timing.clock import wall_ms

_NOTHING: Final = "0-0"  # the position of a lane that nobody has read

_log = logging.getLogger(__name__)


class Epochs:
    """Looks after a lease was taken or renewed, and after the store was away; else it costs nothing.

    A server that takes over in a failover may lack the newest entries. They are in the log already, although what they
    tell is undone in the store. The journal sees it by the end of the stream, which lies before its position; or, when
    newer entries have come meanwhile, by the count of entries up to that position.
    """

    def __init__(self, outbox: Outbox, leases: Leases, write_own: Callable[[Sequence[Item]], Awaitable[None]]) -> None:
        """`write_own` makes the journal's own events durable."""
        self._outbox = outbox
        self._leases = leases
        self._write_own = write_own

    async def look(self) -> None:
        """Raises StoreError, OSError: the next look goes on."""
        doubtful = [lane for lane in self._leases.lanes if lane.doubtful]
        ends = await asyncio.gather(*(self._outbox.end(lane.number, lane.position) for lane in doubtful))
        for lane, end in zip(doubtful, ends, strict=True):  # one after the other, since the spool has one writer
            await self._judge(lane, end)

    async def _judge(self, lane: HeldLane, end: StreamEnd) -> None:
        missing = max(0, lane.added - end.added)
        if missing or order_of(end.last) < order_of(lane.position):
            if not end.born:
                return  # the supervisor is about to prepare an emptied store
            # Entries that only the spool has, behind the position in the store, say nothing about the stream now.
            start = min(lane.position if lane.added >= 0 else lane.noted, end.last, key=order_of)
            if not _is_emptied(lane, end):
                await self._begin_epoch(lane, start, missing)
            lane.position, lane.born = start, end.born
            end = await self._outbox.end(lane.number, lane.position)
        lane.added, lane.doubtful = end.added, False

    async def _begin_epoch(self, lane: HeldLane, start: str, missing: int) -> None:
        """The Gap is durable before the position moves: a journal that dies between the two says it once more."""
        epoch = await self._outbox.raise_epoch(lane.number, lane.epoch)
        reason = (
            f"lane {name_of(lane.number)}: the store lost {missing or 'some'} entries of events up to {lane.position} "
            f"that were read before, as after a failover; reading goes on behind {start} in epoch {epoch}"
        )
        _log.error("%s", reason)
        gap = Event(EventType.GAP, wall_ms(), reason=reason)
        await self._write_own([(f"gap.{name_of(lane.number)}.{epoch}.{lane.position}", gap)])
        lane.epoch = epoch


def _is_emptied(lane: HeldLane, end: StreamEnd) -> bool:
    """The whole store was emptied, not only the end of the stream lost: the supervisor says so. A journal that has just
    taken the lane knows it by the position, which is gone as well."""
    return end.born != lane.born or (lane.added < 0 and lane.noted == _NOTHING)
