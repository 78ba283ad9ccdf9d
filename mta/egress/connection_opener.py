"""The opener: opens connections for a queue, takes a slot of the domain for each, and backs off after failures."""

import asyncio
import logging

from mta.egress.connect import Connected, Connecting
from mta.egress.connection_budget import (
    MOST_UNPRODUCTIVE,
    PATIENCE,
    PROMPT,
    UNPRODUCTIVE_PACE,
    Attempt,
    Standing,
    further_connections,
)
from mta.egress.connections import Connections
from mta.egress.opener_owner import OpenerOwner
from mta.egress.shared_connections import Share
from mta.egress.slots import STORE_AWAY_WAIT, Slot
from mta.egress.waiting import Waiting
from mta.model.errors import StoreError
from mta.model.mail import QueueKey
from mta.model.phases import Phase
from mta.policy.failures import Trouble, broken, refuses_connection
from mta.policy.shaping import Plan
from mta.timing.backoff import Backoff

_MOST_BACK_OFF = 60.0  # seconds, and eight times the first pause
_SLOT_KEPT = 0.3  # seconds that a slot waits in hand for deliveries to be claimed
_WANTED_SLOT_KEPT = 0.1  # likewise while mail of others waits for one
_UNWANTED = 1.0  # seconds after which an attempt that no mail waits for is ended

_log = logging.getLogger(__name__)


