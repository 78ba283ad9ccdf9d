"""Tasks that are cancelled until they have ended."""

import asyncio
from collections.abc import Collection
from typing import Any, Final

_AGAIN: Final = 1.0  # seconds after which a task that goes on is cancelled once more


async def cancel_all(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel the tasks until each has ended. One call may be lost: a library that makes a connection, or is about
    to report a lost one, may swallow it."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_AGAIN)
