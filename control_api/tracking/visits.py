"""Visits of tracked mail on their way to the store: opens and clicks become events, which are written together.

A visitor is never kept waiting by the store. Events that find no room while the store is away are dropped and counted.
"""

import asyncio
import contextlib
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from mta.model.engagement import TrackedMail
from mta.model.errors import StoreError
from mta.model.events import Event, EventType, engagement_event
from mta.ports.tracking import EngagementStore, LinkCount
from mta.timing.clock import wall_ms

_EVERY: Final = 0.5  # seconds between two times of writing
_MOST_WAITING: Final = 10_000  # events
_MOST_LINKS: Final = 10_000  # kinds of clicks between two times of writing
_MOST_AT_ONCE: Final = 1000  # events
_MOST_OF_ONE: Final = 20  # events of one link of one mail in an hour: a link that is reloaded floods no log
_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 86_400_000
_MOST_REMEMBERED: Final = 100_000  # links
_LONGEST_AGENT: Final = 200  # characters

_log = logging.getLogger(__name__)


class Visitor(NamedTuple):
    """The sender of a request."""

    address: str
    agent: str
    machine: str  # the kind of machine, "" = it may be a reader


class Visits:
    """Waits in memory, and writes twice a second."""

    def __init__(self, store: EngagementStore, node: str, clock: Callable[[], int] = wall_ms) -> None:
        self._store = store
        self._node = node
        self._clock = clock
        self._waiting: list[Event] = []
        self._clicks: Counter[LinkCount] = Counter()
        self._seen: OrderedDict[tuple[bytes, str], tuple[int, int]] = OrderedDict()  # -> hour, events in it
        self.dropped = 0  # events that the store has not counted yet
        self._told = 0  # of these, in the log

    def open(self, mail: TrackedMail, visitor: Visitor) -> None:
        self._take(EventType.OPEN, mail, visitor, "")

    def click(self, mail: TrackedMail, visitor: Visitor, link: str) -> None:
        self._take(EventType.CLICK, mail, visitor, link)

    def _take(self, kind: EventType, mail: TrackedMail, visitor: Visitor, link: str) -> None:
        now = self._clock()
        if not self._is_wanted(mail.id, link, now):
            return
        if link:
            count = LinkCount(mail.tenant, link, bool(visitor.machine))
            if count in self._clicks or len(self._clicks) < _MOST_LINKS:
                self._clicks[count] += 1
        if len(self._waiting) >= _MOST_WAITING:
            self.dropped += 1
            return
        said = {"agent": visitor.agent[:_LONGEST_AGENT], "link": link}
        properties = {name: value for name, value in said.items() if value}
        event = engagement_event(kind, now, self._node, mail, visitor.address, visitor.machine, properties)
        self._waiting.append(event)

    def _is_wanted(self, mail: bytes, link: str, now: int) -> bool:
        key, hour = (mail, link), now // _HOUR_MS
        known, many = self._seen.pop(key, (hour, 0))
        many = many + 1 if known == hour else 1
        self._seen[key] = hour, many
        if len(self._seen) > _MOST_REMEMBERED:
            self._seen.popitem(last=False)
        return many <= _MOST_OF_ONE

    async def write_until(self, stopped: asyncio.Event) -> None:
        """Write until told to stop, and then what is left."""
        is_last = False
        while not is_last:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EVERY):
                    await stopped.wait()
            is_last = stopped.is_set()
            await self._write()

    async def _write(self) -> None:
        if self.dropped > self._told:
            _log.warning("%d opens and clicks were dropped: the store took none", self.dropped - self._told)
            self._told = self.dropped
        try:
            if dropped := self.dropped:
                await self._store.add_dropped(dropped)
                self.dropped -= dropped
                self._told -= dropped
            while self._waiting:
                part = self._waiting[:_MOST_AT_ONCE]
                await self._store.note(part)
                del self._waiting[: len(part)]
            if self._clicks:
                clicks, self._clicks = self._clicks, Counter()
                try:
                    await self._store.add_clicks(self._clock() // _DAY_MS, clicks)
                except StoreError:
                    self._clicks.update(clicks)
                    raise
        except StoreError as error:
            _log.debug("opens and clicks are written later: %s", error)
