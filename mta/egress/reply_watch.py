"""The reply watch of a worker: it follows the entries that all nodes share, and tells the unknown replies."""

import logging
from collections.abc import Callable, Mapping

from mta.egress.reply_knowledge import ReplyKnowledge
from mta.model.errors import StoreError, severity
from mta.model.replies import ReplyEntry
from mta.policy.replies import ReplyBook, fault_of, merged
from mta.ports.replies import ReplyStore
from mta.timing.alarm import Alarm
from mta.timing.clock import wall_ms
from mta.timing.follow import follow

log = logging.getLogger(__name__)


class ReplyWatch:
    """Keeps the book of a `ReplyKnowledge` up to date."""

    def __init__(
        self,
        store: ReplyStore,
        knowledge: ReplyKnowledge,
        layers: tuple[Mapping[str, ReplyEntry], ...],
        clock: Callable[[], int] = wall_ms,
    ) -> None:
        """`layers` are the entries below those of the store, the strongest first."""
        self._store = store
        self._knowledge = knowledge
        self._layers = layers
        self._clock = clock
        self._version = b"0|"
        self._alarm = Alarm()
        store.on_change(self._alarm.ring)
        knowledge.book = ReplyBook(merged(*layers))

    async def run(self) -> None:
        """Until cancelled."""
        await follow(self._look_and_tell, self._alarm, StoreError, _tell)

    async def _look_and_tell(self) -> None:
        await self.look()
        await self.tell()

    async def look(self) -> None:
        """Take over the entries of the store. Raises StoreError."""
        found = await self._store.entries(self._version)
        if found is None:
            return
        usable = {}
        for name, entry in found.entries.items():
            fault = fault_of(entry)  # an entry of another release
            if fault is None:
                usable[name] = entry
            else:
                log.error("the reply entry %s of the cluster is not used: %s", name, fault)
        self._knowledge.book = ReplyBook(merged(usable, *self._layers))
        self._version = found.version

    async def tell(self) -> None:
        """Count the unknown replies in the store. Raises StoreError; then they are not counted."""
        unknown = self._knowledge.take_unknown()
        if unknown:
            await self._store.note_unknown(unknown, self._clock())


def _tell(error: StoreError) -> None:
    log.log(severity(error), "the reply entries of the cluster cannot be read: %s", error)
