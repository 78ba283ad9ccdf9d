"""The watch of a process over suppressions: it knows by fingerprints which recipients may be suppressed."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Final

from mta.model.errors import StoreError, severity
from mta.model.suppressions import SuppressionKey
from mta.policy.fingerprints import Fingerprints, fingerprint
from mta.ports.suppressions import SHARES, SuppressionChanges, SuppressionHead
from mta.timing.alarm import Alarm
from mta.timing.follow import follow

log = logging.getLogger(__name__)

_STALE: Final = 1000  # removed suppressions whose fingerprints are kept at least


class SuppressionWatch:
    """Mail does not wait for the fingerprints: until they are read, the store is asked about every recipient."""

    def __init__(self, changes: SuppressionChanges) -> None:
        self._changes = changes
        self._alarm = Alarm()
        self._prints = Fingerprints()
        self._read = False  # whether `_prints` has all
        self._head = SuppressionHead(0, 0, b"")  # as far as it is in force here
        self._removed = 0  # when the fingerprints were read
        self._reading: asyncio.Task[None] | None = None
        self._since: list[Sequence[int]] = []  # announced since the reading began
        self._known = asyncio.Event()
        changes.on_change(self._alarm.ring)

    @property
    def is_on(self) -> bool:
        """Whether there may be any suppression."""
        return self._head.number > 0 and (not self._read or len(self._prints) > 0)

    @property
    def number(self) -> int:
        """Of the last announcement that is in force here."""
        return self._head.number

    def __len__(self) -> int:
        return len(self._prints)

    def may_be(self, keys: Sequence[SuppressionKey]) -> list[SuppressionKey]:
        """Those that may be kept."""
        if not self._read:
            return list(keys)
        prints = self._prints
        return [key for key in keys if fingerprint(key.name) in prints]

    async def run(self) -> None:
        """Until cancelled."""
        try:
            await follow(self.look, self._alarm, StoreError, _tell)
        finally:
            if self._reading is not None:
                self._reading.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._reading

    async def ready(self) -> None:
        """Returns once it is known whether there are suppressions."""
        await self._known.wait()

    async def look(self) -> None:
        """Take over the announcements of the store. Raises StoreError."""
        head = await self._changes.head()
        if head.born != self._head.born or head.number < self._head.number:
            self._forget(head)
        while self._head.number < head.number and self._head.born == head.born:
            announced = await self._changes.announced(self._head.number)
            if not announced:
                self._forget(head)
                break
            for number, prints in announced:
                self._prints.add(prints)
                if self._reading is not None:
                    self._since.append(prints)
                self._head = head._replace(number=number)
                await asyncio.sleep(0)
        self._known.set()
        if not head.number:
            self._prints, self._read = Fingerprints(), True
        gone = head.removed - self._removed
        if self._reading is None and (not self._read or gone > max(_STALE, len(self._prints) // 4)):
            self._reading = asyncio.create_task(self._read_all(head), name="fingerprints of suppressions")

    def _forget(self, head: SuppressionHead) -> None:
        """Too much is unknown: until all is read anew, every recipient may be suppressed."""
        self._head, self._read, self._removed = head, False, head.removed
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    async def _read_all(self, head: SuppressionHead) -> None:
        self._since = []
        try:
            found = Fingerprints()
            found.add(await self._changes.recent())  # before the pages: a page may have been read too early for them
            for share in range(SHARES):
                cursor, is_first = 0, True
                while cursor or is_first:
                    cursor, prints = await self._changes.prints(share, cursor)
                    found.add(prints)
                    is_first = False
            for prints in self._since:
                found.add(prints)
            self._prints, self._read, self._removed = found, True, head.removed
        except StoreError as error:
            _tell(error)
        finally:
            if self._reading is asyncio.current_task():
                self._reading = None


def _tell(error: StoreError) -> None:
    log.log(severity(error), "the suppressions cannot be read: %s", error)
