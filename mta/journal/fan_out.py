"""The fan-out: it decodes what the spool holds once and hands it to each sink, which has a place of its own in it."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from mta.journal.decoding import Decoder, Piece, own_entry
from mta.journal.history_feed import HistoryFeed
from mta.model.errors import severity
from mta.model.events import Event, EventType
from mta.ports.event_sinks import EventSink, Item
from mta.ports.spool import Damage, Place, Sourced, Spool
from mta.timing.backoff import Backoff
from mta.timing.clock import wall_ms

_FIRST_PAUSE: Final = 0.1  # seconds after which a sink that failed is tried again
_LAST_PAUSE: Final = 5.0
_BATCHES: Final = 4  # that a sink which is behind gets in one call
# Bytes of the spool after which a sink is synced at once. After a crash so much comes again: less than what the log
# knows of its own end (log_file.delivery_log), as lines have about three times as many bytes.
_UNSYNCED: Final = 4 * 1024 * 1024

_LET_GO: Final = 4  # a full spool loses this part of it at once

_log = logging.getLogger(__name__)


class _Consumer:
    """A sink and how far it is in the spool."""

    __slots__ = ("at", "backoff", "kept", "name", "next_try", "sink")

    def __init__(self, name: str, sink: EventSink, place: Place) -> None:
        self.name = name
        self.sink = sink
        self.at = place  # everything before it was written
        self.kept = place  # everything before it is durable
        self.backoff = Backoff(_FIRST_PAUSE, _LAST_PAUSE)
        self.next_try = 0.0


class FanOut:
    """A sink that fails or is slow falls behind: it holds the spool, and neither the store nor the other sinks.

    Blocking calls, made on one thread.
    """

    def __init__(
        self,
        spool: Spool,
        sinks: Mapping[str, EventSink],
        history: HistoryFeed | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`sinks` by the names under which the spool knows their places; None: no history is kept. `close` closes them
        and the spool."""
        self._history = history
        self._spool = spool
        self._clock = clock
        self._decoder = Decoder()
        self._noted = history.kept if history is not None else None
        self._consumers = [_Consumer(name, sink, spool.place_of(name)) for name, sink in sinks.items()]
        self.failures = self.damages = 0

    @property
    def undecodable(self) -> int:
        """Events that could not be read so far."""
        return self._decoder.undecodable

    def lag(self) -> bool:
        """A sink is behind the spool's end and may be tried now."""
        end, now = self._spool.end, self._clock()
        if self._history is not None and self._history.is_behind():
            return True
        return any(one.at != end and now >= one.next_try for one in self._consumers)

    def next_due(self) -> float:
        """When `tick` has something to do, by the clock."""
        return self._history.next_due() if self._history is not None else float("inf")

    def tick(self) -> None:
        """Look after the rounds of history."""
        if self._history is not None:
            self._history.tick()

    def note_known(self, known: Mapping[str, int]) -> None:
        """Source -> Unix ms up to which everything is in the spool."""
        if self._history is not None:
            self._history.note_known(known)

    def append(self, entries: Sequence[Sourced]) -> Place:
        """Make them durable in the spool; the place where they begin. Raises OSError."""
        start = self._spool.end
        self._spool.append(entries)
        return start

    def hand_on(self, start: Place, entries: Sequence[Sourced], shown: list[Item] | None = None) -> None:
        """The entries just appended at `start`, to each sink that has all before them; their events to `shown`."""
        end = self._spool.end
        ready = [one for one in self._consumers if one.at == start and not one.backoff.pause]
        history = self._history if self._history is not None and self._history.wants(start, entries) else None
        self._give(ready, self._decoder.pieces(entries), end, shown, history)

    def catch_up(self) -> None:
        """A few batches of the spool for each sink that is behind and may be tried again."""
        for one in self._consumers:
            for _ in range(_BATCHES):
                if one.at == self._spool.end or self._clock() < one.next_try:
                    break
                self._give_next(one)
        if self._history is not None:
            self._feed(self._history)

    def needs_sync(self) -> bool:
        """Something was written that may not be durable at its sink."""
        history = self._history
        return any(one.kept != one.at for one in self._consumers) or (
            history is not None and history.kept != self._noted
        )

    def sync(self) -> None:
        """Everything written is durable at the sinks, or comes again; the spool is trimmed behind the slowest."""
        for one in self._consumers:
            if one.kept != one.at:
                self._sync(one)
        kept = [one.kept for one in self._consumers]
        try:
            if self._history is not None:
                self._noted = self._history.kept
                kept.append(self._noted)
                self._spool.note(self._history.name, self._noted)
            self._spool.trim(min(kept))
        except OSError as error:
            _log.warning("the spool cannot be trimmed: %s", error)

    def make_room(self) -> None:
        """Where history alone fills the spool, it loses its oldest events: mail never waits for a database."""
        history = self._history
        if history is not None and self._spool.is_full():
            end = min(one.kept for one in self._consumers)
            place = min(end, self._spool.behind(history.kept, self._spool.size // _LET_GO))
            if place.segment > history.kept.segment:
                history.let_go(place)
                self.sync()

    def history_metrics(self) -> dict[str, float]:
        """{} = this journal writes none."""
        return self._history.metrics() if self._history is not None else {}

    @property
    def blocked_lane(self) -> str:
        """The lane whose events history must get from another journal first, "" = none."""
        return self._history.blocked_lane if self._history is not None else ""

    def skip_blocked(self) -> None:
        """History goes on without them."""
        if self._history is not None:
            self._history.skip_blocked()

    def reopen(self) -> None:
        for one in self._consumers:
            self._sync(one)  # the file that is moved away is complete, and none of its lines comes again
            try:
                one.sink.reopen()
            except OSError as error:
                self._fail(one, error)

    def close(self) -> None:
        if self._history is not None:
            self._history.close()
        self.sync()
        for one in self._consumers:
            one.sink.close()
        self._spool.close()

    def _give_next(self, one: _Consumer) -> None:
        try:
            found = self._spool.read(one.at)
        except OSError as error:
            self._fail(one, error)
            return
        if isinstance(found, Damage):
            self.damages += 1
            _log.error("the spool is damaged: %s", found.reason)
            self._give([one], [Piece((), (), [_gap(one.at, found.reason)])], found.end)
        else:
            self._give([one], self._decoder.pieces(found.entries), found.end)

    def _feed(self, history: HistoryFeed) -> None:
        """A few batches of the spool for history, where it is behind and takes more."""
        for _ in range(_BATCHES):
            if not history.is_behind():
                break
            at = history.at
            try:
                found = self._spool.read(at)
            except OSError as error:
                _log.log(severity(error), "history is held up by the spool: %s", error)
                break
            if isinstance(found, Damage):
                self.damages += 1
                _log.error("the spool is damaged: %s", found.reason)
                item = _gap(at, found.reason)
                self._give([], [Piece([own_entry(*item)], [1], [item])], found.end, None, history)
            elif history.wants(at, found.entries):
                self._give([], self._decoder.pieces(found.entries), found.end, None, history)
            else:
                break
        history.tick()

    def _give(
        self,
        to: list[_Consumer],
        pieces: Iterable[Piece],
        end: Place,
        shown: list[Item] | None = None,
        history: HistoryFeed | None = None,
    ) -> None:
        """Every piece is made once, used by all, and let go of."""
        for piece in pieces:
            to = [one for one in to if self._add(one, piece.items)]
            if shown is not None:
                shown += piece.items
            if history is not None:
                history.add(piece)
        for one in to:
            self._write(one, end)
        if history is not None:
            history.passed(end)

    def _add(self, one: _Consumer, piece: list[Item]) -> bool:
        try:
            one.sink.add(piece)
        except OSError as error:
            self._fail(one, error)
            return False
        return True

    def _write(self, one: _Consumer, end: Place) -> None:
        try:
            one.sink.write()
        except OSError as error:
            self._fail(one, error)
            return
        one.at = end
        if one.backoff.pause:
            one.backoff.succeeded()
            _log.info("%s is written again", one.name)
        if end.segment != one.kept.segment or end.offset - one.kept.offset > _UNSYNCED:
            self._sync(one)

    def _sync(self, one: _Consumer) -> None:
        try:
            one.sink.sync()
            self._spool.note(one.name, one.at)
            one.kept = one.at
        except OSError as error:
            one.at = one.kept
            self._pause(one, error)

    def _fail(self, one: _Consumer, error: OSError) -> None:
        """It goes on later with what it did not take, or from its last sync where this one fails, too."""
        self._pause(one, error)
        self._sync(one)

    def _pause(self, one: _Consumer, error: OSError) -> None:
        self.failures += 1
        if not one.backoff.pause:
            _log.log(severity(error), "%s cannot be written; its events wait in the spool: %s", one.name, error)
        one.next_try = self._clock() + one.backoff.failed()


def _gap(place: Place, reason: str) -> Item:
    gap = Event(EventType.GAP, wall_ms(), reason=f"the journal's spool is damaged, events are missing: {reason}")
    return f"gap.spool.{place.segment}.{place.offset}", gap
