"""A call for each lane, many at a time: one after the other they would take longer the more lanes there are."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

_AT_ONCE: Final = 32  # a connection serves them all; a Cluster takes one for each

_T = TypeVar("_T")


async def each_lane(lanes: Iterable[int], call: Callable[[int], Awaitable[_T]]) -> list[_T]:
    """The answers in the order of `lanes`. Raises the first error, once the calls beside it have ended."""
    numbers, found = list(lanes), list[_T]()
    for at in range(0, len(numbers), _AT_ONCE):
        calls = [asyncio.ensure_future(call(lane)) for lane in numbers[at : at + _AT_ONCE]]
        await asyncio.wait(calls)
        if failed := [error for one in calls if (error := one.exception()) is not None]:
            raise failed[0]
        found += [one.result() for one in calls]
    return found