class ConnectionOpener:
    """Opens further connections for a queue, up to twice as many, while transactions wait and its connections carry
    mail."""

    def __init__(
        self,
        queue: QueueKey,
        site: str,
        plan: Plan,
        connecting: Connecting,
        share: Share | None,
        waiting: Waiting,
        connections: Connections,
        owner: OpenerOwner,
    ) -> None:
        self._queue = queue
        self._site = site
        self._connector, self._budget, self._slots, _, self._shutdown, self._loop = connecting
        self._share = share
        self._waiting = waiting
        self._connections = connections
        self._owner = owner
        self._limits_connections = plan.limits_connections
        self._backoff = Backoff(plan.back_off, min(_MOST_BACK_OFF, plan.back_off * 8))
        self._tasks: dict[asyncio.Task[bool], Attempt] = {}
        self._begun = 0.0  # loop time at which the last attempt was begun
        self._slot: Slot | None = None  # taken before deliveries were claimed
        self._asking: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._not_before = 0.0  # loop time until which no connection is opened
        self._down: tuple[float, Trouble] | None = None

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def quiet(self) -> bool:
        return not (self._tasks or self._down or self._asking or self._slot or self._timer)

    @property
    def _limited(self) -> bool:
        slots = self._slots
        return self._limits_connections or slots.are_counted(self._queue.pool) or slots.is_narrow(self._site)

    @property
    def spare(self) -> int:
        """The number of connections that are being opened, or may be opened at once."""
        coming = len(self._tasks)
        now = self._loop.time()
        if self._limited or self._not_before > now or not self._connections.works(now):
            return coming
        return coming + self._budget.free_for_more

    def trouble(self) -> Trouble | None:
        """The last failure to connect, until the back-off is over; None: mail may be attempted."""
        return self._down[1] if self._down is not None and self._down[0] > self._loop.time() else None

    def may_claim(self) -> bool:
        """Whether scheduling may claim deliveries. For a domain with limits a slot must be taken first; otherwise mail
        would wait here for slots that other processes hold. False: the opener takes one and calls `report_room`."""
        if not self._limited or self._slot or self._tasks or self._connections.usable:
            return True
        if self._share is not None and self._share.may_wait():
            return True
        if self._asking is None and self._not_before <= self._loop.time():
            self._asking = self._loop.create_task(self._ask())
        return False

    def more(self, *, ticked: bool = False) -> None:
        """Open the first connection, or as many as `further_connections` allows, but not more than transactions
        wait."""
        waiting = self._waiting
        unserved = waiting.anew + (0 if self._connections.idle else waiting.ready)
        if not unserved or self._shutdown.begun:
            return
        budget, now = self._budget, self._loop.time()
        held = self._connections.kept + len(self._tasks)
        if not held and waiting.ready and self._gets_shared(refused=self._not_before > now):
            return
        if self._not_before > now:
            return
        if not held:
            attempt = budget.begin(self._queue, self._owner.pump, now)
            if attempt is not None:
                self._loop.call_later(PROMPT, self._prompt_over, attempt)
                self._begin(attempt, now)
            elif self._share is not None and waiting.ready:
                self._share.want()
                if not self._share.is_known and self._asking is None:
                    self._asking = self._loop.create_task(self._find_hosts(self._share))
            return
        productive = self._connections.productive(now)
        missing = unserved - len(self._tasks)
        more = min(further_connections(held, productive, unserved, ticked=ticked or waiting.anew > 0), missing)
        if (
            not productive
            and ticked
            and missing > 0
            and held < MOST_UNPRODUCTIVE
            and now - self._begun >= UNPRODUCTIVE_PACE
            and budget.is_half_free
        ):
            more = 1  # so that one message without an answer does not delay the others for its whole timeout
        for _ in range(more):
            attempt = budget.begin_further(now)
            if attempt is None:
                return
            self._begin(attempt, now)

    def _gets_shared(self, *, refused: bool) -> bool:
        """Whether the queue gets a connection of others: now; or later, when its own slot was `refused` lately."""
        share = self._share
        if share is None:
            return False
        return share.take() or (refused and self._limited and self._down is None and share.want())

    def _begin(self, attempt: Attempt, now: float) -> None:
        self._begun = now
        first = self._waiting.first()
        attempt.message = None if first is None else first.message
        task = self._loop.create_task(self._open(attempt))
        self._tasks[task] = attempt
        attempt.give_way = task.cancel
        task.add_done_callback(self._opened)

    def _prompt_over(self, attempt: Attempt) -> None:
        self._budget.prompt_over(attempt, self._loop.time())

    def tick(self, now: float) -> None:
        if self._down is not None and self._down[0] <= now:
            self._down = None
            self._owner.report_room()
        self.more(ticked=True)

    def retry_now(self) -> None:
        """End the back-off after a failure to connect."""
        if self._down is not None:
            self._down, self._not_before = None, 0.0
            self._backoff.succeeded()
            self._again()

    def slot_is_free(self) -> bool:
        """The site has a slot again. Returns whether one was waited for here."""
        if not self._limited or self._timer is None or self._slot is not None or self._tasks:
            return False
        self._not_before = 0.0
        self._again()
        return True

    def unwanted(self, before: float = _UNWANTED) -> None:
        """No mail waits for a connection: leave the line, and end attempts that are `before` seconds old."""
        self._budget.leave_line(self._queue)
        if self._share is not None:
            self._share.leave()
        for task, attempt in self._tasks.items():
            if self._loop.time() - attempt.since >= before:
                task.cancel()

    def end_silent(self, now: float, most: int) -> int:
        """End up to `most` attempts that hold a place and have got no answer for PATIENCE. Returns their number."""
        ended = 0
        for task, attempt in self._tasks.items():
            if ended < most and attempt.standing is Standing.PLACED and now - attempt.since >= PATIENCE:
                attempt.gave_way = True
                task.cancel()
                ended += 1
        return ended

    def stop(self) -> None:
        """Stop opening connections, and give the slot back."""
        for task in (*self._tasks, self._asking):
            if task is not None:
                task.cancel()
        self._give_slot_back()
        if self._share is not None:
            self._share.leave()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Slots

    async def _ask(self) -> None:
        try:
            if self._share is not None:
                await self._connector.find_shared(self._queue.domain)
                if self._share.may_wait():
                    self._owner.report_room()
                    return
            slot = await self._take_slot()
        finally:
            self._asking = None
        if not isinstance(slot, Slot):
            self._again_in(slot)
            if self._share is not None:
                self._share.was_refused()
            return
        _log.debug("took a connection slot for %s before claiming its mail", self._queue.domain)
        kept = _WANTED_SLOT_KEPT if self._slots.is_wanted(slot) else _SLOT_KEPT
        if self._share is not None:
            self._share.keep(slot)
            self._loop.call_later(kept, self._kept_too_long, self._share, slot)
        else:
            self._slot = slot
            self._again_in(kept)
        self._owner.report_room()

    def _kept_too_long(self, share: Share, slot: Slot) -> None:
        if share.drop(slot):
            self._slots.give(slot)

    async def _find_hosts(self, share: Share) -> None:
        """Find the hosts of the queue while it waits in line, so that it may get a connection of others."""
        try:
            await self._connector.find_shared(self._queue.domain)
        finally:
            self._asking = None
        if self._waiting.ready and not self._connections.all and not share.take():
            share.want()

    async def _take_slot(self) -> Slot | float:
        try:
            return await self._slots.take(self._queue, self._site)
        except StoreError:
            return STORE_AWAY_WAIT

    def _no_slot(self) -> None:
        """The last attempt of a queue without a connection got none: its mail does not wait here."""
        if not self._connections.usable and len(self._tasks) == 1:
            if self._share is not None:
                self._share.leave()
            self._owner.no_slot()

    def _again_in(self, seconds: float) -> None:
        self._not_before = self._loop.time() + (0.0 if self._slot else seconds)
        if self._timer is None:
            self._timer = self._loop.call_later(max(seconds, 0.001), self._again)

    def _again(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._tasks:
            self._give_slot_back()
        self._owner.pump()
        self._owner.report_room()

    def _give_slot_back(self) -> None:
        if self._slot is not None:
            self._slots.give(self._slot)
            self._slot = None

    # Connections

    def _opened(self, task: asyncio.Task[bool]) -> None:
        attempt = self._tasks.pop(task)
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or error is not None or not task.result():
            self._budget.end(attempt, self._loop.time())
            self._shutdown.progressed()
        if error is not None:
            raise error
        if not task.cancelled():
            self._owner.pump()
        elif attempt.gave_way:
            _log.debug("ended the attempt to connect to %s, since mail for other destinations waits", attempt.ip)
            words = f"no answer in {PATIENCE:g} s, and mail for other destinations waits for a connection"
            self._failed(broken(Phase.GREETING, words, attempt.host, attempt.ip), attempt)

    async def _open(self, attempt: Attempt) -> bool:
        """Open a connection. Returns whether it is open."""
        slot, self._slot = self._slot, None
        if slot is None:
            slot = await self._slot_for_mail()
            if slot is None:
                return False
        arrived = self._share.coming(1) if self._share is not None else lambda: None
        found: Connected | Trouble | None = None
        try:
            found = await self._connector.connect(self._queue, slot, attempt, lambda: self._greeted(attempt))
        finally:
            arrived()
            if not isinstance(found, Connected):
                self._slots.give(slot)
        if isinstance(found, Trouble):
            if found.wait:
                self._again_in(found.wait)
                if refuses_connection(found):
                    self._owner.no_further_connection(found)
                shared = self._share is not None and self._share.want()
                if not shared and found.phase is not Phase.CONNECT:  # else its turn to connect comes
                    self._no_slot()
            else:
                self._failed(found, attempt)
            return False
        self._backoff.succeeded()
        self._down = None
        attempt.standing = Standing.OVER  # the connection holds its place now
        self._owner.connected(found)
        return True

    async def _slot_for_mail(self) -> Slot | None:
        """A slot for mail that waits here. None: another outlet's connection carries it, or there is no slot."""
        share = self._share
        if share is not None and not self._connections.usable:
            await self._connector.find_shared(self._queue.domain)
            if self._waiting.ready and share.take():
                return None
            if (kept := share.take_kept()) is not None:
                return kept
        taken = await self._take_slot()
        if isinstance(taken, Slot):
            return taken
        self._again_in(taken)
        if share is None or not share.want():
            self._no_slot()
        return None

    async def _greeted(self, attempt: Attempt) -> None:
        """Wait for a place."""
        if self._budget.greeted(attempt, self._loop.time()):
            return
        placed = self._loop.create_future()
        attempt.placed = lambda: _resolve(placed)
        await placed

    def _failed(self, trouble: Trouble, attempt: Attempt) -> None:
        """With a connection, only opening more is put off."""
        wait = self._backoff.failed()
        _log.debug(
            "no connection to %s for pool %s, none is tried for %.1f s: %s", *reversed(self._queue), wait, trouble.reply
        )
        self._again_in(wait)
        if self._connections.usable:
            self._owner.no_further_connection(trouble)
            return
        self._down = self._loop.time() + wait, trouble
        self._owner.unreachable(trouble, attempt.message)

    def __repr__(self) -> str:
        return f"opening={len(self._tasks)}{' down: ' + self._down[1].reply.text if self._down else ''}"


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
