"""Connections on their way: when a queue is due another, the slot it needs, the back-off after failures."""

import asyncio
from typing import Protocol

from mta.egress.dial import Line
from mta.egress.house import House
from mta.egress.reach import reach
from mta.model.errors import StoreError
from mta.model.mail import QueueKey
from mta.model.settings import DomainSettings
from mta.policy.failures import Trouble

_STORE_AWAY_WAIT = 1.0  # seconds
_MOST_BACK_OFF = 60.0  # seconds
_SLOT_KEPT = 1.0  # seconds that a slot waits in hand for deliveries to be claimed


class Owner(Protocol):
    """The outlet, as its opening sees it."""

    @property
    def usable(self) -> int:
        """Connections that can carry another transaction."""
        ...

    @property
    def unserved(self) -> int:
        """Transactions that wait while no connection is idle."""
        ...

    def pump(self) -> None: ...

    def connected(self, line: Line) -> None: ...

    def unreachable(self, trouble: Trouble) -> None:
        """No host could be reached and there is no connection: the waiting deliveries share the outcome."""
        ...

    def crowded_out(self) -> None:
        """Every slot of the domain is taken by other processes: deliveries that wait here are better off there."""
        ...

    def may_have_room(self) -> None:
        """Ask again for room."""
        ...


class Opening:
    """Doubles the connections of a queue while more waits than there are, one try at a time towards a silent peer."""

    def __init__(self, house: House, queue: QueueKey, domain: DomainSettings, owner: Owner) -> None:
        self._house = house
        self._queue = queue
        self._owner = owner
        self._limited = bool(domain.connections or domain.connections_per_minute)
        self._tasks: set[asyncio.Task[bool]] = set()
        self._slot = False  # taken before anything was claimed
        self._asking: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._not_before = 0.0  # loop time until which no connection is opened
        self._down: tuple[float, Trouble] | None = None
        self._failures = 0  # in a row

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def quiet(self) -> bool:
        return not (self._tasks or self._down or self._asking or self._slot or self._timer)

    @property
    def spare(self) -> int:
        """Connections that come or may be opened at once."""
        house, coming = self._house, len(self._tasks)
        if self._limited or self._not_before > house.loop.time():
            return coming
        return coming + max(0, house.delivery.connections - house.open)

    def trouble(self) -> Trouble | None:
        """Why nothing can be sent for now: what comes until the back-off is over shares the last failure."""
        down = self._down
        return down[1] if down is not None and down[0] > self._house.loop.time() else None

    def may_claim(self) -> bool:
        """Of a domain with limits nothing is claimed before a connection may be made, or mail would wait here for slots
        that other processes hold; False: a slot is asked for, and `may_have_room` says when to come again."""
        if not self._limited or self._slot or self._tasks or self._owner.usable:
            return True
        if self._asking is None and self._not_before <= self._house.loop.time():
            self._asking = self._house.loop.create_task(self._ask())
        return False

    def more(self, patient: bool = True) -> None:
        """One at first, then as many as there are, while more waits than there are connections: each round of
        connecting at most doubles them, and a peer that cannot be reached is asked once. With each tick (not `patient`)
        one more while anything waits, so that nothing stays behind a peer that takes its time."""
        house = self._house
        unserved = self._owner.unserved
        if not unserved or house.draining or self._not_before > house.loop.time():
            return
        usable = self._owner.usable
        if usable and house.waiting:
            return
        while len(self._tasks) < max(1, usable):
            coming = usable + len(self._tasks)
            if coming >= unserved and coming and (patient or self._tasks):
                return
            if house.open >= house.delivery.connections:
                if not usable and not self._tasks:
                    house.waiting.setdefault(self._queue, self._owner.pump)
                return
            house.open += 1
            task = house.loop.create_task(self._open())
            self._tasks.add(task)
            task.add_done_callback(self._opened)

    def tick(self, now: float) -> None:
        if self._down is not None and self._down[0] <= now:
            self._down = None
            self._owner.may_have_room()
        self.more(patient=False)

    def stop(self) -> None:
        """Open nothing more; a slot in hand is given back."""
        for task in (*self._tasks, self._asking):
            if task is not None:
                task.cancel()
        self._give_slot_back()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Slots

    async def _ask(self) -> None:
        try:
            wait = await self._take_slot()
        finally:
            self._asking = None
        if wait > 0:
            self._again_in(wait)
            return
        self._slot = True
        self._again_in(_SLOT_KEPT)
        self._owner.may_have_room()

    async def _take_slot(self) -> float:
        try:
            return await self._house.limits.take_connection(self._queue)
        except StoreError:
            return _STORE_AWAY_WAIT

    def _again_in(self, seconds: float) -> None:
        self._not_before = self._house.loop.time() + (0.0 if self._slot else seconds)
        if self._timer is None:
            self._timer = self._house.loop.call_later(max(seconds, 0.001), self._again)

    def _again(self) -> None:
        self._timer = None
        if not self._tasks:
            self._give_slot_back()
        self._owner.pump()
        self._owner.may_have_room()

    def _give_slot_back(self) -> None:
        if self._slot:
            self._slot = False
            self._house.limits.give_connection(self._queue)

    # Connections

    def _opened(self, task: asyncio.Task[bool]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or error is not None or not task.result():
            self._house.release()
        if error is not None:
            raise error
        if not task.cancelled():
            self._owner.pump()

    async def _open(self) -> bool:
        """Whether there is a connection now."""
        house = self._house
        slot, self._slot = self._slot, False
        kept = False
        try:
            if not slot:
                wait = await self._take_slot()
                if wait > 0:
                    self._again_in(wait)
                    if not self._owner.usable and len(self._tasks) == 1:
                        self._owner.crowded_out()
                    return False
                slot = True
            line = await reach(house, self._queue)
            if isinstance(line, Trouble):
                self._failed(line)
                return False
            kept = True
        finally:
            if slot and not kept:
                house.limits.give_connection(self._queue)
        self._failures = 0
        self._down = None
        self._owner.connected(line)
        return True

    def _failed(self, trouble: Trouble) -> None:
        """With a connection, only opening more is put off."""
        wait = min(self._house.back_off * 2 ** min(self._failures, 8), _MOST_BACK_OFF, self._house.back_off * 8)
        self._failures += 1
        self._again_in(wait)
        if self._owner.usable:
            return
        self._down = self._house.loop.time() + wait, trouble
        self._owner.unreachable(trouble)

    def __repr__(self) -> str:
        return f"opening={len(self._tasks)}{' down: ' + self._down[1].reply.text if self._down else ''}"
