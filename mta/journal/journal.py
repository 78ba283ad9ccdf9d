"""The journal: the loop that carries out rounds while there are events, and waits for them while there are none."""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from mta.journal.backlog import Backlog
from mta.journal.epochs import Epochs
from mta.journal.erasures import Erasures
from mta.journal.fan_out import FanOut
from mta.journal.folding import Folding
from mta.journal.history_feed import HistoryFeed
from mta.journal.leases import Leases
from mta.journal.rounds import Rounds
from mta.journal.rule_log import RuleLog
from mta.journal.site_book import SiteBook
from mta.model import process_metrics as told
from mta.model.errors import StoreError, severity
from mta.model.event_settings import JournalSettings
from mta.ports.event_sinks import EventSink
from mta.ports.history_orders import HistoryOrders
from mta.ports.journal import RULES_LANE, JournalState, Outbox, Tail
from mta.ports.spool import Spool
from mta.timing.backoff import Backoff
from mta.timing.clock import wall_ms

# Seconds between rounds: a round costs as much as some hundred lines do. Readers of the log wait for no more.
_BUSY = 0.15
_LAST_ROUNDS: Final = 5.0  # seconds for what is left when the journal is told to stop
_SLOW_TICK: Final = 1.0  # syncs of the sinks, copies of rule events, backlogs
_TELL: Final = 5.0  # seconds between two reports of its figures
_FIRST_PAUSE: Final = 0.1
_LAST_PAUSE: Final = 5.0

_log = logging.getLogger(__name__)


