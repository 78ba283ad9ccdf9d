"""The dispatcher: when a lane has due deliveries and egress has room for them, it claims them and hands them over."""

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence

from mta.model.cancel_orders import canceled_by
from mta.model.errors import StoreError, severity
from mta.model.ids import DeliveryId
from mta.model.mail import Claimed, QueueKey, QueueShare
from mta.model.outcomes import ReturnReason, Stage, Verdict
from mta.policy.retry import has_expired
from mta.policy.rule_effect import effect_of
from mta.policy.sending_window import is_closed
from mta.policy.simulation import played
from mta.ports.delivery import Deliver
from mta.ports.queueing import ClaimRequest, Claims
from mta.ports.rules import Rules
from mta.ports.suppressions import WaitingSuppressions
from mta.scheduling.claim_lanes import ClaimLane, ClaimLanes
from mta.scheduling.queue_room import QueueRoom
from mta.scheduling.settlement import canceled_outcome, filtered_outcome, returned_outcome
from mta.scheduling.settler import Settler
from mta.timing.clock import wall_ms

_BATCH = 100
_MOST_BYTES = 4 * 1024 * 1024
_TICK = 1.0
_GATHER = 0.002  # mail that becomes due within this time after a wake-up is claimed with it
# Looks of a lane that is woken all the time come that far apart: each finds more. With many queues each costs more.
_PACE, _PACE_A_QUEUE, _LONGEST_PACE = 0.02, 0.0002, 0.1
_CHECK_EVERY = 0.25  # seconds from one time that a lane asks for room it waits to be told of to the next
_PAGE, _DEEP_PAGE, _DEEP_EVERY = 256, 4096, 0.25
_NOTHING_PAUSE = 0.02  # the agenda was early, another process was faster, or the store's clock is behind ours
_BLOCKED, _BLOCKED_EVERY = 10.0, 2.0  # a queue without room for so long is looked through for expired mail, so often
_BLOCKED_BYTES = 256 * 1024
_POISON = 5
_FEW = 4  # deliveries of a share that are claimed at a time beyond the room that other shares use up

_STOPPING = returned_outcome(ReturnReason.STOPPING)
_NO_CONNECTION = returned_outcome(ReturnReason.NO_CONNECTION)
_UNASKED = returned_outcome(ReturnReason.UNASKED)
_WINDOW_CLOSED = returned_outcome(ReturnReason.WINDOW_CLOSED)

_log = logging.getLogger(__name__)


