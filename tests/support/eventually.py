"""Waiting in a coroutine for a condition, as `tests.support.node.until` waits in a thread."""

import asyncio
import contextlib
import inspect
from collections.abc import Callable
from typing import Any

from mta.model.errors import StoreAway


async def eventually(holds: Callable[[], Any], within: float = 20.0) -> Any:
    """Ask until the answer, which may be awaited, is true; the answer. A store that is away has no answer yet."""
    deadline = asyncio.get_running_loop().time() + within
    while True:
        with contextlib.suppress(StoreAway):
            found = holds()
            if inspect.isawaitable(found):
                found = await found
            if found:
                return found
        assert asyncio.get_running_loop().time() < deadline, f"{holds} did not hold within {within} s"
        await asyncio.sleep(0.01)
