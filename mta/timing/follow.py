"""Following shared state: a look at its version at once on each hint, and each second without one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn, TypeVar

from mta.timing.alarm import Alarm

_LOOK_EVERY: Final = 1.0  # seconds between two looks without a hint: hints may be lost
_LEAST_PAUSE: Final = 0.05  # seconds between two looks, however many hints come

_Trouble = TypeVar("_Trouble", bound=Exception)


async def follow(
    look: Callable[[], Awaitable[object]], hint: Alarm, trouble: type[_Trouble], tell: Callable[[_Trouble], None]
) -> NoReturn:
    """Look until cancelled. `tell` hears of each `trouble` that a look raises; the next look comes all the same."""
    while True:
        try:
            await look()
        except trouble as error:
            tell(error)
        await asyncio.sleep(_LEAST_PAUSE)
        await hint.sleep(_LOOK_EVERY)
