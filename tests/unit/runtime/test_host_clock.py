"""The time of day that a node counts from."""

import asyncio
import time

from mta.runtime.host_clock import take_time_of
from mta.timing.clock import SteadyClock


async def test_the_time_of_the_store_is_that_of_its_soonest_answer() -> None:
    """The first answers take long on their way back, as where a connection is made or a processor is waited for."""
    clock, asked = SteadyClock(), 0

    async def store() -> float:
        nonlocal asked
        asked += 1
        now = time.time() + 3600
        if asked < 4:
            await asyncio.sleep(0.2)
        return now

    await take_time_of(store, clock)
    assert asked >= 4
    assert abs(clock.now() - 3600 - time.time()) < 0.09  # half of the slow ones' way would be 0.1
