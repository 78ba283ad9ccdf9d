"""Deliveries of a rule's mail that were made before the rule was effective, counted in history.

A statement does not wait for long counts: they go on beside it, and the next statement has their result.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from typing import Final, NamedTuple

from aiohttp import web

from control_api.http.turns import Turns
from control_api.rules.mail_of_rule import MailOfRule
from mta.model.errors import HistoryError, StoreError
from mta.model.status import Status
from mta.ports.history import MOST_ROWS, History

_PATIENCE: Final = 2.0  # seconds that a statement waits for a count
_AT_ONCE: Final = 2  # counts
_REMEMBERED: Final = 1000
_FRESH: Final = 10.0  # seconds that a count is used; one that took long is used ten times as long
_SLICE: Final = 500  # rows that are looked at without letting the loop run
_ARRIVED: Final = frozenset({Status.SENT, Status.DELIVERED})

_log = logging.getLogger(__name__)


async def stop_counting(app: web.Application) -> None:
    """On shutdown: nobody waits for a long count any more."""
    await app[BEFORE].stop()


class Before(NamedTuple):
    """Counts of the mail that the selectors of a rule match."""

    accepted: int
    delivered: int  # before the rule was effective


class BeforeCounts:
    """Counts by rule, generation and the time until which deliveries count; each is made once."""

    def __init__(self, history: History, turns: Turns, patience: float = _PATIENCE) -> None:
        self._history = history
        self._turns = turns
        self._patience = patience
        self._known: OrderedDict[tuple[str, int, int], tuple[Before, float]] = (
            OrderedDict()
        )  # used until then (monotonic)
        self._tasks: dict[tuple[str, int, int], asyncio.Task[Before | None]] = {}
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def count(self, mail: MailOfRule, rule: str, generation: int, since: int, until: int | None) -> Before | None:
        """`since` (Unix ms): when the rule became effective; history must reach beyond it. `until` as for
        `MailOfRule.is_before`. None: history cannot answer, or not yet."""
        key = rule, generation, until or 0
        known, fresh = self._known.get(key, (None, 0.0))
        if fresh > time.monotonic():
            return known
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(self._count(mail, since, until), name="count before a rule")
            began = time.monotonic()
            task.add_done_callback(lambda done: self._counted(key, done, began))
        await asyncio.wait({task}, timeout=self._patience)
        return task.result() if task.done() and not task.cancelled() else known

    async def stop(self) -> None:
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _counted(self, key: tuple[str, int, int], done: asyncio.Task[Before | None], began: float) -> None:
        self._tasks.pop(key, None)
        result = None if done.cancelled() else done.result()
        if result is not None:
            now = time.monotonic()
            self._known[key] = result, now + max(_FRESH, 10 * (now - began))
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)

    async def _count(self, mail: MailOfRule, since: int, until: int | None) -> Before | None:
        accepted = delivered = 0
        cursor, is_first = "", True
        async with self._places:
            try:
                while is_first or cursor:
                    page = await self._history.rows(mail.wanted, MOST_ROWS, cursor)
                    if is_first and page.as_of < since:
                        return None
                    is_first, cursor = False, page.cursor
                    rows = await mail.of_its_site(page.rows)
                    for at in range(0, len(rows), _SLICE):
                        for row in rows[at : at + _SLICE]:
                            if mail.matches(row):
                                accepted += 1
                                delivered += row.standing.status in _ARRIVED and mail.is_before(row, until)
                        await self._turns.rest()
            except (HistoryError, StoreError) as error:
                _log.debug("history cannot tell what was delivered before a rule: %s", error)
                return None
        return Before(accepted, delivered)


BEFORE: Final = web.AppKey("before", BeforeCounts)
