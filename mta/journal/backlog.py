"""The backlog of a lane that is too far behind, where the settings say that its oldest events are dropped."""

import logging
from collections.abc import Awaitable, Callable, Sequence

from mta.journal.leases import HeldLane, Leases
from mta.model.event_settings import JournalSettings
from mta.model.events import Event, EventType
from mta.ports.event_sinks import Item
from mta.ports.journal import RULES_LANE, Outbox
from mta.timing.clock import wall_ms

_log = logging.getLogger(__name__)


class Backlog:
    """Does something only with journal.when_behind = "drop"."""

    def __init__(
        self,
        outbox: Outbox,
        leases: Leases,
        settings: JournalSettings,
        write_own: Callable[[Sequence[Item]], Awaitable[None]],
    ) -> None:
        """`write_own` makes the journal's own events durable."""
        self._outbox = outbox
        self._leases = leases
        self._settings = settings
        self._write_own = write_own
        self.dropped = 0  # entries

    async def look(self) -> None:
        """Drop what is too old in the lanes of this journal, but never events of the rule table. Raises StoreError,
        OSError."""
        if self._settings.when_behind == "drop":
            for lane in self._leases.lanes:
                if lane.number != RULES_LANE:
                    await self._look_at(lane)

    async def _look_at(self, lane: HeldLane) -> None:
        """The gap is written before it is made: a crash between the two announces one that is not there yet."""
        backlog, keep = await self._outbox.backlog(lane.number), self._settings.backlog_soft
        if backlog <= self._settings.backlog_hard or not self._leases.may_read(lane):
            return
        reason = (
            f"lane {lane.number} was {backlog} entries behind: the oldest {backlog - keep} after {lane.position} are "
            'dropped unread (journal.when_behind = "drop")'
        )
        _log.error("%s", reason)
        gap = Event(EventType.GAP, wall_ms(), reason=reason)
        await self._write_own([(f"gap.{lane.number}.{lane.position}", gap)])
        self.dropped += await self._leases.drop(lane, keep)
