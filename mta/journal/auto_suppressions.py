"""Hard bounces become suppressions: a consumer of the journal's events beside the log, with a place of its own."""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Final

from mta.model.errors import StoreError
from mta.model.suppressions import Suppressed, SuppressionKey
from mta.policy.auto_suppressions import suppression_by
from mta.ports.event_sinks import Item
from mta.ports.suppressions import SuppressionStore

log = logging.getLogger(__name__)

_PATIENCE: Final = 0.3  # seconds for which a sync waits for the store
_AT_ONCE: Final = 500  # suppressions


class AutoSuppressions:
    """Fulfils ports.event_sinks.EventSink. Its calls come on the journal's thread; the store is asked on the loop.

    An address that is suppressed already stays as it is, so that events which come again change nothing, and neither
    does a bounce of an address whose owner has unsubscribed."""

    def __init__(self, store: SuppressionStore, loop: asyncio.AbstractEventLoop) -> None:
        self._store = store
        self._loop = loop
        self._added: dict[SuppressionKey, Suppressed] = {}
        self._under_way: list[Future[None]] = []

    def add(self, events: Sequence[Item]) -> None:
        for _, event in events:
            if event.fault == "recipient" and (found := suppression_by(event)) is not None:
                self._added[found.key] = found

    def write(self) -> None:
        if self._added:
            items, self._added = list(self._added.values()), {}
            self._under_way.append(asyncio.run_coroutine_threadsafe(self._keep(items), self._loop))

    def sync(self) -> None:
        """Raises OSError while the store has not answered: what is under way comes again."""
        under_way, self._under_way = self._under_way, []
        for one in under_way:
            try:
                one.result(_PATIENCE)
            except (StoreError, TimeoutError) as error:
                raise OSError(f"suppressions after bounces are made later: {error or 'no answer'}") from error

    def reopen(self) -> None:
        """There is no file."""

    def close(self) -> None:
        """Suppressions under way are made, or their events come again."""

    async def _keep(self, items: Sequence[Suppressed]) -> None:
        for at in range(0, len(items), _AT_ONCE):
            some = items[at : at + _AT_ONCE]
            known = await self._store.find([key for key, _ in some])
            new = [
                Suppressed(key, value)
                for key, value in some
                if (there := known.get(key)) is None or not there.in_force(value.created_at)
            ]
            if new:
                await self._store.put(new)
