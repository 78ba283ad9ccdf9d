"""The settler: outcomes become settlements, written in batches, one at a time per lane, until the store answers."""

import asyncio
import logging
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator

import msgspec

from mta.model.brakes import Attempted
from mta.model.errors import SessionLost, StoreAway, StoreError, severity
from mta.model.ids import lane_of
from mta.model.mail import Claimed
from mta.model.outcomes import Class, Outcome, ReturnReason, Stage, Verdict
from mta.model.settings import Settings
from mta.policy.brakes import Watched
from mta.policy.rule_effect import ends, overruled
from mta.policy.shaping import Shaping
from mta.ports.queueing import Claims, Move, Settled, Settlement
from mta.ports.rules import Rules
from mta.scheduling import settlement
from mta.scheduling.queue_figures import QueueFigures
from mta.scheduling.reply_counts import ReplyCounts
from mta.scheduling.returns import Returns
from mta.timing.backoff import Backoff
from mta.timing.clock import wall_ms

_BATCH = 100
_FULL = 64  # that many do not wait for company
_WAIT = 0.003
_FIRST_PAUSE, _LAST_PAUSE = 0.05, 1.0  # seconds, after trouble with the store
_BACK = "returned"
_COUNTED_ENDS = frozenset({Class.DELIVERED, Class.BOUNCED, Class.EXPIRED})
_DELIVERED, _TEMPORARY, _RETURNED = Verdict.DELIVERED, Verdict.TEMPORARY, Verdict.RETURNED
_QUEUE, _OK = Move.QUEUE, Settled.OK

_log = logging.getLogger(__name__)


class _Item(msgspec.Struct, gc=False):
    """A claim on its way out; outcome None: it does not come from an attempt and no rule decided it."""

    claimed: Claimed
    outcome: Outcome | None
    settlement: Settlement


class _SettleLane:
    """The settlements of one lane that are not written yet."""

    __slots__ = ("backoff", "flushing", "notes", "number", "timer", "waiting")

    def __init__(self, number: int) -> None:
        self.number = number
        self.waiting: deque[_Item] = deque()
        self.notes: list[bytes] = []
        self.timer: asyncio.TimerHandle | None = None
        self.flushing: asyncio.Task[None] | None = None
        self.backoff = Backoff(_FIRST_PAUSE, _LAST_PAUSE)


