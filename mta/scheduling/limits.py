"""The shared limits of a destination, held by this process in small slices: connection slots and rate tokens."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from mta.model.errors import StoreError, severity
from mta.model.mail import QueueKey
from mta.policy.shaping import Shaping
from mta.ports.delivery import LimitStore

# Instants lie on a grid of (60 s + this slack) / limit and may be used until 0.9 s after their time, so that no
# window of 60 s, wherever it begins, holds more than the limit.
_GRID_SLACK_MS = 1000.0
_LATE = 0.9
_AHEAD_MS = 250.0  # a slice of tokens lasts that long
_SLICE = 4
_POLL = 0.25  # when every slot is out
_KEEP = 0.5  # slots not in use are given back after that time
_ASKING = 0.01
_AWAY = 1.0

_log = logging.getLogger(__name__)


class _Tokens(NamedTuple):
    """Instants on this process's monotonic clock (seconds): token i from opens + i * step until closes + i * step."""

    opens: float
    closes: float


class _Rate:
    """The tokens of one kind for one queue."""

    def __init__(self, store: LimitStore, queue: QueueKey, kind: str, clock: Callable[[], float]) -> None:
        self._store = store
        self._queue = queue
        self._kind = kind
        self._clock = clock
        self._tokens: deque[_Tokens] = deque()
        self._asking: asyncio.Task[None] | None = None
        self._not_before = 0.0

    def take(self, per_minute: float) -> float:
        """0.0: a token is spent; else the seconds to wait before asking again."""
        now, tokens = self._clock(), self._tokens
        while tokens and tokens[0].closes < now:
            tokens.popleft()
        if tokens and tokens[0].opens <= now:
            tokens.popleft()
            wait = 0.0
        elif tokens:
            wait = tokens[0].opens - now
        else:
            wait = max(_ASKING, self._not_before - now)
        interval = (60000.0 + _GRID_SLACK_MS) / per_minute
        most = max(1, int(_AHEAD_MS / interval))
        short = len(tokens) <= most // 2 and not (tokens and wait)
        if short and self._asking is None and now >= self._not_before:
            self._asking = asyncio.get_running_loop().create_task(self._ask(interval, most))
        return wait

    async def _ask(self, interval: float, most: int) -> None:
        asked = self._clock()
        try:
            at, first, count = await self._store.take_tokens(*self._queue, self._kind, interval, most)
        except StoreError as error:
            self._not_before = self._clock() + _AWAY
            _log.log(severity(error), "no rate tokens for %s at %s: %s", self._queue.domain, self._queue.pool, error)
            return
        finally:
            self._asking = None
        # The store's `at` was some moment between question and answer: open by the later, close by the earlier.
        answered, ahead = self._clock(), (first - at) / 1000
        for i in range(count):
            offset = ahead + i * interval / 1000
            self._tokens.append(_Tokens(answered + offset, asked + offset + _LATE))
        if count == 0:
            self._not_before = answered + max(_ASKING, ahead - 1.0)


class _Slots:
    """The connection slots of one queue that this process holds: in use, and spare.

    The store is told how many they are, never how many more or fewer: an answer that was lost is made good by the next
    call. One call at a time.
    """

    def __init__(self, store: LimitStore, queue: QueueKey) -> None:
        self._store = store
        self._queue = queue
        self._limit = 0
        self.used = 0
        self.spare = 0
        self.calling: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def take(self, limit: int) -> bool:
        """Raises StoreError."""
        self._limit = limit
        while self.spare == 0:
            before = self.calling
            if before is None:
                wanted = self.used + max(1, min(_SLICE, limit // 8))
                self.calling = asyncio.get_running_loop().create_task(self._hold(wanted))
            # Shielded: the slots become spare if the caller is cancelled before they come.
            await asyncio.shield(self.calling or asyncio.sleep(0))
            if before is None and self.spare == 0:
                return False
        self.spare -= 1
        self.used += 1
        return True

    def release(self) -> None:
        """A connection is closed: its slot is spare for a while, then others may have it."""
        self.used -= 1
        self.spare += 1
        self._later(_KEEP)

    async def _hold(self, wanted: int) -> None:
        held = self.used + self.spare
        try:
            held = await self._store.hold_slots(*self._queue, self._limit, wanted, self.used)
        except StoreError:
            held = min(held, wanted)  # so many we hold, whether the call was carried out or not
            self._later(_AWAY)
            raise
        finally:
            self.calling = None
            self.spare = max(0, held - self.used)
        if self.spare:
            self._later(_KEEP)

    def _later(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self.give_back)

    def give_back(self) -> None:
        """Give what is spare to the others."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.calling is not None:
            self._later(_KEEP)
            return
        self.spare = 0
        self.calling = asyncio.get_running_loop().create_task(self._hold(self.used))
        self.calling.add_done_callback(self._told)

    def _told(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.log(severity(error), "connection slots of %s are given back later: %s", self._queue.domain, error)


class SharedLimits:
    """Fulfils ports.delivery.Limits. A domain without limits costs no call."""

    def __init__(self, store: LimitStore, shaping: Shaping, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._shaping = shaping
        self._clock = clock
        self._slots: dict[QueueKey, _Slots] = {}
        self._rates: dict[tuple[str, QueueKey], _Rate] = {}

    async def take_connection(self, queue: QueueKey) -> float:
        plan = self._shaping.plan(queue)
        if plan.connections:
            slots = self._slots.get(queue)
            if slots is None:
                slots = self._slots[queue] = _Slots(self._store, queue)
            if not await slots.take(plan.connections):
                return _POLL
        if plan.connections_per_minute:
            wait = self._rate("connections", queue).take(plan.connections_per_minute)
            if wait > 0:
                self.give_connection(queue)
                return wait
        return 0.0

    def give_connection(self, queue: QueueKey) -> None:
        slots = self._slots.get(queue)
        if slots is not None:
            slots.release()

    def take_message(self, queue: QueueKey) -> float:
        per_minute = self._shaping.plan(queue).messages_per_minute
        return self._rate("messages", queue).take(per_minute) if per_minute else 0.0

    def renew(self) -> None:
        """The session is a new one: slots in use are held under its name from now on."""
        for slots in self._slots.values():
            slots.give_back()

    async def drain(self) -> None:
        """Give every slot back that is not in use."""
        for slots in self._slots.values():
            slots.give_back()
        giving = [slots.calling for slots in self._slots.values() if slots.calling is not None]
        if giving:
            await asyncio.wait(giving)

    def _rate(self, kind: str, queue: QueueKey) -> _Rate:
        rate = self._rates.get((kind, queue))
        if rate is None:
            rate = self._rates[kind, queue] = _Rate(self._store, queue, kind, self._clock)
        return rate