class Dispatcher:
    """One loop per lane, each with at most one call to the store at a time; idle, it sleeps until something happens."""

    def __init__(
        self,
        claims: Claims,
        deliver: Deliver,
        rules: Rules,
        settler: Settler,
        pools: Callable[[], Iterable[str]],
        lanes: ClaimLanes,
        room: QueueRoom,
        *,
        simulate_domain: str = "",
        suppressions: WaitingSuppressions | None = None,
        clock: Callable[[], int] = wall_ms,
    ) -> None:
        """`pools` names the pools that this node serves now; `clock` gives Unix milliseconds. Mail to
        `simulate_domain`, "" = none, goes to the simulation. `suppressions` are asked about mail that has waited."""
        self._claims = claims
        self._deliver = deliver
        self._rules = rules
        self._settler = settler
        self._pools = pools
        self._simulate_domain = simulate_domain
        self._suppressions = suppressions
        self._clock = clock
        self._lanes = lanes
        self._room = room
        self.tasks: list[asyncio.Task[None]] = []  # one a lane; they end by drain only, or by a defect
        self._draining = False
        self.claimed = self.intercepted = self.deferred = self.parked = self.expired = 0

    def start(self) -> None:
        self._rules.on_permit(self._lanes.wake_all)
        loop = asyncio.get_running_loop()
        self.tasks = [loop.create_task(self._run(lane)) for lane in self._lanes]

    async def drain(self) -> None:
        """Claim nothing more; returns when no claim is under way."""
        self._draining = True
        self._lanes.ring_all()
        self._room.close()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def reserve(self, queue: QueueKey, count: int) -> int:
        """Reserve room for mail that this process accepts. Returns 0 if the mail would have to wait here for a
        connection that another process may have, or if older mail of the queue waits for room."""
        if self._draining or queue in self._room or not self._rules.may_send_mail() or queue.pool not in self._pools():
            return 0
        most = max(0, min(count, self._free(queue))) if self._deliver.can_start(queue) else 0
        if most:
            self._room.ask(queue, most)
        return most

    def take(self, queue: QueueKey, reserved: int, claimed: Sequence[Claimed]) -> None:
        self._room.answered(queue, reserved)
        self.claimed += len(claimed)
        if claimed:
            self._hand_over(queue, claimed)

    def _free(self, queue: QueueKey, share: str = "") -> int:
        """How many more deliveries of the queue's share may be claimed."""
        left = self._room.left(queue, self._deliver.room(queue))
        if left > 0:
            return left
        return min(_FEW, self._room.left(queue, self._deliver.headroom(queue, share)))

    async def _run(self, lane: ClaimLane) -> None:
        while not self._draining:
            try:
                pause = await self._round(lane)
                lane.backoff.succeeded()
            except StoreError as error:
                if not lane.backoff.pause:
                    _log.log(severity(error), "lane %d waits for the store: %s", lane.number, error)
                pause = lane.backoff.failed()
                lane.look = True
            if pause > 0 and not self._draining:
                if not await lane.alarm.sleep(pause) and (pause >= _TICK or self._may_look(lane) <= 0):
                    lane.look = True
                if lane.woken:
                    lane.woken = False
                    await asyncio.sleep(max(_GATHER, self._may_look(lane)))
            else:
                await asyncio.sleep(0)

    async def _round(self, lane: ClaimLane) -> float:
        """Look and claim once; seconds to sleep before the next round, 0 = there is more to do."""
        if not self._rules.may_send_mail():
            lane.look = True
            return _TICK
        looked = lane.look or time.monotonic() - lane.looked > _TICK  # the agenda shows little of the future
        if looked:
            await self._look(lane)
        wants = lane.view.wants(self._clock(), self._room_of(lane), _BATCH)
        if wants:
            for queue, _, share in wants:
                of = QueueShare(queue, share)
                lane.blocked.pop(of, None)
                self._room.leave(of, lane)
            return 0.0 if await self._claim(lane, wants) else _NOTHING_PAUSE
        self._wait_for_room(lane)
        if lane.blocked:
            await self._expire_blocked(lane)
        if not lane.view.forgot or looked:
            return self._until(lane)
        if lane.view.whole:
            # And then look: when it is due next is not known.
            return max(0.001, min(self._may_look(lane), self._until(lane)))
        lane.look = True  # others stood behind the page
        return 0.0

    def _room_of(self, lane: ClaimLane) -> Callable[[QueueKey, str], int]:
        """How many more deliveries of a queue's share the lane may claim. The lane waits to be told of room for a queue
        that has none, and asks for it again now and then only."""
        now, awaited = time.monotonic(), self._room.is_awaited
        anew = now - lane.checked >= _CHECK_EVERY
        if anew:
            lane.checked = now

        def room(queue: QueueKey, share: str) -> int:
            if not anew and awaited(queue, share, lane):
                return 0
            free = self._free(queue, share)
            if free <= 0:
                self._room.wait(QueueShare(queue, share), lane)
            return free

        return room

    def _may_look(self, lane: ClaimLane) -> float:
        """Seconds until the agenda should be read again at the earliest."""
        pace = min(_LONGEST_PACE, _PACE + _PACE_A_QUEUE * len(lane.view))
        return lane.looked + pace - time.monotonic()

    def _until(self, lane: ClaimLane) -> float:
        soonest = lane.view.soonest(self._clock())
        return _TICK if soonest is None else min(_TICK, max(0.001, soonest / 1000))

    def _wait_for_room(self, lane: ClaimLane) -> None:
        before, lane.blocked, now = lane.blocked, {}, time.monotonic()
        for of in lane.view.ready(self._clock()):
            lane.blocked[of] = before.get(of, now)
            self._room.wait(of, lane)
        for of in before.keys() - lane.blocked.keys():
            self._room.leave(of, lane)

    async def _expire_blocked(self, lane: ClaimLane) -> None:
        """Mail expires although its queue gets no room: claim some of it, and put back what has time left. It goes to
        the queue's end, so that with time all of the queue is looked at."""
        now = time.monotonic()
        if now - lane.looked_blocked < _BLOCKED_EVERY:
            return
        lane.looked_blocked = now
        long = [of for of, since in lane.blocked.items() if now - since >= _BLOCKED][:_BATCH]
        if not long:
            return
        wants = [ClaimRequest(queue, max(1, _BATCH // len(long)), share) for queue, share in long]
        by_queue: dict[QueueKey, list[Claimed]] = {}
        for one in await self._claims.claim(lane.number, wants, _BLOCKED_BYTES):
            by_queue.setdefault(one.queue, []).append(one)
        for queue, claimed in by_queue.items():
            for one in self._attemptable(queue, claimed):
                self._settler.settle(one, _NO_CONNECTION)

    async def _look(self, lane: ClaimLane) -> None:
        lane.look = False
        lane.looked = time.monotonic()
        pools = tuple(self._pools())
        if not pools:
            lane.view.clear()
            return
        most = _PAGE
        while True:
            found = await self._claims.agenda(lane.number, pools, most)
            whole = lane.view.take(found, most)
            now = time.monotonic()
            if whole or most == _DEEP_PAGE or now - lane.looked_deep < _DEEP_EVERY:
                return
            # More domains have work than one page shows: those behind must not starve.
            lane.looked_deep, most = now, _DEEP_PAGE

    async def _claim(self, lane: ClaimLane, wants: list[ClaimRequest]) -> int:
        """Claim, decide by rule, hand the rest to egress; how many were claimed."""
        for queue, most, _ in wants:
            self._room.ask(queue, most)
        try:
            claimed = await self._claims.claim(lane.number, wants, _MOST_BYTES)
        finally:
            for queue, most, _ in wants:
                self._room.answered(queue, most)
        self.claimed += len(claimed)
        found: dict[QueueShare, list[Claimed]] = {}
        for one in claimed:
            found.setdefault(QueueShare(one.queue, one.share), []).append(one)
        lane.view.served(wants, {of: len(some) for of, some in found.items()}, _cut(claimed))
        met = await self._suppressed(claimed)
        for (queue, _), some in found.items():
            self._hand_over(queue, [one for one in some if one.id not in met] if met else some)
        for queue, _, _ in wants:
            if queue in self._room and self._free(queue) > 0:
                self._room.room_for(queue, functools.partial(self._deliver.room, queue))
        return len(claimed)

    async def _suppressed(self, claimed: Sequence[Claimed]) -> Collection[DeliveryId]:
        """Deliveries that are over because their recipients are suppressed by now."""
        if self._suppressions is None or not self._suppressions.is_on:
            return ()
        try:
            met = await self._suppressions.meet(claimed, self._clock())
        except StoreError:  # they were not suppressed when they were accepted, and stay claimed
            for one in claimed:
                self._settler.settle(one, _UNASKED)
            return [one.id for one in claimed]
        for one in claimed:
            if one.id in met:
                self._settler.settle(one, filtered_outcome(met[one.id]))
        return met

    def _hand_over(self, queue: QueueKey, claimed: Sequence[Claimed]) -> None:
        found = self._attemptable(queue, claimed)
        if found:
            self._deliver.deliver(found)

    def _attemptable(self, queue: QueueKey, claimed: Sequence[Claimed]) -> list[Claimed]:
        """The deliveries that may be attempted. The others are settled at once: a rule matches them, or they were
        canceled, have expired, or are to be parked."""
        if self._draining:
            for one in claimed:
                self._settler.settle(one, _STOPPING)
            return []
        now, table = self._clock(), self._rules.table
        match, canceled, (pool, domain), simulated = table.match, self._rules.canceled, queue, self._simulate_domain
        found: list[Claimed] = []
        for one in claimed:
            if one.reclaims >= _POISON:
                self.parked += 1
                self._settler.park(one, f"{one.reclaims} processes died or gave up while they held it")
                continue
            by = one.canceled_by
            if by is None and canceled:
                by = canceled_by(canceled, one.id)
            if by is not None:
                self._settler.settle(one, canceled_outcome(by))
                continue
            rule = None if table.is_empty else match(pool, "", domain, one.record.labels, "", "", one.record)
            if rule is not None:
                outcome = effect_of(rule, table.head.generation, Stage.ATTEMPT)
                self.intercepted += outcome.verdict is Verdict.INTERCEPTED
                self.deferred += outcome.verdict is Verdict.TEMPORARY
                self._settler.settle(one, outcome)
            elif one.record.window is not None and is_closed(one.record.window, now):
                self._settler.settle(one, _WINDOW_CLOSED)
            elif domain == simulated or one.record.simulated:
                self._settler.settle(one, played(one.record, domain == simulated))
            elif has_expired(one.record, now):
                self.expired += 1
                self._settler.expire(one)
            else:
                found.append(one)
        return found


def _cut(claimed: list[Claimed]) -> bool:
    """Whether the answer may have ended at its size, with more in the queues."""
    return sum(one.record.size for one in claimed) >= _MOST_BYTES // 2
