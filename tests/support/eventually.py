"""Waiting in a coroutine for a condition, as `tests.support.node.until` waits in a thread."""

import asyncio
import contextlib
import inspect
from collections.abc import Callable
from typing import Any

from mta.model.errors import StoreAway
from tests.support.conditions import PATIENCE, told
from tests.support.node import pause_before_next_look


async def eventually(holds: Callable[[], Any], within: float = PATIENCE, *, least: float = 0.01) -> Any:
    """Ask until the answer, which may be awaited, is true; the answer. A store that is away has no answer yet.

    `least`: seconds between two looks, at first.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    found, awaited = None, False
    while True:
        asked = loop.time()
        with contextlib.suppress(StoreAway):
            found = holds()
            if awaited := inspect.isawaitable(found):
                found = await found
            if found:
                return found
        now = loop.time()
        if now >= begun + within:
            raise AssertionError(f"a condition: not within {within} s\n{told(holds, found, ask=not awaited)}")
        await asyncio.sleep(pause_before_next_look(now - begun, now - asked, least))