class Journal:
    """One task for all lanes of this journal."""

    def __init__(
        self,
        outbox: Outbox,
        spool: Spool,
        sinks: Mapping[str, EventSink],
        tail: Tail,
        name: str,
        node: str,
        settings: JournalSettings,
        history: HistoryFeed | None = None,
        must_wait: Callable[[], Awaitable[bool]] | None = None,
        orders: HistoryOrders | None = None,
        erasures: Erasures | None = None,
        folding: Callable[[Callable[[], Sequence[int]]], Folding] | None = None,
        sites: SiteBook | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`name` is this journal's, unique among all processes; `node` keeps its place in the lane of the rule table
        from one journal to the next. Spool, sinks and history are closed by `stop`. `must_wait`: see Leases. `orders`
        and `erasures`: None = nobody orders anything."""
        self._orders = orders
        self._erasures = erasures
        self._sites = sites
        self._folding = folding(lambda: self.lanes) if folding is not None else None
        self._outbox = outbox
        self._spool = spool
        self._node = node
        self._clock = clock
        self._rule_log = RuleLog(outbox, spool, node, lambda entries: self._rounds.copy(entries))
        self._leases = Leases(outbox, name, spool.last, self._rule_log.catch_up, must_wait, clock=clock)
        self._fan_out = FanOut(spool, sinks, history, clock=clock)
        self._rounds = Rounds(outbox, self._leases, spool, self._fan_out, tail)
        self._backlog = Backlog(outbox, self._leases, settings, self._rounds.write_own)
        self._epochs = Epochs(outbox, self._leases, self._rounds.write_own)
        self._stopping = asyncio.Event()
        self._next_slow = self._next_sync = self._next_report = 0.0
        self.failures = 0
        self.task: asyncio.Task[None] | None = None

    @property
    def lanes(self) -> list[int]:
        """The lanes that are ours now, that of the rule table apart."""
        return sorted(lane.number for lane in self._leases.lanes if lane.number != RULES_LANE)

    @property
    def behind(self) -> bool:
        """There is more to do at once: the last round left something, or a sink has not got everything."""
        return self._rounds.more or self._fan_out.lag()

    def metrics(self) -> dict[str, float]:
        """The figures of `model.process_metrics`."""
        return {
            told.JOURNAL_DROPPED.key: self._backlog.dropped,
            told.JOURNAL_UNDECODABLE.key: self._fan_out.undecodable,
            told.JOURNAL_FAILURES.key: self.failures + self._fan_out.failures,
            told.SPOOL_BYTES.key: self._spool.size,
            told.SPOOL_DAMAGED.key: self._fan_out.damages,
            **self._fan_out.history_metrics(),
        }

    def start(self) -> asyncio.Task[None]:
        """The task ends by `stop` only."""
        self.task = asyncio.get_running_loop().create_task(self._run(), name="journal")
        return self.task

    async def stop(self) -> None:
        """Finish what is being written and give the lanes to others."""
        self._stopping.set()
        if self.task is not None:
            await asyncio.gather(self.task, return_exceptions=True)
        await self._leases.release()
        if self._erasures is not None:
            await self._erasures.stop()
        if self._folding is not None:
            await self._folding.stop()
        if self._sites is not None:
            await self._sites.stop()
        await self._rounds.close()

    async def reopen(self) -> None:
        """The log was moved (SIGHUP)."""
        await self._rounds.on_thread(self._fan_out.reopen)

    async def round(self) -> int:
        """Once through everything; how many entries were made durable. Raises StoreError, OSError: nothing is lost."""
        await self._keep_order()
        return await self._rounds.once()

    async def _run(self) -> None:
        trouble = Backoff(_FIRST_PAUSE, _LAST_PAUSE)
        while not self._stopping.is_set():
            try:
                moved = await self.round()
                trouble.succeeded()
                await self._sleep(0.0 if self.behind else _BUSY)
                if not moved:
                    await self._rest()
            except (StoreError, OSError) as error:
                self.failures += 1
                self._leases.doubt()
                if not trouble.pause:
                    _log.log(severity(error), "the journal waits; events stay in the outbox: %s", error)
                await self._sleep(trouble.failed())
        await self._finish()

    async def _sleep(self, seconds: float) -> None:
        """Or until it is told to stop."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _rest(self) -> None:
        """Until an event comes or it is told to stop. Raises StoreError, OSError."""
        while not self._stopping.is_set() and not self.behind and not await self._something_comes():
            await self._keep_order()

    async def _something_comes(self) -> bool:
        """False: a tick is due, or the journal is to stop. Raises StoreError."""
        next_ = min(self._next_slow, self._leases.next_look())
        if self._fan_out.needs_sync():
            next_ = min(next_, self._next_sync)
        seconds = max(0.0, min(next_, self._fan_out.next_due()) - self._clock())
        positions = {lane.number: lane.position for lane in self._leases.lanes}
        if not positions or self._spool.is_full():
            await self._sleep(seconds)
            return False
        began = wall_ms()
        coming = asyncio.ensure_future(self._outbox.wait(positions, seconds))
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait((coming, stopping), return_when=asyncio.FIRST_COMPLETED)
        for wait in (coming, stopping):
            wait.cancel()
        await asyncio.gather(coming, stopping, return_exceptions=True)
        comes = not coming.cancelled() and coming.result()
        if not comes and not coming.cancelled():
            self._fan_out.note_known({lane.source: began for lane in self._leases.lanes if lane.number in positions})
        return comes

    async def _finish(self) -> None:
        """Write the events of everything settled before this journal was told to stop; after `_LAST_ROUNDS` the rest is
        left to the next journal."""
        end = self._clock() + _LAST_ROUNDS
        try:
            while self._clock() < end and (await self.round() or self.behind):
                pass
        except StoreError:
            self._leases.forget()  # to ask once more would only take as long again
        except OSError:
            pass

    async def _keep_order(self) -> None:
        """Serve the sinks, keep the leases and, at each slow tick, the rest. Sinks come first: they need no store."""
        await self._follow_spool()
        await self._leases.keep()
        await self._epochs.look()
        now = self._clock()
        if now >= self._next_slow:
            self._next_slow = now + _SLOW_TICK
            await self._rule_log.follow(self._leases.held(RULES_LANE))
            await self._backlog.look()
            await self._look_for_orders()
            await self._tell()

    async def _look_for_orders(self) -> None:
        if self._erasures is not None:
            await self._erasures.look()
        if self._folding is not None:
            self._folding.look()
        if self._sites is not None:
            self._sites.look()
        lane = self._fan_out.blocked_lane
        if lane and self._orders is not None and await self._orders.take_skip(lane):
            await self._rounds.on_thread(self._fan_out.skip_blocked)

    async def _follow_spool(self) -> None:
        if self._fan_out.lag():
            await self._rounds.on_thread(self._fan_out.catch_up)
        now = self._clock()
        if now >= self._fan_out.next_due():
            await self._rounds.on_thread(self._fan_out.tick)
        if now >= self._next_sync:
            self._next_sync = now + _SLOW_TICK
            if self._fan_out.needs_sync():
                await self._rounds.on_thread(self._fan_out.sync)

    async def _tell(self) -> None:
        now = self._clock()
        if now >= self._next_report:
            self._next_report = now + _TELL
            await self._outbox.tell(JournalState(self._node, os.getpid(), wall_ms(), self.metrics()))