class Settler:
    """Fulfils ports.delivery.Settle."""

    def __init__(
        self,
        claims: Claims,
        rules: Rules,
        settings: Settings,
        shaping: Shaping,
        wake: Callable[[int], None],
        failed: Callable[[Claimed, Outcome], None] | None = None,
        *,
        site_of: Callable[[str], str | None] = lambda domain: None,
        watched: Callable[[], Watched] = Watched,
        clock: Callable[[], int] = wall_ms,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`wake` hears of the lanes in whose queues deliveries are due again, `failed` of outcomes that are no
        delivery; `site_of` gives the site of a domain, which decides its retry schedule; `watched` gives the brakes;
        `clock` gives Unix milliseconds, `chance` a number in [0, 1)."""
        self._claims = claims
        self._rules = rules
        self._clock = clock
        self._chance = chance
        self._watched = watched
        self._lanes = [_SettleLane(number) for number in range(claims.lanes)]
        self._wake = wake
        self._failed = failed
        self._site_of = site_of
        self.delivered: Callable[[Claimed, Outcome], None] | None = None  # hears of deliveries, where it is set
        self._terms = settlement.Terms(
            settings.node.name,
            settings.delivery,
            shaping,
            int(settings.rules.undo_window * 1000),
            site_of=site_of,
        )
        self.returns = Returns(clock)
        self.queues = QueueFigures(clock)
        self.replies = ReplyCounts(self.queues)
        self.defect: Exception | None = None  # a bug of ours: this process had better end
        self.broken = asyncio.Event()
        self.outcomes = Counter[str]()  # settled deliveries by what became of them
        self.stale = self.redecided = self.lost = self.retried_calls = 0

    @property
    def waiting(self) -> int:
        """Outcomes not yet written."""
        return sum(len(lane.waiting) for lane in self._lanes)

    def settle(self, claimed: Claimed, outcome: Outcome) -> None:
        if outcome.verdict is _DELIVERED:
            if self.delivered is not None:
                self.delivered(claimed, outcome)
            self._add(_Item(claimed, outcome, settlement.delivered(claimed, outcome, self._clock(), self._terms)))
            return
        if self._failed is not None:
            self._failed(claimed, outcome)
        self._add(self._decided(claimed, outcome))

    def _decided(self, claimed: Claimed, outcome: Outcome) -> _Item:
        """A return to the queue carries the generation of the table that allowed it: the sweep may be past."""
        if outcome.verdict is _TEMPORARY or outcome.verdict is _RETURNED:
            outcome = self._met_on_return(claimed, outcome)
        decided = settlement.decide(claimed, outcome, self._clock(), self._terms, self._chance())
        if decided.move is _QUEUE:
            decided.generation = self._rules.table.head.generation
        return _Item(claimed, outcome, decided)

    def park(self, claimed: Claimed, reason: str) -> None:
        """Put aside a delivery that keeps failing inside."""
        self._add(_Item(claimed, None, settlement.park(claimed, self._clock(), self._terms, reason)))

    def expire(self, claimed: Claimed) -> None:
        """End a delivery whose time was over before an attempt."""
        self._add(_Item(claimed, None, settlement.expire(claimed, self._clock(), self._terms)))

    def escaped(self, claimed: Claimed, mta: str, mx: str, remote_ip: str) -> None:
        lane = self._lanes[lane_of(claimed.id)]
        lane.notes.append(settlement.escaped(claimed, self._clock(), self._terms, mta, mx, remote_ip))
        self._start(lane)

    async def flush(self) -> None:
        """Return once everything settled before this call has been answered by the store."""
        while True:
            for lane in self._lanes:
                if lane.waiting or lane.notes:
                    self._start(lane)
            running = [lane.flushing for lane in self._lanes if lane.flushing is not None]
            if not running:
                return
            await asyncio.wait(running)

    async def drain(self) -> None:
        """The same, at the end: nothing may be settled afterwards."""
        await self.flush()

    def _met_on_return(self, claimed: Claimed, outcome: Outcome) -> Outcome:
        """Intercept a delivery that would go back to its queue while a rule ends such mail: the sweep may be past."""
        table = self._rules.table
        record = claimed.record
        rule = table.match(claimed.queue.pool, "", claimed.queue.domain, record.labels, "", "", record)
        if rule is None or not ends(rule):
            return outcome
        return overruled(outcome, rule, table.head.generation, Stage.QUEUED)

    def _add(self, item: _Item) -> None:
        lane = self._lanes[lane_of(item.claimed.id)]
        lane.waiting.append(item)
        if lane.flushing is None:
            if len(lane.waiting) >= _FULL:
                self._start(lane)
            elif lane.timer is None:
                lane.timer = asyncio.get_running_loop().call_later(_WAIT, self._start, lane)

    def _start(self, lane: _SettleLane) -> None:
        if lane.timer is not None:
            lane.timer.cancel()
            lane.timer = None
        if lane.flushing is None:
            lane.flushing = asyncio.get_running_loop().create_task(self._write(lane))

    async def _write(self, lane: _SettleLane) -> None:
        try:
            while lane.waiting or lane.notes:
                if lane.backoff.pause:
                    await asyncio.sleep(lane.backoff.pause)
                if lane.notes:
                    await self._write_notes(lane)
                if lane.waiting:
                    batch = [lane.waiting.popleft() for _ in range(min(_BATCH, len(lane.waiting)))]
                    await self._write_batch(lane, batch)
        except Exception as bug:
            # The deliveries of the batch stay claimed, and are due again when this process has ended.
            self.defect = self.defect or bug
            self.broken.set()
            _log.exception("a batch of outcomes in lane %d could not be written", lane.number)
        finally:
            lane.flushing = None

    async def _write_notes(self, lane: _SettleLane) -> None:
        notes = lane.notes[:_BATCH]
        try:
            await self._claims.note(lane.number, notes)
        except StoreError as error:
            self._tell(lane, error)
            return
        del lane.notes[: len(notes)]

    async def _write_batch(self, lane: _SettleLane, batch: list[_Item]) -> None:
        try:
            watched = self._watched()
            rates = watched.counts(_attempted(batch, self._site_of if watched.asks_sites else None)) if watched else ()
            answers = await self._claims.settle(lane.number, [item.settlement for item in batch], rates)
        except SessionLost as error:
            self.lost += len(batch)
            _log.error("%d outcomes in lane %d are lost with the session: %s", len(batch), lane.number, error)
            return
        except StoreError as error:
            self._tell(lane, error)
            if isinstance(error, StoreAway) or len(batch) == 1:
                lane.waiting.extendleft(reversed([_again(item) for item in batch]))
                if len(batch) == 1:
                    lane.waiting.rotate(-1)  # one that is refused must not hold the others up
            else:
                for item in batch:
                    await self._write_batch(lane, [_again(item)])
            return
        lane.backoff.succeeded()
        self._answered(lane, batch, answers)

    def _tell(self, lane: _SettleLane, error: StoreError) -> None:
        self.retried_calls += 1
        if not lane.backoff.pause:
            _log.log(severity(error), "settling in lane %d waits for the store: %s", lane.number, error)
        lane.backoff.failed()

    def _answered(self, lane: _SettleLane, batch: list[_Item], answers: list[Settled]) -> None:
        returned = False
        for item, answer in zip(batch, answers, strict=True):
            if answer is _OK:
                said: str = item.settlement.ended or _said(item)
                self.outcomes[said] += 1
                if said == _BACK:
                    returned = True
                    self._note_return(item)
                elif item.outcome is not None:
                    self.replies.add(item.claimed.queue, said, item.outcome)
            elif answer is Settled.STALE:
                self.stale += 1
            elif answer is Settled.CANCEL:
                canceled = self._decided(
                    item.claimed, settlement.canceled_outcome(item.settlement.canceled_by, item.outcome)
                )
                canceled.settlement.again = item.settlement.again
                lane.waiting.append(canceled)
            else:
                self.redecided += 1
                lane.waiting.append(self._decide_again(item))
                lane.backoff.restart()  # our table may still be the old one
        if returned:
            self._wake(lane.number)

    def _note_return(self, item: _Item) -> None:
        if item.outcome is not None and item.outcome.returned is not None:
            self.returns.add(item.claimed, item.outcome.returned)

    def _decide_again(self, item: _Item) -> _Item:
        """The rule that decided may be gone, or one may be there that was not: the table of now decides."""
        claimed, outcome = item.claimed, item.outcome
        assert outcome is not None  # only what was decided with the rules carries a generation
        if outcome.forced is not None and (stage := outcome.forced.stage) is not None:
            table = self._rules.table
            queue, record = claimed.queue, claimed.record
            peer = outcome.remote_ip, outcome.mx
            rule = table.match(queue.pool, outcome.mta, queue.domain, record.labels, *peer, record)
            if rule is None:
                outcome = msgspec.structs.replace(
                    outcome, verdict=Verdict.RETURNED, forced=None, returned=ReturnReason.RULE_LIFTED
                )
            else:
                outcome = overruled(outcome, rule, table.head.generation, stage)
        decided = self._decided(claimed, outcome)
        decided.settlement.again = item.settlement.again
        return decided


def _again(item: _Item) -> _Item:
    """After a lost answer STALE may only mean that the first call was carried out: then nothing was late."""
    item.settlement.again = True
    return item


def _attempted(batch: list[_Item], site_of: Callable[[str], str | None] | None) -> Iterator[Attempted]:
    """The deliveries whose end, or whose deferral by the destination, brakes count. `site_of` None: their sites do not
    matter."""
    for number, item in enumerate(batch, 1):
        change, outcome = item.settlement, item.outcome
        ended = change.ended in _COUNTED_ENDS
        if not ended and (
            change.move is not _QUEUE
            or outcome is None
            or outcome.verdict is not _TEMPORARY
            or outcome.forced is not None
            or outcome.simulated
        ):
            continue
        category = "" if outcome is None or outcome.known is None else outcome.known.category
        bounced = change.ended is Class.BOUNCED
        site = "" if site_of is None else site_of(change.queue.domain) or ""
        yield Attempted(number, change.tags, change.queue.pool, ended, bounced, category, site)


def _said(item: _Item) -> str:
    """Where a delivery is now that has not ended."""
    move = item.settlement.move
    if move is _QUEUE:
        return _BACK if item.outcome is not None and item.outcome.verdict is _RETURNED else "deferred"
    return Class.HELD.value if move is Move.HOLD else Class.PARKED.value
