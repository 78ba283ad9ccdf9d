"""The reaper: sessions that stand still longer than the lease are given up, and what they held goes back."""

import asyncio
import logging
import time
from collections.abc import Callable

from mta.model import process_metrics as told
from mta.model.errors import StoreError, severity
from mta.ports.delivery import LimitStore
from mta.ports.queueing import Reclaims
from mta.ports.sessions import SessionStore
from mta.timing.alarm import Alarm

_BATCH = 100
_LOOK_EVERY = 3.0  # seconds, at most

_log = logging.getLogger(__name__)


class Reaper:
    """Judges by its own monotonic clock only. Any number of processes may reap: every step may be repeated."""

    def __init__(
        self,
        store: SessionStore,
        claims: Reclaims,
        limits: LimitStore,
        lease: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`lease`: seconds for which a session may stand still."""
        self._store = store
        self._claims = claims
        self._limits = limits
        self._lease = lease
        self._clock = clock
        self._seen: dict[str, tuple[int, float]] = {}  # session -> its sequence number, and since when we see it
        self._strays: dict[str, float] = {}  # sessions that hold something and are not registered -> since when
        self._next_strays = 0.0
        self._alarm = Alarm()
        self.reaped = self.reclaimed = 0

    def look_now(self) -> None:
        """A session was given up for dead."""
        self._alarm.ring()

    def metrics(self) -> dict[str, float]:
        """Named as in `model.process_metrics`."""
        return {told.REAPED.key: self.reaped, told.RECLAIMED.key: self.reclaimed}

    async def run(self) -> None:
        """Look again and again, until cancelled between two looks."""
        pause = min(_LOOK_EVERY, self._lease / 8)
        while True:
            try:
                looking = asyncio.ensure_future(self.look())
                looking.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may hear of it
                await asyncio.shield(looking)
            except StoreError as error:
                self.blind()
                _log.log(severity(error), "looking for dead sessions waits for the store: %s", error)
            await self._alarm.sleep(pause)

    def blind(self) -> None:
        """The store was away, and nobody could confirm: only time that was watched counts."""
        self._seen.clear()
        self._strays.clear()

    async def look(self) -> None:
        """One look at all sessions. Raises StoreAway, StoreError: the next look goes on."""
        sessions = await self._store.sessions()
        now = self._clock()
        seen, self._seen = self._seen, {}
        for name, state in sessions.items():
            if name == self._store.session:
                continue
            seq, since = seen.get(name, (state.seq, now))
            if seq != state.seq:
                since = now
            self._seen[name] = (state.seq, since)
        for name, state in sessions.items():
            if name == self._store.session:
                continue
            stood_still = now - self._seen[name][1] > self._lease
            if state.dead or (stood_still and await self._store.mark_dead(name, state.seq)):
                await self._take_back(name)
        if now >= self._next_strays:
            self._next_strays = now + self._lease / 2
            await self._look_for_strays(now)

    async def _look_for_strays(self, now: float) -> None:
        """Takes back the claims and slots of sessions that are not registered. A late call of a session that was
        forgotten may have made them, and otherwise they would be held for ever."""
        holders = await self._claims.holders() | await self._limits.holders()
        known = (await self._store.sessions()).keys()
        self._strays = {name: self._strays.get(name, now) for name in holders - known - {self._store.session}}
        for name, since in list(self._strays.items()):
            if now - since > self._lease:
                await self._take_back(name)
                del self._strays[name]

    async def _take_back(self, session: str) -> None:
        lanes = range(self._claims.lanes)
        count = sum(await asyncio.gather(*(self._take_back_from(lane, session) for lane in lanes)))
        await self._limits.forget(session)
        await self._store.forget(session)
        self._seen.pop(session, None)
        self.reaped += 1
        level = logging.WARNING if count else logging.DEBUG  # every process sees the death; one takes the mail back
        _log.log(level, "session %s is dead: %d claimed deliveries are back in their queues", session, count)

    async def _take_back_from(self, lane: int, session: str) -> int:
        """How many claims of the session returned to the queues of the lane."""
        count = 0
        while taken := await self._claims.reclaim(lane, session, _BATCH):
            count += taken
            self.reclaimed += taken
        return count
