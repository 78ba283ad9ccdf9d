"""Erasures as a journal carries them out: it erases an address in its history, and names the node's logs with it."""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from mta.model.errors import HistoryError, StoreError, severity
from mta.ports.history_orders import Erasure, ErasureReport, HistoryEraser, HistoryOrders

_log = logging.getLogger(__name__)

OnThread = Callable[[Callable[[], Any]], "Future[Any]"]
Mark = Callable[[], Callable[[], bool]]


def pseudonym(erasure: Erasure) -> str:
    """The salted hash that stands for the address from now on."""
    digest = hashlib.blake2b(erasure.address.lower().encode(), key=erasure.salt.encode()[:64], digest_size=12)
    return f"forgotten-{digest.hexdigest()}"


class Erasures:
    """One at a time, day by day, between the rounds of history, once it has what the spool held at the order."""

    def __init__(
        self,
        orders: HistoryOrders,
        node: str,
        files: Callable[[str], Sequence[str]],
        open_eraser: Callable[[], HistoryEraser] | None = None,
        on_thread: OnThread | None = None,
        mark: Mark = lambda: lambda: True,
    ) -> None:
        """`files` names the logs that have an address, and blocks. `on_thread` runs a call on the thread that writes
        history; without it and `open_eraser` this node writes none. `mark` notes where the spool ends; what it returns
        says whether history has everything before that."""
        self._orders = orders
        self._node = node
        self._files = files
        self._open_eraser = open_eraser
        self._eraser: HistoryEraser | None = None  # opened with the first erasure
        self._on_thread = on_thread
        self._mark = mark
        self._marks: dict[str, Callable[[], bool]] = {}
        self._done: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    async def look(self) -> None:
        """Begin the next erasure that was ordered. Raises StoreError."""
        if self._task is None or self._task.done():
            for erasure in await self._orders.erasures():
                if erasure.id in self._done:
                    continue
                if erasure.id not in self._marks:
                    self._marks[erasure.id] = self._mark()
                if self._marks[erasure.id]():
                    self._task = asyncio.create_task(self._carry_out(erasure))
                    break

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._eraser is not None:
            self._eraser.close()

    async def _carry_out(self, erasure: Erasure) -> None:
        try:
            deliveries, events = await self._erase(erasure)
            files = await asyncio.to_thread(self._files, erasure.address)
            await self._orders.report(erasure.id, ErasureReport(self._node, deliveries, events, tuple(files)))
            self._done.add(erasure.id)
            del self._marks[erasure.id]
            _log.info("an address was erased from history: %d deliveries, %d events", deliveries, events)
        except (StoreError, HistoryError) as error:  # it is tried again with the next look
            _log.log(severity(error), "an erasure waits: %s", error)

    async def _erase(self, erasure: Erasure) -> tuple[int, int]:
        if self._open_eraser is None or self._on_thread is None:
            return 0, 0
        eraser, instead = self._eraser, pseudonym(erasure)
        if eraser is None:
            opened: HistoryEraser = await asyncio.wrap_future(self._on_thread(self._open_eraser))
            self._eraser = eraser = opened
        deliveries = events = 0
        for day in await asyncio.wrap_future(self._on_thread(eraser.days)):
            call = self._on_thread(lambda day=day: eraser.erase(day, erasure.address, instead))  # type: ignore[misc]
            of_day = await asyncio.wrap_future(call)
            deliveries += of_day.deliveries
            events += of_day.events
        return deliveries, events
