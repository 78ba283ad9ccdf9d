"""Waiting in a coroutine for a condition, as `tests.support.node.until` waits in a thread."""

import asyncio
import contextlib
import inspect
from collections.abc import Callable
from typing import Any

from mta.model.errors import StoreAway
from tests.support.node import pause_before_next_look


async def eventually(holds: Callable[[], Any], within: float = 20.0) -> Any:
    """Ask until the answer, which may be awaited, is true; the answer. A store that is away has no answer yet."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while True:
        asked = loop.time()
        with contextlib.suppress(StoreAway):
            found = holds()
            if inspect.isawaitable(found):
                found = await found
            if found:
                return found
        now = loop.time()
        assert now < begun + within, f"{holds} did not hold within {within} s"
        await asyncio.sleep(pause_before_next_look(now - begun, now - asked, least=0.01))
