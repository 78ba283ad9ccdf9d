"""The counts of the mail with one tag, queue by queue, made by reading the mail."""

from collections.abc import Sequence
from typing import Final

import msgspec

from mta.model.mail import QueueKey, Record
from mta.ports.books import QueueCounts
from mta.ports.queue_work import MailSelection, PagePlace, QueueWorkStore
from mta.ports.sites import SiteLookup, of_site
from mta.ports.sweeps import SweepStore

_COUNTED: Final = 20_000  # deliveries that are looked at in one answer; the last queue is read to its end
_READ: Final = 500  # of a queue and lane in one step


class _Tally(msgspec.Struct):
    """One queue while its mail is read; times are Unix ms, 0 = none."""

    due: int = 0
    later: int = 0
    claimed: int = 0
    pauses: dict[str, int] = {}
    next_due: int = 0
    oldest: int = 0
    first: Record | None = None
    tried: Record | None = None

    def saw(self, record: Record) -> None:
        if not self.oldest or record.accepted_at < self.oldest:
            self.oldest = record.accepted_at
        if record.last is not None:
            self.tried = record

    def counts(self, queue: QueueKey) -> QueueCounts:
        return QueueCounts(
            queue, self.due, self.later, self.claimed, sum(self.pauses.values()), self.next_due, self.oldest,
            self.pauses, self.first, tried=self.tried,
        )  # fmt: skip


class QueueCounter:
    """The part of ports.queue_work.QueueWork that counts."""

    def __init__(self, store: QueueWorkStore, sweeps: SweepStore, sites: SiteLookup) -> None:
        self._store = store
        self._sweeps = sweeps
        self._sites = sites

    async def counts(
        self, selection: MailSelection, after: QueueKey | None, most: int, now: int
    ) -> tuple[list[QueueCounts], QueueKey | None]:
        """As the port says, at `now` (Unix ms)."""
        tallies = await self._claimed_and_held(selection)
        shares: dict[QueueKey, list[str]] = {}
        for queue, share in await self._store.queues(selection):
            shares.setdefault(queue, []).append(share)
        found: list[QueueCounts] = []
        looked = 0
        queues = shares.keys() | tallies.keys()
        domains = await of_site(self._sites, selection.site, [queue.domain for queue in queues])
        for queue in sorted(queues):
            if queue.domain not in domains or (after is not None and queue <= after):
                continue
            tally = tallies.setdefault(queue, _Tally())
            looked += await self._read(queue, shares.get(queue, ()), selection, tally, now)
            if tally.due or tally.later or tally.claimed or tally.pauses:
                found.append(tally.counts(queue))
            if len(found) == most or looked >= _COUNTED:
                return found, queue
        return found, None

    async def _read(
        self, queue: QueueKey, shares: Sequence[str], selection: MailSelection, tally: _Tally, now: int
    ) -> int:
        """Count what is queued; how many deliveries were looked at."""
        place, looked = PagePlace(queue), 0
        while shares:
            page = await self._store.behind(place, shares, _READ)
            looked += len(page)
            for one in page:
                place = PagePlace(queue, one.due_at, one.id)
                if not selection.has(one.record):
                    continue
                tally.saw(one.record)
                if tally.first is None:
                    tally.first, tally.next_due = one.record, one.due_at
                if one.due_at <= now:
                    tally.due += 1
                else:
                    tally.later += 1
            if len(page) < _READ:
                break
        return looked

    async def _claimed_and_held(self, selection: MailSelection) -> dict[QueueKey, _Tally]:
        found: dict[QueueKey, _Tally] = {}
        for queue, record in await self._store.claimed():
            if selection.has_queue(queue) and selection.has(record):
                tally = found.setdefault(queue, _Tally())
                tally.claimed += 1
                tally.saw(record)
        for lane in range(self._sweeps.lanes):
            for pause in await self._sweeps.pauses(lane):
                await self._held(lane, pause, selection, found)
        return found

    async def _held(self, lane: int, pause: str, selection: MailSelection, found: dict[QueueKey, _Tally]) -> None:
        cursor, seen = 0, set[bytes]()  # a walk may show a delivery twice
        while True:
            cursor, page = await self._sweeps.scan_held(lane, pause, cursor, _READ)
            for one in page:
                if one.id not in seen and selection.has_queue(one.queue) and selection.has(one.record):
                    seen.add(one.id)
                    tally = found.setdefault(one.queue, _Tally())
                    tally.pauses[pause] = tally.pauses.get(pause, 0) + 1
                    tally.saw(one.record)
            if not cursor:
                return
