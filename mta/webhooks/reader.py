"""The reader: it reads history once for all streams that are at the same place, and finds those that want an event."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from mta.model.errors import HistoryError, HistoryNotBegun
from mta.model.events import Event
from mta.model.webhooks import Endpoint
from mta.policy.webhook_events import Takers, bodies_of, kind_of
from mta.ports.history import Cursor, EventPage, History, KeptEvent
from mta.timing.alarm import Alarm
from mta.webhooks.sender import Sender
from mta.webhooks.stream import Item, Stream

log = logging.getLogger(__name__)

_PAGE: Final = 500  # events: their JSON takes the loop ten milliseconds
_LOOK: Final = 0.25  # seconds between two looks at the end of history
_AWAY: Final = 1.0  # after history did not answer

Target = tuple[Sender, Stream]


class EventReader:
    """For all senders of a process."""

    def __init__(self, history: History, senders: Callable[[], Iterable[Sender]]) -> None:
        self._history = history
        self._senders = senders
        self._alarm = Alarm()
        self._takers: tuple[tuple[tuple[Endpoint, bool], ...], Takers[Target]] | None = None
        self.trouble = ""  # why history cannot be read at present
        self.at_end = False

    def ring(self) -> None:
        """Some stream takes more events."""
        self._alarm.ring()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                more = await self.look()
                self._tell("")
                pause = 0.0 if more else _LOOK
            except HistoryError as error:
                self._tell(str(error), quiet=isinstance(error, HistoryNotBegun))
                pause = _AWAY
            await (self._alarm.sleep(pause) if pause else asyncio.sleep(0))

    async def look(self) -> bool:
        """Read one page for each place at which streams are; whether there is more. Raises HistoryError."""
        at: dict[Cursor, list[Target]] = {}
        for sender in self._senders():
            for stream in sender.streams_with_room():
                at.setdefault(stream.next_read, []).append((sender, stream))
        more = False
        for place, targets in at.items():
            takers = self._index(targets)
            page = await self._history.events(place, _PAGE, takers.unwanted)
            self._hand_on(page, targets, takers)
            more = more or not page.at_end
        return more

    def _tell(self, trouble: str, *, quiet: bool = False) -> None:
        if trouble and trouble != self.trouble and not quiet:
            log.warning("webhooks wait for history: %s", trouble)
        self.trouble = trouble

    def _hand_on(self, page: EventPage, targets: list[Target], takers: Takers[Target]) -> None:
        """The place of each stream moves behind the page."""
        touched: set[Sender] = set()
        kinds = takers.kinds
        wanted: list[tuple[KeptEvent, Sequence[Target]]] = []
        told: list[tuple[str, Event]] = []
        for kept in page.events:
            event = kept.event
            kind = kind_of(event)
            found = takers.of(kind, event) if kind in kinds else None
            if found:
                wanted.append((kept, found))
                told.append((kind, event))
        for ((at, event_id, event), found), body in zip(wanted, bodies_of(told), strict=True):
            message = event.id[:16] if event.id is not None else b""
            item = Item(at, event.time, event_id, message, body)
            for sender, stream in found:
                if stream is sender.live or sender.replays(stream, at, event.time):
                    stream.append(item)
                    touched.add(sender)
        for sender, stream in targets:
            stream.next_read, stream.is_behind = page.next, not page.at_end
            if page.missing:
                sender.lose(page.missing)
            if stream is not sender.live:
                touched.add(sender)
        for sender in touched:
            sender.ring()

    def _index(self, targets: list[Target]) -> Takers[Target]:
        key = tuple((sender.endpoint, stream is sender.live) for sender, stream in targets)
        if self._takers is None or self._takers[0] != key:
            self._takers = key, Takers((sender.endpoint, (sender, stream)) for sender, stream in targets)
        return self._takers[1]
