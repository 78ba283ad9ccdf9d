"""The supervisor's watch over the host's clock: it logs the jumps that the node does not follow."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from mta.runtime.child import CLOCK_LOOK
from mta.timing.clock import SMALL, SteadyClock, boottime, process_clock

log = logging.getLogger(__name__)

_ASKED: Final = 8  # times at most
_SOON: Final = 0.002  # seconds
_NOT_FOLLOWED: Final = "mail keeps the time that the node counts itself; if the new time is right, restart the node"


async def take_time_of(store: Callable[[], Awaitable[float]], clock: SteadyClock = process_clock) -> None:
    """Count from the store's time of day, so that all nodes agree when mail is due. `store` gives Unix seconds by the
    store's clock. Raises StoreError.

    The answer that came soonest counts, since the error is half of what it took at most (as in RFC 5905 10): the first
    one waits for its connection, and on a busy machine each may wait for a processor."""
    soonest, offset = float("inf"), 0.0
    for _ in range(_ASKED):
        before = boottime()
        now = await store()
        after = boottime()
        if after - before < soonest:
            soonest, offset = after - before, now - (before + after) / 2
        if soonest <= _SOON:
            break
    ahead = clock.anchor(offset)
    if abs(ahead) > SMALL:
        log.warning("the clock of this host is %s that of the store; mail goes by the store's", _by(ahead))


async def watch_host_clock(clock: SteadyClock = process_clock) -> None:
    """Log one line for each jump, until cancelled."""
    while True:
        step = clock.follow()
        if step and abs(clock.host_is_ahead) <= SMALL:
            log.warning("the clock of this host was set %s and is right again", _way(step))
        elif step:
            log.error("the clock of this host was set %s; %s", _way(step), _NOT_FOLLOWED)
        await asyncio.sleep(CLOCK_LOOK)


def _way(seconds: float) -> str:
    return f"{_rounded(seconds)} {'forward' if seconds > 0 else 'back'}"


def _by(seconds: float) -> str:
    return f"{_rounded(seconds)} {'ahead of' if seconds > 0 else 'behind'}"


def _rounded(seconds: float) -> str:
    return str(timedelta(seconds=round(abs(seconds))))
