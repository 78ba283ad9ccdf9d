"""Orders whose answer was lost: repeated until it is known whether they were carried out."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from mta.model.errors import OutcomeUnknown, StoreAway, StoreError, StoreRefuses, StoreUnreached

_PAUSE: Final = 0.05  # seconds between two questions

_Answer = TypeVar("_Answer")


async def made_certain(
    ask: Callable[[], Awaitable[_Answer]], again: Callable[[], Awaitable[_Answer]], limit: float
) -> _Answer:
    """The answer of `ask`; where it may have run without one, the answer of `again`, which has the same effect once
    however often it runs and is repeated for at most `limit` seconds. Raises OutcomeUnknown beyond these, and StoreAway
    where nothing has run."""
    try:
        return await ask()
    except (StoreUnreached, StoreRefuses):
        raise
    except StoreAway:
        deadline = time.monotonic() + limit
    while True:
        await asyncio.sleep(_PAUSE)
        try:
            return await again()
        except StoreError as error:
            if time.monotonic() >= deadline:
                raise OutcomeUnknown(str(error)) from error
