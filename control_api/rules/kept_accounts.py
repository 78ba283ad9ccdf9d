"""Accounts of the rules that a set has removed: they go into history one after the other, after the answer."""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Final

from aiohttp import web

from control_api.dependencies import Dependencies
from control_api.rules.statement import keep_account
from mta.model.rules import Rule

_AT_ONCE: Final = 4  # accounts that are read side by side
_log = logging.getLogger(__name__)


class KeptAccounts:
    """A set removes up to 10,000 rules by one order; each account takes several calls of the store."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps
        self._rules: deque[Rule] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    def keep(self, rules: Sequence[Rule]) -> None:
        """`rules` have just been removed."""
        self._rules += rules
        while len(self._tasks) < min(_AT_ONCE, len(self._rules)):
            task = asyncio.create_task(self._work(), name="accounts of removed rules")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._rules:
            _log.warning("the accounts of %s removed rules are not kept in history: the API stops", len(self._rules))

    async def _work(self) -> None:
        while self._rules:
            await keep_account(self._deps, self._rules.popleft())
            await self._deps.turns.rest()


KEPT: Final = web.AppKey("kept_accounts", KeptAccounts)


async def stop_keeping(app: web.Application) -> None:
    """On shutdown."""
    await app[KEPT].stop()
