"""The identity of the node's store: the supervisor notices when the store was emptied, and prepares it again."""

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from mta.model.events import Event, EventType
from mta.timing.clock import wall_ms

log = logging.getLogger(__name__)

_LOST = "the store was found emptied: mail that waited in it is gone, and so are its rules, pauses and counters"


class Foundation(Protocol):
    """The id of a store, which is written when it is created; each call raises StoreError."""

    async def store_id(self) -> str: ...

    async def found(self) -> str: ...

    async def note_emptied(self, event: Event) -> None: ...


class StoreIdentity:
    """The id of the store is kept in `<data_dir>/store.id`, so that a node also notices after its own restart."""

    def __init__(
        self,
        foundation: Foundation,
        file: Path,
        node: str,
        prepare: Callable[[], Awaitable[None]],
    ) -> None:
        """`prepare` writes what this node keeps in a store: the cluster's settings and its token."""
        self._foundation = foundation
        self._file = file
        self._node = node
        self._prepare = prepare
        self._known = ""
        self._untold = False  # the store was emptied, and that is not noted in it yet

    async def begin(self) -> None:
        """Learn the id of the store, which `prepare` has prepared. Raises StoreError: it may be called again."""
        known = self._file.read_text().strip() if self._file.exists() else ""
        await self._take(self._untold or (bool(known) and not await self._foundation.store_id()))

    async def look(self) -> None:
        """Prepare the store again if it is no longer the same. Raises StoreError: the next look goes on."""
        if self._untold or await self._foundation.store_id() != self._known:
            await self._prepare()
            await self._take(True)

    async def _take(self, emptied: bool) -> None:
        if emptied and not self._untold:
            self._untold = True
            log.critical("%s; POST /v1/store/acknowledge when that is known", _LOST)
        self._known = await self._foundation.found()
        if emptied:
            event = Event(EventType.GAP, wall_ms(), node=self._node, reason=_LOST)
            await self._foundation.note_emptied(event)
            self._untold = False
        self._keep()

    def _keep(self) -> None:
        try:
            if not self._file.exists() or self._file.read_text().strip() != self._known:
                self._file.write_text(self._known + "\n")
        except OSError as error:
            log.warning(
                "%s cannot be written: a store emptied while this node is down is not noticed: %s", self._file, error
            )
