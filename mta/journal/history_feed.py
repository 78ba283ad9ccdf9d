"""History as a consumer of the spool: rounds are gathered on the journal's thread and written by a thread of their
own, so that a database which is slow or away holds nothing but the spool."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from mta.journal.decoding import Piece, own_entry
from mta.journal.gathering import Gathering
from mta.journal.sweep_rest import SweepRest
from mta.model import process_metrics as told
from mta.model.entries import is_link, order_of
from mta.model.errors import HistoryError
from mta.model.events import Event, EventType
from mta.ports.event_sinks import Item
from mta.ports.history_writer import HistoryWriter, Position, PositionMoved, Round
from mta.ports.spool import Place, Sourced, Spool
from mta.timing.backoff import Backoff
from mta.timing.clock import wall_ms

_PAUSE: Final = 0.5  # seconds that a round is gathered for: fewer and larger ones cost less for each event
# Behind a large round the database has a pause: a sweep changes rows all over a day, and a round of twice the events
# writes few pages more. The store has the disk meanwhile.
_LARGE: Final = 5_000  # events
_PAUSES: Final = 3.0  # times as long as that round took to write
_LONGEST: Final = 3.0  # seconds of that
_VERY_LARGE: Final = 20_000  # events of a round, which only a sweep makes: the pause behind it is the longest
_ENOUGH: Final = 50_000  # events after which a round is written at once, unless it is behind a very large one
_MOST: Final = 100_000  # events after which no more is gathered while one is written
_TICK: Final = 1.0  # seconds between two rounds that only say up to when everything is in
_LOOK_AGAIN: Final = 0.5  # seconds between two looks at positions that another journal has to move
_FIRST_PAUSE: Final = 0.5  # seconds after which a database that failed is tried again
_LAST_PAUSE: Final = 5.0
# Seconds for which a lane that history knows nothing of waits for the journal that may have its first events.
_BEGIN_AFTER: Final = 30.0
_NOTHING: Final = Position("0-0", "0-0")
_SAY_AFTER: Final = 10.0  # seconds for which history waits for another journal until the log says so
_MOST_DOMAINS: Final = 1000  # rounds whose domains wait to be taken
_OLD_DAYS: Final = 600.0  # seconds between two looks for days to drop

_log = logging.getLogger(__name__)


class HistoryFeed:
    """Blocking calls, made on the journal's thread; none waits for the database."""

    def __init__(
        self, writer: HistoryWriter, spool: Spool, name: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`name` is that under which the spool knows this consumer's place."""
        self._writer = writer
        self._spool = spool
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "history")
        self._backoff = Backoff(_FIRST_PAUSE, _LAST_PAUSE)
        self._rest = SweepRest(spool)
        self._task: Future[Any] | None = None
        self._done: Callable[[Any], None] = lambda result: None  # called when the task has ended well
        self._next_try = self._next_look = self._next_retry = 0.0
        self._gathering: Gathering | None = None  # None: the database's positions are not known
        self._since = 0.0  # when the oldest event was gathered
        self._pause = _PAUSE  # how long the next round is gathered for
        self._writing: Round | None = None  # tried until it is written
        self._known: dict[str, int] = {}
        self._next_tick = self._next_drop = 0.0
        self._blocked: tuple[str, str, str] | None = None  # source; behind what it must go on; where it stands
        self._blocked_since = 0.0
        self._unknown: dict[str, float] = {}  # lanes that wait so, since when
        self._complete_at = clock()  # when history had everything, as far as `metrics` has looked
        self.name = name
        self.at = self.kept = spool.place_of(name)
        self._gaps: list[Item] = []  # to be told once the positions are known
        self.failures = 0
        self.lost = 0  # times that the spool let go of events
        self.written = 0  # events
        self._domains: deque[set[str]] = deque()  # of each round that was written, until they are taken

    # Taking batches of the spool

    def wants(self, start: Place, entries: Sequence[Sourced]) -> bool:
        """Whether it takes the batch that begins there now."""
        gathering = self._gathering
        if gathering is None or self._rest.lasts or self.at != start or gathering.round.events >= _MOST:
            return False
        links = [(source, entry.id) for source, entry in entries if source and is_link(entry)]
        if not all(self._follows(*link) for link in links):
            self._next_retry = self._clock() + _LOOK_AGAIN
            return False
        self._blocked = None
        return True

    def is_behind(self) -> bool:
        """Something of the spool may be taken now."""
        gathering = self._gathering
        return (
            gathering is not None
            and not self._rest.lasts
            and self.at != self._spool.end
            and gathering.round.events < _MOST
            and (self._blocked is None or self._clock() >= self._next_retry)
        )

    def add(self, piece: Piece) -> None:
        assert self._gathering is not None  # it wanted the batch
        if not self._gathering.round.events:
            self._since = self._clock()
        self._gathering.add(piece)

    def passed(self, end: Place) -> None:
        """Everything before `end` is gathered."""
        self.at = end
        self.tick()

    def note_known(self, known: Mapping[str, int]) -> None:
        """Source -> Unix ms up to which everything is in the spool."""
        self._known |= known

    def let_go(self, place: Place) -> None:
        """The spool has no room for what lies before `place`: history shows a Gap and goes on there."""
        self.kept = max(self.kept, place)
        if self.at >= place:
            return  # it is gathered, and in memory
        self.lost += 1
        self._gap(
            f"gap.history.spool.{self._spool.identity}.{place.segment}.{place.offset}",
            "history lacks events: the database did not take them, and the spool is full (journal.spool_max); "
            f"{place.segment - self.at.segment} segments of it were let go",
        )
        self.at = place

    # Writing

    def next_due(self) -> float:
        """When `tick` has something to do, by the clock."""
        if self._task is not None:
            return self._clock() + 0.05 if not self._task.done() else 0.0
        if self._gathering is None or self._writing is not None:
            return self._next_try
        due = self._since + self._pause if self._gathering.round.events else self._next_tick
        return due if self._blocked is None else min(due, self._next_look)

    def tick(self) -> None:
        """Begin or finish what is due."""
        task = self._task
        if task is not None:
            if not task.done():
                return
            self._finish(task)
        now = self._clock()
        self._rest.look(now)
        if now < self._next_try:
            return
        if self._gathering is None:
            self._begin(self._read_positions, self._restart)
        elif self._writing is not None:
            self._begin(self._write, self._wrote)
        else:
            self._begin_round(now)
            if self._task is None and self._blocked is not None and now >= self._next_look:
                self._next_look = now + _LOOK_AGAIN
                self._begin(self._writer.positions, self._look_again)

    def between_rounds(self, call: Callable[[], Any]) -> "Future[Any]":
        """On the thread that writes rounds."""
        return self._thread.submit(call)

    def mark(self) -> Callable[[], bool]:
        """Note where the spool ends now; what is returned says whether history has everything before that."""
        end = self._spool.end
        return lambda: self.kept >= end

    def metrics(self) -> dict[str, float]:
        """Figures of `model.process_metrics`."""
        now = self._clock()
        if self.kept == self._spool.end:
            self._complete_at = now
        return {
            told.HISTORY_EVENTS.key: self.written,
            told.HISTORY_FAILURES.key: self.failures,
            told.HISTORY_LOST.key: self.lost,
            told.HISTORY_BEHIND.key: now - self._complete_at,
        }

    def take_domains(self) -> Iterator[str]:
        """The domains of the rounds that were written since the last call; from any thread."""
        while self._domains:
            yield from self._domains.popleft()

    @property
    def blocked_lane(self) -> str:
        """The lane whose events another journal must write first, "" = none."""
        return self._blocked[0].partition(".")[0] if self._blocked is not None else ""

    def skip_blocked(self) -> None:
        """Go on without these events: history shows a Gap."""
        if self._blocked is not None and self._gathering is not None:
            source, after, last = self._blocked
            self._blocked, self._next_retry = None, 0.0
            self._skip(source, last, after)

    def close(self) -> None:
        """Write what is gathered, unless the database fails."""
        self._finish_now()
        if self._gathering is not None and self._task is None and not self._backoff.pause:
            self._since = self._next_tick = self._next_try = 0.0
            self.tick()
            self._finish_now()
        self._thread.submit(self._writer.close)
        self._thread.shutdown()

    def _begin_round(self, now: float) -> None:
        gathering = self._gathering
        assert gathering is not None
        events = gathering.round.events
        due = events and (now >= self._since + self._pause or (events >= _ENOUGH and self._pause < _LONGEST))
        if not due and (events or now < self._next_tick):
            if not events and now >= self._next_drop:
                self._next_drop = now + _OLD_DAYS
                self._begin(lambda: self._writer.drop_old_days(wall_ms()), lambda _: None)
            return
        self._next_tick = now + _TICK
        round_ = gathering.finish(self.at)
        if self.at == self._spool.end:
            round_.known, self._known = self._known, {}
        if not round_.is_empty:
            self._writing = round_
            self._gathering = Gathering(round_.spool, gathering.positions)
            self._begin(self._write, self._wrote)

    def _begin(self, call: Callable[[], Any], done: Callable[[Any], None]) -> None:
        self._done = done
        self._task = self._thread.submit(call)

    def _finish_now(self) -> None:
        if self._task is not None:
            try:
                self._task.exception(timeout=10)
            except TimeoutError:
                return
            self._finish(self._task)

    def _finish(self, task: Future[Any]) -> None:
        self._task = None
        try:
            result = task.result()
        except PositionMoved as moved:
            _log.info("history is read again from its positions: %s", moved)
            self._gathering = self._writing = None
        except HistoryError as error:
            self.failures += 1
            if not self._backoff.pause:
                _log.warning("history cannot be written; its events wait in the spool: %s", error)
            self._next_try = self._clock() + self._backoff.failed()
        else:
            if self._backoff.pause:
                _log.info("history is written again")
            self._backoff.succeeded()
            self._done(result)

    # On the thread of the database

    def _read_positions(self) -> tuple[dict[str, Position], Place | None]:
        self._writer.open()
        return dict(self._writer.positions()), self._writer.place(self._spool.identity)

    def _write(self) -> None:
        assert self._writing is not None
        began = self._clock()
        self._writer.write(self._writing)
        events, took = self._writing.events, self._clock() - began
        long = _LONGEST if events >= _VERY_LARGE else _PAUSES * took if events >= _LARGE else 0.0
        self._pause = max(_PAUSE, min(_LONGEST, long))

    # After a call on that thread

    def _restart(self, found: tuple[dict[str, Position], Place | None]) -> None:
        positions, place = found
        # Where the spool has let go of more than was written, it goes on behind that.
        self.at = self.kept if place is None or place > self._spool.end else max(place, self.kept)
        self.kept = self.at
        self._gathering = Gathering(self._spool.identity, positions)
        self._blocked = None
        gaps, self._gaps = self._gaps, []
        for own_id, gap in gaps:
            self._gap(own_id, gap.reason)

    def _wrote(self, result: None) -> None:
        round_, self._writing = self._writing, None
        assert round_ is not None
        assert round_.place is not None
        self.kept = max(self.kept, round_.place)
        self.written += round_.events
        if self.at == self._spool.end:
            self._rest.begin_behind(round_, self._clock())
        if round_.hours and len(self._domains) < _MOST_DOMAINS:
            self._domains.append({key[2] for key in round_.hours if key[2]})

    # Lanes that come from another journal

    def _follows(self, source: str, after: str) -> bool:
        """Whether history has every event of the lane up to `after`, or no journal can still write the missing ones."""
        assert self._gathering is not None
        known = self._gathering.positions.get(source, _NOTHING)
        if order_of(after) <= order_of(known.last):
            return True
        if known is _NOTHING and self._may_begin(source):
            return True
        if self._writer.alone:
            self._skip(source, known.last, after)
            return True
        if self._blocked is None:
            self._blocked_since = self._clock()
        self._blocked = (source, after, known.last)
        return False

    def _may_begin(self, source: str) -> bool:
        """History knows nothing of the lane: it begins there, unless another journal may have the lane's first
        events."""
        now = self._clock()
        return self._writer.alone or now >= self._unknown.setdefault(source, now) + _BEGIN_AFTER

    def _skip(self, source: str, last: str, after: str) -> None:
        """Events that history cannot get: it shows a Gap and goes on."""
        assert self._gathering is not None
        lane = source.partition(".")[0]
        self._gap(
            f"gap.history.{source}.{last}", f"history lacks the events of lane {lane} behind {last} up to {after}"
        )
        self._gathering.skip(source, after)
        self.lost += 1

    def _gap(self, own_id: str, reason: str) -> None:
        _log.error("%s", reason)
        item = own_id, Event(EventType.GAP, wall_ms(), reason=reason)
        if self._gathering is None:
            self._gaps.append(item)
        else:
            self.add(Piece([own_entry(*item)], [1], [item]))

    def _look_again(self, positions: Mapping[str, Position]) -> None:
        assert self._gathering is not None
        self._gathering.learn(positions)
        if self._blocked is not None:
            source, after, _ = self._blocked
            known = self._gathering.positions.get(source)
            if known is not None and order_of(known.last) >= order_of(after):
                self._blocked, self._next_retry = None, 0.0
                return
            if self._clock() - self._blocked_since > _SAY_AFTER:
                self._blocked_since = self._clock()
                _log.warning(
                    "history waits for the node that has the events of lane %s up to %s; where it is gone for good, "
                    "floodgate history skip %s goes on without them",
                    source, after, source.partition(".")[0],
                )  # fmt: skip
